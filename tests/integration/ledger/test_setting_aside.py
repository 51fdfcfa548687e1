"""A damaged file is set aside whole, with its log, and over nothing that was set aside before."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.ledger import volume, wal
from sidecar.ledger.errors import LedgerError
from tests.fakes.faults import hold_logs
from tests.integration.ledger.support import HOUR, Story, event


def cut_off(story: Story) -> tuple[bytes, bytes]:
    """A damaged ledger of which only the file was renamed, not its log: what both hold."""
    story.push(story.open(), event(id="a"))
    log = wal.path_of(story.path)
    content, logged = story.path.read_bytes(), log.read_bytes()
    story.close()
    story.path.unlink()
    story.path.with_name(f"{story.path.name}.corrupt-20260102T121000Z").write_bytes(content)
    log.write_bytes(logged)
    return content, logged


def test_the_log_follows_a_file_whose_setting_aside_was_cut_off(story: Story) -> None:
    """SQLite deletes a log without a file."""
    content, logged = cut_off(story)
    assert story.open().open_from() == HOUR.next
    (aside,) = (one for one in story.directory.glob("*.corrupt-*") if not one.name.endswith("-wal"))
    assert (aside.read_bytes(), wal.path_of(aside).read_bytes()) == (content, logged)


def test_a_ledger_beside_one_that_was_set_aside_keeps_its_log(story: Story) -> None:
    cut_off(story)
    story.push(story.open(), event(id="b"))
    assert wal.path_of(story.path).exists()
    volume.finish_setting_aside(story.path, story.now)
    assert wal.path_of(story.path).exists()


@pytest.fixture
def stuck_log(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    with monkeypatch.context() as patch:
        hold_logs(patch, errno.EIO)
        yield patch


def test_the_file_is_renamed_before_its_log(story: Story, stuck_log: pytest.MonkeyPatch) -> None:
    """Without its log it would be opened, and lack what was acknowledged."""
    story.push(story.open(), event(id="a"))
    log = wal.path_of(story.path)
    log_content = log.read_bytes()
    story.close()
    log.write_bytes(log_content)
    with pytest.raises(LedgerError) as caught:
        volume.set_aside(story.path, story.now)
    assert not story.path.exists()
    assert caught.value.set_aside is not None
    stuck_log.undo()
    assert volume.set_aside(story.path, story.now) == caught.value.set_aside
    assert wal.path_of(caught.value.set_aside).read_bytes() == log_content


def aside(story: Story, more: str, *, log: bytes | None) -> Path:
    """An older file that was set aside, with what its log holds."""
    made = story.path.with_name(f"{story.path.name}.corrupt-20260102T121000Z{more}")
    made.write_bytes(f"file{more}".encode())
    if log is not None:
        wal.path_of(made).write_bytes(log)
    return made


def test_a_log_without_a_file_replaces_none_that_was_set_aside(story: Story) -> None:
    """A crash while a ledger was removed leaves its log; an older one of the same workload was set aside."""
    older = aside(story, "", log=b"older")
    wal.path_of(story.path).write_bytes(b"stray")
    story.open()
    assert wal.path_of(older).read_bytes() == b"older"
    assert {one.read_bytes() for one in story.directory.glob("*.corrupt-*-wal")} == {b"older", b"stray"}
    assert older.read_bytes() == b"file"


def test_setting_aside_again_replaces_no_log(story: Story) -> None:
    older = aside(story, "", log=b"older")
    wal.path_of(story.path).write_bytes(b"stray")
    found = volume.set_aside(story.path, story.now)
    assert (found.name, wal.path_of(found).read_bytes()) == (f"{older.name}-1", b"stray")
    assert wal.path_of(older).read_bytes() == b"older"


@pytest.mark.parametrize("beside", ["", "-wal", "-shm"])
def test_a_name_of_which_any_part_is_taken_is_not_used(story: Story, beside: str) -> None:
    taken = story.path.with_name(f"{story.path.name}.corrupt-20260102T121000Z{beside}")
    taken.write_bytes(b"older")
    for part in ("", "-wal", "-shm"):
        story.path.with_name(story.path.name + part).write_bytes(b"newer")
    found = volume.set_aside(story.path, story.now)
    assert found.name.endswith("Z-1")
    assert taken.read_bytes() == b"older"
    assert {story.path.with_name(found.name + part).read_bytes() for part in ("", "-wal", "-shm")} == {b"newer"}


def test_the_tenth_of_one_second_is_newer_than_the_ninth(story: Story) -> None:
    """Its setting aside was cut off: the log is its own."""
    for number in range(1, 10):
        aside(story, f"-{number}", log=None)
    tenth = aside(story, "-10", log=None)
    aside(story, "-99.copy", log=None)  # a person's, under a name that is none of ours
    wal.path_of(story.path).write_bytes(b"log")
    volume.finish_setting_aside(story.path, story.now)
    assert wal.path_of(tenth).read_bytes() == b"log"
    assert len(list(story.directory.glob("*-wal"))) == 1


def test_a_log_alone_belongs_to_none_that_was_set_aside(story: Story) -> None:
    wal.path_of(story.path).write_bytes(b"log")
    volume.finish_setting_aside(story.path, story.now)
    assert [one.name for one in story.directory.iterdir()] == [f"{story.path.name}-wal"]
