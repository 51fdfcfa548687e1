"""An id is known wherever it is: in the log, in memory, sorted in, or of the generation before."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from sidecar.ledger import seen_ids
from sidecar.ledger.id_memory import ENTRY, ID, SLICES
from sidecar.ledger.opening import open_ledger
from sidecar.ledger.seen_ids import SLICE_IDS
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from tests.integration.ledger.support import NOON, OWNER, Story, accepted, balanced, child, event

ROUND = SLICES * SLICE_IDS
MANY = 5 * SLICE_IDS
"""Events of one push that move a few slices."""


def batch(name: str, count: int = MANY, **more: str) -> list[UsageEvent]:
    return [event(id=f"{name}-{number}", **more) for number in range(count)]


class IdStore:
    """The ids of one file, opened as the ledger does."""

    def __init__(self, path: Path, seed: int) -> None:
        self.path, self.chance = path, random.Random(seed)
        self.kept: list[bytes] = []
        self.open()

    def open(self) -> None:
        self.opened = open_ledger(self.path, OWNER, NOON)
        self.connection = self.opened.connection

    def close(self) -> None:
        self.connection.close()
        self.opened.lock.release()

    def entries(self, count: int) -> list[bytes]:
        return sorted(self.chance.randbytes(ENTRY) for _ in range(count))

    def keep(self, count: int) -> None:
        new = self.entries(count)
        self.connection.execute("BEGIN")
        assert seen_ids.insert(self.connection, new)
        self.connection.execute("COMMIT")
        self.kept += new

    def of(self, table: str) -> list[bytes]:
        return [key + content for key, content in self.connection.execute(f"SELECT id, content FROM {table}")]

    def waiting(self) -> list[bytes]:
        memory = self.connection.ids
        return sorted(entry for part in range(SLICES) for entry in memory.waiting(part))

    def log(self) -> list[bytes]:
        rows = self.connection.execute("SELECT entries FROM seen_log").fetchall()
        return [row[0][at : at + ENTRY] for row in rows for at in range(0, len(row[0]), ENTRY)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[IdStore]:
    made = IdStore(tmp_path / "ledger-x.sqlite3", seed=5)
    yield made
    made.close()


def test_slices_move_everything_exactly_once(store: IdStore) -> None:
    """Two rounds of groups of all sizes: each id is sorted in or in memory, never both, and the log ends."""
    while len(store.kept) < 2.5 * ROUND:
        store.keep(store.chance.choice((1, 2, 3, 40, 400, 3000)))
        if store.chance.random() < 0.1:
            assert len(store.log()) <= ROUND + SLICE_IDS + 3000
            assert sorted(store.of("seen") + store.waiting()) == sorted(store.kept)
    assert set(store.waiting()) <= set(store.log())
    assert len(store.waiting()) < 0.7 * ROUND


@pytest.mark.slow
@pytest.mark.parametrize("most", [128, 400])
def test_after_a_restart_the_log_restores_what_was_not_moved(store: IdStore, most: int) -> None:
    """Exactly that, where groups end with a slice's last id and where they end behind it."""
    for size in (100, SLICE_IDS * 3, ROUND - 900, 17, 700, 300, ROUND // 2, 5000, ROUND % SLICE_IDS or SLICE_IDS):
        while size > 0:
            store.keep(min(size, most))
            size -= most
        before = store.waiting()
        store.close()
        store.open()
        assert store.opened.set_aside is None
        assert store.waiting() == before
        found = seen_ids.lookup(store.connection, store.kept)
        assert found == {entry[:ID]: entry[ID:] for entry in store.kept}
        assert seen_ids.lookup(store.connection, store.entries(500)) == {}


def test_what_was_moved_for_certain_follows_from_the_number_taken() -> None:
    at = [0] * SLICES
    for taken in range(0, 3 * ROUND, SLICE_IDS):
        assert [max(one, 0) for one in seen_ids.moved_up_to(taken + 1)] == at
        at[taken // SLICE_IDS % SLICES] = taken + SLICE_IDS


def everything(store: IdStore) -> list[object]:
    tables = ("seen", "seen_log", "seen_sum")
    return [store.waiting(), *(store.connection.execute(f"SELECT * FROM {one}").fetchall() for one in tables)]


@pytest.mark.parametrize("count", [1, 3, 2 * SLICE_IDS])
@pytest.mark.parametrize("ends", ["ROLLBACK", "ROLLBACK TO one"])
def test_a_rollback_leaves_no_trace_in_memory(store: IdStore, count: int, ends: str) -> None:
    store.keep(ROUND // 4)
    before, new = everything(store), store.entries(count)
    store.connection.execute("BEGIN")
    store.connection.execute("SAVEPOINT one")
    assert seen_ids.insert(store.connection, new)
    assert len(seen_ids.lookup(store.connection, new)) == count
    store.connection.execute(ends)
    assert seen_ids.lookup(store.connection, new) == {}
    assert everything(store) == before
    if store.connection.in_transaction:
        store.connection.execute("COMMIT")
    store.connection.execute("BEGIN")
    assert seen_ids.insert(store.connection, new)
    store.connection.execute("COMMIT")


@pytest.mark.parametrize("count", [1, 3, 50])
def test_a_known_id_is_not_inserted_again_wherever_it_is(store: IdStore, count: int) -> None:
    """One at a time among new ones: in memory, sorted in, of the generation before, and twice among these."""
    store.keep(ROUND // 2)
    older, waiting = store.of("seen")[7], store.waiting()[7]
    seen_ids.rotate(store.connection, 0, forget=True)
    store.keep(ROUND // 2)
    sorted_in, lately = store.of("seen")[7], store.waiting()[7]
    new = store.entries(1)[0]
    for again in ([older], [waiting], [sorted_in], [lately], [new, new]):
        store.connection.execute("BEGIN")
        assert not seen_ids.insert(store.connection, sorted([*again, *store.entries(count - 1)]))
        store.connection.execute("ROLLBACK")


def test_after_a_restart_ids_of_both_generations_are_known(store: IdStore) -> None:
    store.keep(300)
    older = store.kept.copy()
    seen_ids.rotate(store.connection, 0, forget=True)
    store.keep(300)
    store.close()
    store.open()
    store.connection.execute("BEGIN")
    seen_ids.rotate(store.connection, 1, forget=True)
    assert store.connection.ids is not None
    assert len(store.connection.ids.note(b"".join(older))) < 5, "their bits are gone"
    store.connection.execute("ROLLBACK")
    store.connection.execute("BEGIN")
    for known in store.kept:
        assert not seen_ids.insert(store.connection, [known])
    seen_ids.rotate(store.connection, 1, forget=True)
    memory = store.connection.ids
    for known in store.kept:
        assert seen_ids.insert(store.connection, [known]) is (known in older), "two generations are known at most"
    assert store.connection.ids is memory, "following needs no reload"
    store.connection.execute("ROLLBACK")


def test_a_corrected_generation_keeps_what_memory_holds(store: IdStore) -> None:
    store.keep(300)
    memory, before = store.connection.ids, store.waiting()
    for ends in ("ROLLBACK", "COMMIT"):
        store.connection.execute("BEGIN")
        seen_ids.rotate(store.connection, 5, forget=False)
        assert not seen_ids.insert(store.connection, store.kept[:1])
        store.connection.execute(ends)
        assert not seen_ids.insert(store.connection, store.kept[:1])
        assert (store.connection.ids, store.waiting()) == (memory, before)


def test_rotation_moves_everything(store: IdStore) -> None:
    store.keep(1000)
    seen_ids.rotate(store.connection, 0, forget=True)
    assert sorted(store.of("seen_before")) == sorted(store.kept)
    assert store.of("seen") == store.waiting() == store.log() == []


@pytest.mark.parametrize("count", [40, 41])
def test_a_rotation_that_is_rolled_back_leaves_no_trace_in_memory(store: IdStore, count: int) -> None:
    """Not even where the log took as many ids after it as it had taken before."""
    store.keep(40)
    before, new = everything(store), store.entries(count)
    store.connection.execute("BEGIN")
    seen_ids.rotate(store.connection, 7, forget=True)
    assert seen_ids.insert(store.connection, new)
    store.connection.execute("ROLLBACK")
    assert seen_ids.lookup(store.connection, [*new, *store.kept]) == {one[:ID]: one[ID:] for one in store.kept}
    assert everything(store) == before


def test_memory_keeps_no_steps_of_earlier_transactions(story: Story) -> None:
    ledger = story.open()
    for name in "abc":
        story.push(ledger, *batch(name, 3))
        ledger._do(partial(seen_ids.remember, entries=random.Random(name).randbytes(5 * ENTRY)))
    memory = ledger._writer._connection.ids  # type: ignore[union-attr]
    assert len(memory._steps) == 1
    story.push(ledger, event(id="d"))
    assert len(memory._steps) == 1


def test_new_ids_that_look_known_are_looked_up_and_taken(store: IdStore) -> None:
    """Of each pair the first four bytes agree: in one group, with one that waits, and with one that is sorted in."""
    store.keep(ROUND // 2)
    for known in (store.of("seen")[3], store.waiting()[3], store.entries(1)[0]):
        alike = sorted(known[:4] + store.chance.randbytes(ENTRY - 4) for _ in range(5))
        store.connection.execute("BEGIN")
        assert seen_ids.insert(store.connection, alike)
        assert not seen_ids.insert(store.connection, alike[2:3])
        store.connection.execute("COMMIT")
        assert seen_ids.lookup(store.connection, alike) == {one[:ID]: one[ID:] for one in alike}


PUSHER = """
import os, signal
from tests.integration.ledger.test_seen_ids import batch
ledger = Story(Path(argv[0])).open()
for name in "abc": print(ledger.push(batch(name), NOON).accepted, flush=True)
print(ledger.push([event(id="single")], NOON).accepted, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_after_a_kill_what_was_only_in_memory_is_known(story: Story) -> None:
    process = child(PUSHER, story.directory)
    said, failed = process.communicate(timeout=30)
    assert said.split() == [*[str(MANY)] * 3, "1"], failed
    ledger = story.open()
    for name in "abc":
        assert story.push(ledger, *batch(name)) == PushAccepted(accepted=0, duplicates=MANY)
    assert story.push(ledger, event(id="single"), *batch("d")) == PushAccepted(accepted=MANY, duplicates=1)
    other = story.push(ledger, *batch("e"), event(id="c-3", quantity="2"))
    assert isinstance(other, PushRefused)
    assert (other.status, other.index) == (409, MANY)
    assert accepted(ledger) == 4 * MANY + 1
    assert balanced(ledger)


def test_one_request_may_repeat_ids_from_every_table(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, *batch("old"))
    story.now += timedelta(hours=25)
    story.push(ledger, *batch("logged"))
    story.push(ledger, event(id="single"))
    again = [event(id=one) for one in ("old-1", "logged-1", "single")]
    assert story.push(ledger, *again, event(id="new")) == PushAccepted(accepted=1, duplicates=3)
    for one in again:
        assert story.push(ledger, *batch(f"with {one.id}", 10), one) == PushAccepted(accepted=10, duplicates=1)
    assert balanced(ledger)


def test_a_refused_request_may_send_its_ids_with_other_content(story: Story) -> None:
    ledger, much = story.open(), "9999999999.999999"
    refused = story.push(ledger, *batch("a", 1000, quantity=much))
    assert isinstance(refused, PushRefused)
    assert refused.status == 422
    assert story.push(ledger, *batch("a", 1000)) == PushAccepted(accepted=1000, duplicates=0)
    assert accepted(ledger) == 1000


class Failing:
    """A connection whose commits fail."""

    def __init__(self, inner: sqlite3.Connection) -> None:
        self.inner = inner

    def execute(self, statement: str, *values: object) -> object:
        if statement == "COMMIT":
            raise sqlite3.OperationalError("disk I/O error")
        return self.inner.execute(statement, *values)

    def __getattr__(self, name: str) -> object:
        return getattr(self.inner, name)


def test_a_commit_that_fails_rolls_memory_back(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, *batch("a"))
    works = ledger._writer._connection
    assert works is not None
    ledger._writer._connection = Failing(works)  # type: ignore[assignment]
    refused = story.push(ledger, *batch("b"))
    assert isinstance(refused, PushRefused)
    assert refused.status == 503
    ledger._writer._connection = works
    assert story.push(ledger, *batch("b")) == PushAccepted(accepted=MANY, duplicates=0)
    assert balanced(ledger)
