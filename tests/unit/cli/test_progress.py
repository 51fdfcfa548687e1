"""A line on a terminal, and nothing anywhere else."""

from __future__ import annotations

import io

from sidecar.cli.progress import CLEAR, Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_the_last_text_until_it_is_cleared() -> None:
    out = Terminal()
    progress = Progress(out)
    progress.show("one")
    progress.show("two")
    assert out.getvalue() == f"{CLEAR}one …{CLEAR}two …"
    progress.clear()
    assert out.getvalue().endswith(CLEAR)


def test_what_is_no_terminal_gets_nothing() -> None:
    out = io.StringIO()
    progress = Progress(out)
    progress.show("one")
    progress.clear()
    assert out.getvalue() == ""
