"""The demo prints for a terminal and for a pipe."""

from __future__ import annotations

import io
from contextlib import ExitStack
from pathlib import Path

import pytest

from sidecar.cli.demo import environment as demo
from sidecar.cli.demo import hourly

DENIED = "GET /entitled → 403 denied (customer_not_entitled): " + "the hint of a reason " * 9
ESCAPE = "\033"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def printed(monkeypatch: pytest.MonkeyPatch, to: io.StringIO, **env: str) -> str:
    for name in ("NO_COLOR", "TERM", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout", to)
    with ExitStack() as stack:
        shown = demo.DemoEnvironment(Path("unused"), stack)
        shown.print_heading(hourly.HEADINGS[0])
        shown.show_waiting("waiting for the answer")
        shown.print_step(DENIED)
    return to.getvalue()


def test_a_pipe_gets_plain_lines_and_no_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(monkeypatch, io.StringIO())
    assert ESCAPE not in text
    assert "\r" not in text
    assert "waiting" not in text
    assert "  0.0s  GET /entitled → 403 denied (customer_not_entitled): the hint" in text


def test_a_terminal_gets_colours_and_a_progress_line(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(monkeypatch, Terminal(), TERM="xterm")
    assert "\033[31mdenied (customer_not_entitled)\033[0m" in text
    assert "… waiting for the answer\033[0m\r\033[K" in text


def test_no_color_leaves_a_terminal_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    text = printed(monkeypatch, Terminal(), TERM="xterm", NO_COLOR="1")
    assert "\033[3" not in text
    assert "\033[0m" not in text
    assert "waiting" in text


def test_a_dumb_terminal_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ESCAPE not in printed(monkeypatch, Terminal(), TERM="dumb")


@pytest.mark.parametrize(("columns", "widest"), [("500", 100), ("80", 80), ("10", 60)])
def test_lines_are_as_wide_as_the_terminal_within_limits(
    monkeypatch: pytest.MonkeyPatch, columns: str, widest: int
) -> None:
    lines = printed(monkeypatch, io.StringIO(), COLUMNS=columns).splitlines()[2:]
    assert len(lines) > 2, "the hint is longer than one line"
    assert max(map(len, lines)) <= widest
    assert all(line.startswith(demo.INDENT) for line in lines[1:])


def test_the_usage_table_is_aligned_and_has_no_error_column() -> None:
    table = (
        "HOUR\tDIMENSION\tSTATE\tQUANTITY\tRECORD_ID\tLAST_ERROR\tAWS_QUANTITY\n"
        "2026-11-28T05:00:00Z\trequests\tsettled\t17\tid-1\t-\t-\n"
    )
    assert demo.aligned(table) == [
        "HOUR                  DIMENSION  STATE    QUANTITY  RECORD_ID",
        "2026-11-28T05:00:00Z  requests   settled  17        id-1",
    ]
