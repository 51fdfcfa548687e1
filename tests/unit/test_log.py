"""JSON lines on stdout: one event, its fields, no sentences."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from sidecar import log


@pytest.fixture
def started() -> Iterator[None]:
    """The logger as it was is put back: it belongs to the whole process."""
    logger = log.LOGGER
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def lines(capfd: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capfd.readouterr()
    assert err == ""
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.usefixtures("started")
def test_an_event_is_one_line_of_json_with_its_fields(capfd: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    log.event("gate.opened", workload="6f1c", count=3, labels={"a": [1]}, nothing=None)
    (line,) = lines(capfd)
    at = datetime.fromisoformat(line.pop("at"))
    assert at.utcoffset() is not None
    assert line == {"level": "info", "event": "gate.opened", "workload": "6f1c", "count": 3, "labels": {"a": [1]}}


@pytest.mark.usefixtures("started")
@pytest.mark.parametrize(
    ("level", "names"),
    [
        ("debug", ["d", "i", "w", "e"]),
        ("info", ["i", "w", "e"]),
        ("warning", ["w", "e"]),
        ("error", ["e"]),
    ],
)
def test_what_is_less_severe_than_the_level_is_not_logged(
    capfd: pytest.CaptureFixture[str], level: str, names: list[str]
) -> None:
    log.start(level)
    log.LOGGER.debug("d")
    log.event("i")
    log.warn("w")
    log.error("e")
    assert [line["event"] for line in lines(capfd)] == names


@pytest.mark.usefixtures("started")
def test_starting_twice_does_not_say_all_twice(capfd: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    log.start("info")
    log.event("x")
    assert len(lines(capfd)) == 1


@pytest.mark.usefixtures("started")
def test_a_field_cannot_begin_a_line_of_its_own(capfd: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    log.event("x", hint='a\n{"event": "forged"}\r\nb')
    (line,) = lines(capfd)
    assert line["hint"] == 'a\n{"event": "forged"}\r\nb'


@pytest.mark.usefixtures("started")
def test_an_exception_is_named_and_neither_quoted_nor_traced(capfd: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    try:
        raise ValueError("hunter2")
    except ValueError as exc:
        log.LOGGER.error("loop.stopped", exc_info=exc)
    (line,) = lines(capfd)
    assert line["error"] == "ValueError"
    assert "hunter2" not in json.dumps(line)
    assert "Traceback" not in json.dumps(line)


@pytest.mark.usefixtures("started")
def test_what_is_no_json_is_written_as_text(capfd: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    log.event("x", path=sys.path.__class__, number=1 + 2j)
    (line,) = lines(capfd)
    assert line["number"] == "(1+2j)"


def test_a_name_in_bytes_that_are_no_utf8_can_be_written() -> None:
    record = logging.makeLogRecord({"msg": "x", "workload": b"pod-\xff".decode("utf-8", "surrogateescape")})
    written = log.JsonLines().format(record).encode("utf-8")
    assert json.loads(written)["workload"] == "pod-\udcff"


def test_a_reader_who_is_stuck_holds_up_nobody_and_gets_the_rest_when_back() -> None:
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writes, b"x" * 4096)
    os.set_blocking(writes, True)
    lines = log.Lines(writes)
    lines.setFormatter(log.JsonLines())
    for number in range(log.LINES_WAITING_MAX + 10):
        lines.handle(logging.makeLogRecord({"msg": f"event.{number}", "levelno": logging.INFO}))
    assert lines.dropped in (9, 10), "one line may be in the writer's hands"
    found = b""
    while b"event.999" not in found:
        found += os.read(reads, 65536)
    lines.drain(5)
    assert b"event.0" in found
    os.close(reads)
    os.close(writes)


def test_a_reader_who_is_gone_is_no_error(capfd: pytest.CaptureFixture[str]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    lines = log.Lines(writes)
    lines.setFormatter(log.JsonLines())
    lines.handle(logging.makeLogRecord({"msg": "x", "levelno": logging.INFO}))
    lines.drain(5)
    os.close(writes)
    assert lines.dropped == 1
    assert capfd.readouterr() == ("", "")


def test_a_line_that_found_no_thread_is_written_with_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    reads, writes = os.pipe()
    made = log.Lines(writes)
    made.setFormatter(logging.Formatter())
    monkeypatch.setattr(made, "_has_room", lambda: False)

    def none_left(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", none_left)
        made.handle(logging.makeLogRecord({"msg": "first"}))
    made.handle(logging.makeLogRecord({"msg": "second"}))
    made.drain(10)
    os.close(writes)
    assert os.read(reads, 100) == b"first\nsecond\n"
    os.close(reads)


def kept(*lengths: int, lines_max: int = 3, bytes_max: int = 100) -> list[int]:
    last = log.LastLines(lines_max, bytes_max)
    for number, length in enumerate(lengths):
        last.add(bytes([number]) * length)
    text = last.text()
    return [number for number in range(len(lengths)) if bytes([number]) in text]


def test_the_last_lines_are_bounded_in_number_and_bytes() -> None:
    assert kept(10, 10) == [0, 1]
    assert kept(10, 10, 10, 10) == [1, 2, 3]
    assert kept(60, 60, 40) == [1, 2]
    assert kept(10, 10, 101) == [], "a line that is longer than all the room pushes the others out, and itself"
    assert kept(10, 10, 101, 5) == [3]


@pytest.mark.usefixtures("started")
def test_a_line_is_kept_in_memory_as_it_was_written(capfd: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    log.LOGGER.debug("not.logged")
    log.event("gate.opened", workload="6f1c")
    written, _ = capfd.readouterr()
    assert log.LINES.last().decode().endswith(written)
    assert b"not.logged" not in log.LINES.last()


def test_a_thousand_events_with_a_long_hint_are_kept() -> None:
    last = log.LastLines()
    for _ in range(log.LINES_KEPT_MAX + 1):
        last.add(b"x" * 999 + b"\n")
    assert last.text().count(b"\n") == log.LINES_KEPT_MAX == 1000
