"""A single read that failed can look like damage: a ledger is set aside when it is found damaged twice."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta

import pytest

from sidecar.ledger import adoption, volume
from sidecar.ledger.errors import LedgerError, corrupt
from sidecar.ledger.handover import Successor
from sidecar.metering.events import PushAccepted
from tests.integration.ledger.support import HOUR, Story, accepted, event

Damage = Callable[[], sqlite3.Error]


def reported_by_sqlite() -> sqlite3.Error:
    """The error with which SQLite itself reports damage."""
    connection = sqlite3.connect(":memory:")
    connection.deserialize(b"no database" * 500)
    with pytest.raises(sqlite3.DatabaseError) as caught:
        connection.execute("SELECT count(*) FROM sqlite_schema")
    connection.close()
    return caught.value


def undecodable() -> sqlite3.Error:
    """The error of a row that is not what was written: a read that gave zeros at its end looks like this, too."""
    return corrupt("a row cannot be decoded")


def no_text() -> sqlite3.Error:
    return sqlite3.OperationalError("Could not decode to UTF-8 column 'dimension' with text 'x'")


KINDS = pytest.mark.parametrize("damage", [reported_by_sqlite, undecodable, no_text])


class Work:
    """Work that fails the first so many times, and the connections it was given."""

    def __init__(self, times: int, error: Callable[[], Exception]) -> None:
        self.times, self.error, self.given = times, error, list[sqlite3.Connection | None]()

    def __call__(self, connection: sqlite3.Connection | None = None) -> str:
        self.given.append(connection)
        if len(self.given) <= self.times:
            raise self.error()
        return "done"


@KINDS
def test_damage_that_a_second_connection_does_not_find_sets_nothing_aside(story: Story, damage: Damage) -> None:
    ledger, work = story.open(), Work(1, damage)
    story.push(ledger, event(id="a"))
    assert ledger._writer.run(work) == "done"
    first, second = work.given
    assert first is not second, "what SQLite has of the file in memory may be wrong"
    assert (ledger.set_aside, ledger.fault) == (None, None)
    assert story.push(ledger, event(id="a")) == PushAccepted(accepted=0, duplicates=1)
    assert ledger.open_from() == HOUR


@KINDS
def test_damage_that_a_second_connection_finds_sets_the_file_aside(story: Story, damage: Damage) -> None:
    ledger, work = story.open(), Work(2, damage)
    story.push(ledger, event(id="a"))
    with pytest.raises(LedgerError) as caught:
        ledger._writer.run(work)
    assert caught.value.reason == "ledger_corrupt"
    assert len(work.given) == 2
    assert ledger.set_aside is not None
    assert ledger.set_aside.exists()
    assert ledger.open_from() == HOUR.next
    assert accepted(ledger) == 0


@KINDS
def test_a_push_that_is_tried_again_counts_once(story: Story, damage: Damage, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no id, and everything of it is written when the damage is found."""
    ledger, work = story.open(), Work(1, damage)
    monkeypatch.setattr("sidecar.ledger.unique_keys.add", lambda connection, keys: work(connection))
    assert story.push(ledger, event(), event()) == PushAccepted(accepted=2, duplicates=0)
    assert len(work.given) == 2
    assert accepted(ledger) == 2
    assert ledger.set_aside is None
    story.close()
    assert accepted(story.open()) == 2


def io_error() -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_IOERR_READ, "SQLITE_IOERR_READ"
    return error


@pytest.mark.parametrize("error", [io_error, lambda: ValueError("ours")], ids=["I/O", "a bug"])
def test_work_that_fails_otherwise_is_not_done_again(story: Story, error: Callable[[], Exception]) -> None:
    ledger, work = story.open(), Work(1, error)
    story.push(ledger, event(id="a"))
    with pytest.raises((LedgerError, ValueError)):
        ledger._writer.run(work)
    assert len(work.given) == 1
    assert ledger.set_aside is None
    assert story.push(ledger, event(id="a")) == PushAccepted(accepted=0, duplicates=1)


def test_a_commit_that_fails_is_not_done_again(story: Story) -> None:
    """Its outcome is not known: events without ids would count twice."""
    ledger, given = story.open(), list[sqlite3.Connection]()

    def commits_by_itself(connection: sqlite3.Connection) -> None:
        given.append(connection)
        connection.execute("COMMIT")  # so that the writer's own fails

    with pytest.raises(LedgerError):
        ledger._writer.run(commits_by_itself)
    assert len(given) == 1
    assert ledger.set_aside is None


def test_a_file_that_is_not_there_is_read_through_and_a_link_is_not(story: Story) -> None:
    story.open()
    volume.read_through(story.path)
    volume.read_through(story.directory / "none")
    link = story.directory / "link"
    link.symlink_to(story.path)
    with pytest.raises(OSError, match="symbolic links"):
        volume.read_through(link)


@pytest.mark.parametrize(
    ("times", "error", "called", "skipped"),
    [
        (1, reported_by_sqlite, 2, ""),
        (2, reported_by_sqlite, 2, "ledger_corrupt"),
        (1, io_error, 1, "ledger_io_error"),
    ],
    ids=["damage once", "damage twice", "I/O"],
)
def test_another_ledger_is_damaged_when_it_is_found_so_twice(
    story: Story, times: int, error: Callable[[], Exception], called: int, skipped: str
) -> None:
    """Else its ids would not be waited for, and what its product repeats would count again."""
    ledger = story.open()
    story.push(ledger, event(id="a"))
    story.close()
    work = Work(times, error)
    successor = Successor(name="ours", owner=story.owner, dimensions=["requests"], now=story.now, take=lambda *_: None)
    found = adoption.adopt(story.path, successor, lambda _: print(work()))
    assert (len(work.given), found.skipped, found.ids_missing) == (called, skipped, bool(skipped))
    assert not list(story.directory.glob("*.corrupt-*"))


def half_read(connection: sqlite3.Connection) -> None:
    """Work that finds damage while it reads: its error refers to a statement that is not finished."""
    rows = connection.execute("SELECT ledger FROM meta UNION ALL SELECT 2")
    next(rows)
    raise undecodable()


def test_damage_that_is_met_while_rows_are_read_sets_the_file_aside(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(id="a"))
    with pytest.raises(LedgerError) as caught:
        ledger._writer.run(half_read)
    assert caught.value.reason == "ledger_corrupt"
    assert ledger.set_aside is not None
    story.now += timedelta(hours=1)
    assert story.push(ledger, event(id="b")) == PushAccepted(accepted=1, duplicates=0)
