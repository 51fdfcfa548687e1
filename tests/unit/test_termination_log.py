"""The note that Kubernetes shows: only where its file is, at most 4096 bytes, and it never fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.termination_log import BYTES_MAX, note


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "termination-log"
    found.write_text("an older note")
    return found


def test_a_note_replaces_an_older_one(path: Path) -> None:
    note(path, "denied: é")
    assert path.read_text() == "denied: é"


def test_an_empty_note_clears_it(path: Path) -> None:
    note(path, "")
    assert path.read_text() == ""


def test_no_file_is_made(tmp_path: Path) -> None:
    note(tmp_path / "new", "x")
    note(tmp_path / "no" / "such", "x")
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_let_be(tmp_path: Path) -> None:
    note(tmp_path, "x")
    note(Path("/proc/version"), "x")


def test_it_is_no_longer_than_what_the_kubelet_reads(path: Path) -> None:
    note(path, "x" * (BYTES_MAX + 1))
    assert path.read_text() == "x" * 4096


def test_it_is_not_cut_inside_a_character(path: Path) -> None:
    note(path, "…" * BYTES_MAX)
    assert path.read_bytes().decode("utf-8").strip("…") == ""


def test_text_that_is_no_utf8_does_not_make_it_fail(path: Path) -> None:
    note(path, "names /\udcff, which cannot be read")
    assert "cannot be read" in path.read_text()


def test_no_control_character_but_the_line_break_is_written(tmp_path: Path) -> None:
    path = tmp_path / "note"
    path.touch()
    note(path, "first\nsecond \x1b[2J\x9b1m")
    assert path.read_text() == "first\nsecond \\x1b[2J\\x9b1m"
