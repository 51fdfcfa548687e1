"""JSON lines on stdout: one event, its fields, no sentences."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest

from sidecar.agent import log


@pytest.fixture
def started() -> Iterator[None]:
    """The logger as it was is put back: it belongs to the whole process."""
    logger = log.LOGGER
    before = (list(logger.handlers), logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    out, err = capsys.readouterr()
    assert err == ""
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.usefixtures("started")
def test_an_event_is_one_line_of_json_with_its_fields(capsys: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    log.event("gate.opened", workload="6f1c", count=3, labels={"a": [1]}, nothing=None)
    (line,) = lines(capsys)
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
    capsys: pytest.CaptureFixture[str], level: str, names: list[str]
) -> None:
    log.start(level)
    log.LOGGER.debug("d")
    log.event("i")
    log.warn("w")
    log.error("e")
    assert [line["event"] for line in lines(capsys)] == names


@pytest.mark.usefixtures("started")
def test_starting_twice_does_not_say_all_twice(capsys: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    log.start("info")
    log.event("x")
    assert len(lines(capsys)) == 1


@pytest.mark.usefixtures("started")
def test_a_field_cannot_begin_a_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    log.event("x", hint='a\n{"event": "forged"}\r\nb')
    (line,) = lines(capsys)
    assert line["hint"] == 'a\n{"event": "forged"}\r\nb'


@pytest.mark.usefixtures("started")
def test_an_exception_is_named_and_neither_quoted_nor_traced(capsys: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    try:
        raise ValueError("hunter2")
    except ValueError as exc:
        log.LOGGER.error("loop.stopped", exc_info=exc)
    (line,) = lines(capsys)
    assert line["error"] == "ValueError"
    assert "hunter2" not in json.dumps(line)
    assert "Traceback" not in json.dumps(line)


@pytest.mark.usefixtures("started")
def test_what_is_no_json_is_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    log.start("info")
    log.event("x", path=sys.path.__class__, number=1 + 2j)
    (line,) = lines(capsys)
    assert line["number"] == "(1+2j)"


def test_a_name_in_bytes_that_are_no_utf8_can_be_written() -> None:
    record = logging.makeLogRecord({"msg": "x", "workload": b"pod-\xff".decode("utf-8", "surrogateescape")})
    log.JsonLines().format(record).encode("utf-8")
