"""A disk that changes what it was given: every change is found, or changes nothing that is billed."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from sidecar.ledger import adoption
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.ledger.volume import ledger_path
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from tests.integration.ledger.support import OWNER, Story, accepted, audit_copy, balanced, event, raw_connection, rolled

OTHER = replace(OWNER, workload="pod-0")
HEADER = 100
"""Bytes of a database file before its first page's content."""


def used(story: Story) -> Path:
    """A closed ledger with a row of each kind: every state, late and rolled usage, a carry, claims, ids, open hours."""
    ledger = story.open()
    states = [State.SETTLED, State.DISPUTED, State.REJECTED, State.SEALED]
    for number, state in enumerate(states):
        story.push(ledger, event(quantity=f"{number + 3}.25", id=f"id-{number}"), event("peak", "7"))
        first, second = story.seal(ledger)
        ledger.mark_sending([first])
        told = replace(first, state=state, record_id="m-1" if state is State.SETTLED else None, attempts=1)
        ledger.save(told, story.now, outcome="told")
    rolled(ledger, second, story)
    ledger._do(adoption.freeze, ["peak"], "successor", story.now)
    tags = (("tenant", "x"),)
    story.push(ledger, event("gigabytes", "1500.5", tags=tags), event("gigabytes", "20"), event("level", "4"))
    story.push(ledger, event("users", "1", key="k"), event(quantity="2", id="last"), event("peak", "9"))
    ledger.push([event(quantity="8", at=story.now - timedelta(hours=1))], story.now)
    story.close()
    return story.path


def facts(ledger: Ledger) -> tuple[object, ...]:
    """Everything that is billed, or shown to the one who decides about it."""
    return ledger.balances(), tuple(ledger.records()), ledger.unsettled(), ledger.open_from(), len(audit_copy(ledger))


def outcome(act: Callable[[], object]) -> object:
    """What it returns, or the reason why it does not."""
    try:
        return act()
    except LedgerError as exc:
        return exc.reason


def changed(story: Story, content: bytes, at: int, bit: int) -> bytes:
    """Put the ledger there with one bit changed; return it."""
    for old in story.directory.iterdir():
        old.unlink()
    wrong = bytearray(content)
    wrong[at] ^= 1 << bit
    story.path.write_bytes(wrong)
    return bytes(wrong)


def places(content: bytes, most: int, header: int = HEADER) -> list[tuple[int, int]]:
    """Bits of the header, of every other page's start, and of any byte that says something."""
    chance = random.Random(7)
    starts = [page + offset for page in range(4096, len(content), 4096) for offset in (0, 3)]
    full = [at for at in range(HEADER, len(content)) if content[at]]
    chosen = [*range(header), *starts, *chance.sample(full, most)]
    return [(at, chance.randrange(8)) for at in chosen]


@pytest.mark.parametrize("change", ["hour = hour + 1", "dimension = 'other'"])
def test_a_key_without_the_bucket_that_counts_it_is_corruption(story: Story, change: str) -> None:
    used(story)
    connection = raw_connection(story.path)
    connection.execute(f"UPDATE unique_key SET {change}")
    connection.commit()
    connection.close()
    assert story.open().set_aside is not None


@pytest.mark.slow
def test_a_changed_bit_is_found_or_changes_nothing_that_is_billed(story: Story) -> None:
    content = used(story).read_bytes()
    right = facts(story.open())
    story.close()
    found = 0
    for at, bit in places(content, 150):
        wrong = changed(story, content, at, bit)
        ledger = story.open()
        if ledger.set_aside is None:
            assert outcome(partial(facts, ledger)) in (right, "ledger_corrupt"), (at, bit)
        if ledger.set_aside is not None:
            found += 1
            assert ledger.set_aside.read_bytes() == wrong, (at, bit)
        assert balanced(ledger)
        ledger.close()
    assert found > 60, "most places are in rows"


@pytest.mark.slow
def test_a_neighbours_changed_bit_does_not_stop_this_ledger(tmp_path: Path) -> None:
    theirs = Story(tmp_path, owner=OTHER)
    content = used(theirs).read_bytes()
    skipped = 0
    for at, bit in places(content, 30, 0):
        changed(theirs, content, at, bit)
        ours = Story(tmp_path, now=theirs.now)
        ledger = ours.open()
        (adopted,) = ledger.adopt(ours.now)
        ledger.prune(ours.now)
        assert balanced(ledger)
        if adopted.skipped == "ledger_corrupt":
            skipped += 1
            assert theirs.path.exists(), "it is another's, and left alone"
            assert not list(tmp_path.glob("*.corrupt-*"))
            assert not any(one.accepted for one in ledger.balances())
        ours.close()
    assert skipped > 15


def columns(path: Path) -> Iterator[tuple[str, str, str]]:
    """Every column of a table with rows: table, column, type."""
    connection = raw_connection(path)
    for (table,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall():
        if connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]:
            for _, column, kind, *_ in connection.execute(f"PRAGMA table_info({table})").fetchall():
                yield table, column, kind
    connection.close()


WRONG = {"INTEGER": (-1, 2**62), "TEXT": ("?", "NaN"), "BLOB": (b"",)}
"""Values of the right type that mean nothing in most columns."""


@pytest.mark.slow
def test_a_value_that_means_nothing_is_corruption_not_a_crash(story: Story) -> None:
    """As if the row had been written so: neither SQLite nor the comparison with what was written finds it."""
    content = used(story).read_bytes()
    found = 0
    for table, column, kind in list(columns(story.path)):
        if column in ("workload", "product_code", "region"):
            continue  # another's, then
        for value in WRONG[kind]:
            for old in story.directory.iterdir():
                old.unlink()
            story.path.write_bytes(content)
            if not update(story.path, table, column, value):
                continue
            ledger = story.open()
            for act in everything(story, ledger):
                came_of_it = outcome(act)
                assert not isinstance(came_of_it, str) or came_of_it == "ledger_corrupt", (table, column, value)
            found += ledger.set_aside is not None
            ledger.close()
    assert found > 30


def update(path: Path, table: str, column: str, value: object) -> bool:
    connection = raw_connection(path)
    for trigger in ("a_request_is_frozen", "open_from_only_moves_forward"):
        connection.execute(f"DROP TRIGGER {trigger}")
    try:
        connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
        connection.commit()
    except sqlite3.IntegrityError:
        return False
    finally:
        connection.close()
    return True


def everything(story: Story, ledger: Ledger) -> list[Callable[[], object]]:
    """What passes and routes do."""
    now = story.now + timedelta(hours=2)
    return [
        lambda: facts(ledger),
        ledger.snapshot,
        ledger.failing_since,
        lambda: ledger.due(now),
        lambda: [ledger.earlier_hours(one) for one in ledger.records()],
        lambda: ledger.push([event(id="id-0", quantity="3.25")], now),
        lambda: ledger.check(now),
        lambda: ledger.adopt(now),
        lambda: ledger.prune(now),
        lambda: facts(ledger),
    ]


def test_a_request_with_another_digest_is_not_sent(story: Story) -> None:
    """Checked when the record is loaded, not only at opening."""
    ledger = story.open()
    story.push(ledger, event(quantity="3"))
    story.seal(ledger)

    def damage(connection: sqlite3.Connection) -> None:
        connection.execute("DROP TRIGGER a_request_is_frozen")
        connection.execute("""UPDATE request SET body = replace(body, '"quantity":"3"', '"quantity":"9"')""")

    ledger._do(damage)
    with pytest.raises(LedgerError) as raised:
        ledger.due(story.now)
    assert raised.value.reason == "ledger_corrupt"
    assert ledger.set_aside is not None


def test_a_request_of_another_record_is_not_sent(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(quantity="3"))
    story.seal(ledger)
    ledger._do(lambda connection: connection.execute("UPDATE usage_record SET quantity = '4'"))
    with pytest.raises(LedgerError) as raised:
        ledger.due(story.now)
    assert raised.value.reason == "ledger_corrupt"


def test_an_amount_that_changed_while_running_is_not_billed(story: Story) -> None:
    """The cache is small: an hour's rows are read from the disk again when it is sealed."""
    story.push(story.open(), event(quantity="3"), event("gigabytes", "5", tags=(("tenant", "x"),)))
    story.close()
    ledger = story.open()
    content = bytearray(story.path.read_bytes())
    where = content.rindex(b"gigabytes[[") + len("gigabytes")
    where = content.index(b"tenant", where)
    content[where] ^= 1
    story.path.write_bytes(content)
    ledger._do(lambda connection: connection.execute("PRAGMA shrink_memory"))
    with pytest.raises(LedgerError) as raised:
        story.seal(ledger)
    assert raised.value.reason == "ledger_corrupt"
    assert story.push(ledger, event())


def test_another_products_ledger_is_still_another_products(tmp_path: Path) -> None:
    theirs = Story(tmp_path, owner=Owner(workload="pod-0", product_code="other", region="us-east-1"))
    used(theirs)
    ours = Story(tmp_path)
    assert [one.skipped for one in ours.open().adopt(ours.now)] == ["ledger_of_another"]
    ours.close()


def test_a_beginning_that_was_cut_off_is_no_corruption(story: Story) -> None:
    """A crash after the schema, before the owner."""
    story.open()
    story.close()
    connection = raw_connection(story.path)
    for table in ("meta", "lifetime"):
        connection.execute(f"DELETE FROM {table}")
    connection.commit()
    connection.close()
    ledger = story.open()
    assert ledger.set_aside is None
    story.push(ledger, event())
    assert accepted(ledger) == 1
    assert ledger.path == ledger_path(story.directory, OWNER.workload)
