"""Keep the ids of events: new ones go to a log, and from there into the sorted table, many at once.

An id can belong anywhere in a sorted table, so inserting it alone writes a whole page. The log takes ids in the
order they come; memory holds the same ids (`id_memory`); slice by slice these move to `seen`, where a page is written
once for all that fall on it.

Invariants:
- Ids that are not sorted in are in the log on disk; memory follows what the log says, also after a rollback.
- A slice moves with every `SLICE_IDS` ids the log takes, in the transaction that brings the last of them. Which one
  it is follows from how many ids the log took: there is nothing else to remember.
- The log drops an entry after each slice has moved once since. After a restart, memory reloads the ids that have not
  moved.
- An id is known for one generation at least and two at most; `rotate` moves everything first.
- An id that the disk changed is found before any is looked up: each row of the log has a checksum, each of the sorted
  tables a sum. `check` compares them whenever a ledger is opened, once SQLite has checked the order.
- Two ids are one, and usage is lost, only where 112 bits of their digests and 64 of their contents' agree. Among a
  hundred million ids, two agree in the 112 with odds below one in 10^18.
"""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from sidecar.ledger.errors import corrupt, decoding
from sidecar.ledger.id_memory import ENTRY, ID, SLICES, IdMemory, Place
from sidecar.ledger.statements import sql
from sidecar.metering.push_group import WHOLE, EntryForm

GENERATION_SECONDS: Final = 24 * 3600
"""An id is known for one generation at least and two at most."""
ENTRY_FORM: Final = EntryForm(id=ID, content=ENTRY - ID)
"""What is kept of the digests: the content only tells a repeat from a conflict."""
SLICE_IDS: Final = 128
"""Ids with which a slice moves: few, so that no push waits long for it. `SLICES` times as many are in the log, and
half of those in memory, under half a megabyte: more of them would save more writing."""
COPY_IDS: Final = 2000
"""Ids that are copied to another ledger in one transaction; pushes go on in between."""
READ_IDS: Final = 8192
"""Ids that are added up at once: a quarter of a megabyte."""
ROTATION: Final = (
    "ids_log_clear",
    "ids_forget_oldest",
    "ids_rotate_emptied",
    "ids_rotate_current",
    "ids_rotate_new",
    "ids_rotate_sums",
)
"""Statements that exchange the generations, in order."""
WHOLE_DROPPED: Final = (
    "ids_whole_clear",
    "ids_whole_clear_before",
    "ids_whole_drop",
    "ids_whole_drop_before",
    "ids_whole_drop_log",
)
"""Statements that drop the tables of whole digests, in order."""
SUMS_SINCE: Final = 7
"""The version of the schema that has the table `seen_sum`."""


class Form(NamedTuple):
    """How entries are added up in some versions of the schema."""

    entry: int
    """Bytes of an entry."""
    modulus: int
    """Divides 2^(8 * entry) - 1: the remainder of many entries in a row is that of their sum, in any order."""


CUT_SINCE: Final = 8
"""The version of the schema that keeps part of each digest; before, all 16 bytes."""
UNCUT: Final = Form(32, 59649589127497217)  # a prime
CUT: Final = Form(ENTRY, 2931542417 * 119782433)  # two primes


class Connection(sqlite3.Connection):
    """A connection to a ledger, with what it holds in memory."""

    ids: IdMemory | None = None


def begin(connection: sqlite3.Connection, place: Place) -> IdMemory:
    """Begin a transaction that may insert ids: what was inserted before it is committed, or rolled back.

    `place`: what is in the ledger now, as of the statement `ids_place`. Returns the memory that agrees with it.
    """
    memory = _memory(connection, place)
    memory.begin()
    return memory


def insert(connection: sqlite3.Connection, entries: Sequence[bytes], memory: IdMemory | None = None) -> bool:
    """Remember these, which are sorted. `memory`: what `begin` has returned, where nothing was rolled back since.

    False where one was known or is there twice: nothing is written then, and no id is held.
    """
    memory, joined = memory or _memory(connection), b"".join(entries)
    doubtful = memory.note(joined)
    if doubtful and _any_known(connection, memory, entries, doubtful):
        return False
    turned_at, taken = memory.place
    taken += len(entries)
    connection.execute(sql("ids_log"), {"number": taken, "entries": joined, "checksum": zlib.crc32(joined)})
    memory.add(entries, Place(turned_at, taken))
    for number in range((taken - len(entries)) // SLICE_IDS, taken // SLICE_IDS):
        _move(connection, memory.waiting(number % SLICES))
        memory.moved(number % SLICES)
        # By now every slice was moved since the one after this was, a round ago.
        connection.execute(sql("ids_log_cut"), {"number": (number + 2 - SLICES) * SLICE_IDS})
    return True


def _any_known(
    connection: sqlite3.Connection, memory: IdMemory, entries: Sequence[bytes], doubtful: Iterable[int]
) -> bool:
    """Return whether one of the doubtful of these sorted entries is known, or has the id of the one before it."""
    asked = [(entries[at - 1] if at else b"", entries[at]) for at in doubtful]
    if any(before[:ID] == entry[:ID] or memory.content_of(entry) is not None for before, entry in asked):
        return True
    return bool(_sorted_in(connection, [entry for _, entry in asked]))


def lookup(connection: sqlite3.Connection, entries: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the ids of these entries that are known, each with the content it was first sent with."""
    asked = sorted(entries)
    if not asked:
        return {}
    memory = _memory(connection)
    waiting = ((entry[:ID], memory.content_of(entry)) for entry in asked)
    return _sorted_in(connection, asked) | {one: content for one, content in waiting if content is not None}


def _sorted_in(connection: sqlite3.Connection, asked: Sequence[bytes]) -> dict[bytes, bytes]:
    rows = connection.execute(sql("ids_known"), {"entries": b"".join(asked), "count": len(asked)}).fetchall()
    return {asked[position][:ID]: content for position, content in rows}


def remember(connection: sqlite3.Connection, entries: bytes) -> None:
    """Keep these ids as if they had been pushed here, in a transaction; those that are known keep their content."""
    begin(connection, _place(connection))
    these = {entries[at : at + ID]: entries[at : at + ENTRY] for at in range(0, len(entries), ENTRY)}
    for one in lookup(connection, these.values()):
        del these[one]
    if these:
        insert(connection, sorted(these.values()))


def everything(connection: sqlite3.Connection) -> Iterator[bytes]:
    """Yield every id that is known, with its content, COPY_IDS at a time."""
    waiting = not_moved(connection)
    for at in range(0, len(waiting), COPY_IDS):
        yield b"".join(waiting[at : at + COPY_IDS])
    for generation in ("ids_page", "ids_page_before"):
        yield from _pages(connection, generation, COPY_IDS)


def _pages(connection: sqlite3.Connection, generation: str, most: int, size: int = ENTRY) -> Iterator[bytes]:
    """Yield what one of the sorted tables has, in order, so many ids at a time.

    `generation` names the statement; an entry has `size` bytes.
    """
    after = b""
    while True:
        last, entries = connection.execute(sql(generation), {"after": after, "count": most}).fetchone()
        if last is None:
            return
        if len(entries) % size or last <= after:
            raise corrupt("an id is not what was written")
        yield entries
        after = last


def sum_of(entries: bytes, modulus: int = CUT.modulus) -> int:
    """Return the sum of these entries as numbers; a change of one byte always shows."""
    return int.from_bytes(entries) % modulus


def sums(connection: sqlite3.Connection, form: Form = CUT) -> tuple[int, int]:
    """Return what the ids that were sorted in come to, of this generation and of the one before."""
    now, before = (
        sum(sum_of(entries, form.modulus) for entries in _pages(connection, one, READ_IDS, form.entry)) % form.modulus
        for one in ("ids_page", "ids_page_before")
    )
    return now, before


def check(connection: sqlite3.Connection, version: int) -> None:
    """Compare all ids with their sums and checksums. Raises sqlite3.DatabaseError where one is not what was written."""
    form = CUT if version >= CUT_SINCE else UNCUT
    kept = connection.execute(sql("ids_sums")).fetchone()
    if kept is None or any(was not in (None, found) for was, found in zip(kept, sums(connection, form), strict=True)):
        raise corrupt("an id is not what was written")
    for _ in _logged(connection, form.entry):
        pass


def _logged(connection: sqlite3.Connection, size: int = ENTRY, rows: str = "ids_logged") -> Iterator[tuple[int, bytes]]:
    """Yield the rows of the log, each compared with its checksum. An entry has `size` bytes."""
    return (_as_logged(row, size) for row in connection.execute(sql(rows)))


@decoding()
def _as_logged(row: sqlite3.Row, size: int) -> tuple[int, bytes]:
    number, entries, checksum = row
    if len(entries) % size or checksum not in (None, number + zlib.crc32(entries)):
        raise corrupt("the log of ids is not what was written")
    return number, entries


def cut(connection: sqlite3.Connection) -> None:
    """Keep part of each digest that an older version kept whole: in the transaction that made the tables for it.

    A page at a time: SQLite holds in memory what one statement changes.
    """
    found: dict[str, int] = {}
    for generation, page, keep in (
        ("now", "ids_page_whole", "ids_move"),
        ("before", "ids_page_before_whole", "ids_cut_before"),
    ):
        found[generation] = 0
        for whole in _pages(connection, page, READ_IDS, UNCUT.entry):
            entries, count = _cut(whole), len(whole) // UNCUT.entry
            if connection.execute(sql(keep), {"entries": entries, "count": count}).rowcount != count:
                raise corrupt("two ids begin alike")
            found[generation] += sum_of(entries)
    for number, whole in list(_logged(connection, UNCUT.entry, "ids_logged_whole")):
        entries = _cut(whole)
        connection.execute(sql("ids_log"), {"number": number, "entries": entries, "checksum": zlib.crc32(entries)})
    connection.execute(sql("ids_sums_set"), {name: total % CUT.modulus for name, total in found.items()})
    for step in WHOLE_DROPPED:
        connection.execute(sql(step))


def _cut(whole: bytes) -> bytes:
    return b"".join(
        whole[at : at + ID] + whole[at + WHOLE.id : at + WHOLE.id + ENTRY_FORM.content]
        for at in range(0, len(whole), UNCUT.entry)
    )


def load(connection: sqlite3.Connection) -> IdMemory:
    """Read the ids into memory: before the first push of a connection, and where memory cannot follow the log."""
    memory = IdMemory(_place(connection))
    for entries in _pages(connection, "ids_page_before", READ_IDS):
        memory.note(entries)
    memory.turn(memory.place)
    for entries in _pages(connection, "ids_page", READ_IDS):
        memory.note(entries)
    waiting = not_moved(connection)
    memory.note(b"".join(waiting))
    memory.load(waiting)
    memory.begin()
    connection.ids = memory  # type: ignore[attr-defined]  # a `Connection`
    return memory


def _memory(connection: sqlite3.Connection, place: Place | None = None) -> IdMemory:
    """Return what the connection holds in memory, in agreement with the log."""
    memory: IdMemory | None = connection.ids  # type: ignore[attr-defined]  # a `Connection`
    return memory if memory and memory.follow(place or _place(connection)) else load(connection)


def _place(connection: sqlite3.Connection) -> Place:
    return Place(*connection.execute(sql("ids_place")).fetchone())


def not_moved(connection: sqlite3.Connection) -> list[bytes]:
    """Return the ids of the log that were not sorted in, with their contents.

    A group moves whole: a slice takes all of it with the last of the `SLICE_IDS`, wherever that is in the group.
    """
    rows = list(_logged(connection))
    moved = moved_up_to(rows[-1][0] if rows else 0)
    return [
        entries[at : at + ENTRY]
        for number, entries in rows
        for at in range(0, len(entries), ENTRY)
        if number - len(entries) // ENTRY >= moved[entries[at]]
    ]


def moved_up_to(taken: int) -> list[int]:
    """Return for each slice with which number of the log it was last moved, when the log took `taken` ids."""
    moves = taken // SLICE_IDS
    return [(moves - (moves - 1 - part) % SLICES) * SLICE_IDS for part in range(SLICES)]


def rotate(connection: sqlite3.Connection, now: int, *, forget: bool) -> None:
    """Begin a new generation. Without `forget`, after a clock was set far back, only its start is corrected."""
    memory = _memory(connection)
    if forget:
        for part in range(SLICES):  # all at once would have SQLite hold tens of megabytes for a rollback
            _move(connection, memory.waiting(part))
        for step in ROTATION:
            connection.execute(sql(step))
    connection.execute(sql("ids_rotated"), {"now": now})
    if forget:
        memory.turn(Place(now, 0))
    else:
        memory.add((), memory.place._replace(turned_at=now))


def _move(connection: sqlite3.Connection, entries: Sequence[bytes]) -> None:
    """Sort these in among the others, of which none is one of them."""
    if entries:
        joined = b"".join(entries)
        if connection.execute(sql("ids_move"), {"entries": joined, "count": len(entries)}).rowcount != len(entries):
            raise corrupt("an id was sorted in twice")
        connection.execute(sql("ids_sum_add"), {"sum": sum_of(joined), "modulus": CUT.modulus})
