"""Input files: plain, gzip, stdin; what cannot be read is named."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from sidecar.audit.input_files import FAULTS_MAX, Period, Reading, TooManyFaults, Unreadable, lines, parsed
from sidecar.audit.rows import Row
from tests.unit.audit.support import ours

LINES = b"one\n\ntwo\nthree"


def read(path: Path, reading: Reading) -> list[bytes]:
    return [line for _, line in lines(str(path), reading, lambda *_: None)]


def words(line: bytes, origin: str) -> Iterator[Row | str]:
    if b"bad" in line:
        raise Unreadable("is bad")
    yield ours(line.decode().strip(), origin=origin)


def rows(path: Path, reading: Reading) -> list[Row]:
    return list(parsed(str(path), reading, lambda *_: None, words))


@pytest.mark.parametrize("packed", [False, True])
def test_plain_and_gzip_files_are_read_whatever_their_name(tmp_path: Path, packed: bool) -> None:
    path = tmp_path / "any"
    path.write_bytes(gzip.compress(LINES) if packed else LINES)
    reading = Reading()
    assert read(path, reading) == [b"one\n", b"two\n", b"three"]
    assert reading.faults == []


@pytest.mark.parametrize("cut", [5, 15, 25])
def test_a_gzip_file_that_ends_early_is_a_fault(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "half.gz"
    path.write_bytes(gzip.compress(LINES)[:cut])
    reading = Reading()
    read(path, reading)
    assert str(path) in reading.faults[0]


def test_a_file_that_is_missing_and_a_directory_are_faults(tmp_path: Path) -> None:
    reading = Reading()
    assert read(tmp_path / "none", reading) == read(tmp_path, reading) == []
    assert [fault.partition(": ")[0] for fault in reading.faults] == [str(tmp_path / "none"), str(tmp_path)]


def test_a_bad_line_is_named_by_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(b"a\n\nbad\nb\n")
    reading = Reading()
    assert [row.record_id for row in rows(path, reading)] == ["a", "b"]
    assert reading.faults == [f"{path}, line 3: is bad"]
    assert reading.lines == 3


def test_a_bad_last_line_without_a_line_break_is_ignored_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a\nbad")
    reading = Reading()
    assert len(rows(path, reading)) == 1
    assert (reading.faults, dict(reading.ignored)) == ([], {"truncated_last_line": 1})
    assert "line 2" in reading.notes[0]


def test_reading_ends_after_so_many_faults(tmp_path: Path) -> None:
    path = tmp_path / "export"
    path.write_bytes(b"bad\n" * 100)
    reading = Reading()
    with pytest.raises(TooManyFaults):
        rows(path, reading)
    assert len(reading.faults) == FAULTS_MAX


def test_a_period_has_both_its_days() -> None:
    period = Period(first=date(2025, 11, 24), last=date(2025, 11, 24))
    assert period.has(ours(hour=490_000 - 16))
    assert period.has(ours(hour=490_007))
    assert not period.has(ours(hour=490_000 - 17))
    assert not period.has(ours(hour=490_008))
    assert Period().has(ours())
