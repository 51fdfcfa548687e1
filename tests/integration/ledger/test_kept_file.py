"""A small file of the state directory is replaced whole, for its owner alone, whatever lies there already."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from sidecar.ledger import kept_file

SECRET = '{"token": "secret"}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return kept_file.answer_path(tmp_path, "pod-1")


def beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_file_made_before_under_the_temporary_name_lends_no_mode(path: Path) -> None:
    beside(path).touch()
    beside(path).chmod(0o666)
    kept_file.replace(path, SECRET)
    assert path.read_text() == SECRET
    assert mode(path) == 0o600
    assert not beside(path).exists()


def test_what_was_open_before_under_the_temporary_name_reads_nothing(path: Path) -> None:
    beside(path).touch()
    with beside(path).open() as spy:
        kept_file.replace(path, SECRET)
        assert spy.read() == ""


def test_a_second_name_of_the_temporary_file_gets_nothing(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch()
    os.link(other, beside(path))
    kept_file.replace(path, SECRET)
    assert other.read_text() == ""


def test_a_link_under_the_temporary_name_is_not_followed(path: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("theirs")
    beside(path).symlink_to(other)
    kept_file.replace(path, SECRET)
    assert other.read_text() == "theirs"
    assert not path.is_symlink()
    assert path.read_text() == SECRET


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_the_mode_is_the_owners_alone_whatever_the_umask(umask: int, path: Path) -> None:
    before = os.umask(umask)
    try:
        kept_file.replace(path, SECRET)
    finally:
        os.umask(before)
    assert mode(path) == 0o600


def test_a_directory_under_the_temporary_name_is_an_error_and_keeps_the_old_text(path: Path) -> None:
    kept_file.replace(path, "old")
    beside(path).mkdir()
    with pytest.raises(OSError):
        kept_file.replace(path, SECRET)
    assert path.read_text() == "old"


def test_what_a_crash_left_does_not_hinder_the_next(path: Path) -> None:
    beside(path).write_text("half a")
    kept_file.replace(path, SECRET)
    kept_file.replace(path, "newer")
    assert path.read_text() == "newer"
