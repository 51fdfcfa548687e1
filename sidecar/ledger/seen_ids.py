"""Keep the ids of events: new ones go to a log, and from there into the sorted table, many at once.

An id can belong anywhere in a sorted table, so inserting it alone writes a whole page. The log takes ids in the
order they come; `temp.seen_lately` holds the same ids sorted, in memory; slice by slice these move to `seen`,
where a page is written once for all that fall on it.

Invariants:
- Ids that only memory has sorted are in the log on disk by the same transaction; a rollback removes both.
- A slice moves with every `SLICE_IDS` ids the log takes, in the transaction that brings the last of them. Which one
  it is follows from how many ids the log took: there is nothing else to remember.
- The log drops an entry after each slice has moved once since. After a restart, memory reloads the ids that may not
  have moved; ids that `seen` has too are harmless.
- An id is known for one generation at least and two at most; `rotate` moves everything first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sidecar.ledger.errors import decoding
from sidecar.ledger.statements import sql

GENERATION_SECONDS: Final = 24 * 3600
"""An id is known for one generation at least and two at most."""
ID: Final = 16
ENTRY: Final = 32
"""Bytes of an id and its content."""
SLICES: Final = 256
"""A slice is all ids with one first byte."""
SLICE_IDS: Final = 128
"""Ids with which a slice moves: few, so that no push waits long for it. `SLICES` times as many are in the log, and
half of those in memory, 1 to 2 MB: more of them would save more writing."""
COPY_IDS: Final = 2000
"""Ids that are copied to another ledger in one transaction; pushes go on in between."""
LOGGED_MIN: Final = 3
"""Fewer at once are sorted in as they come: the log's page would cost what it saves."""
ROTATION: Final = ("ids_log_clear", "ids_forget_oldest", "ids_rotate_emptied", "ids_rotate_current", "ids_rotate_new")
"""Statements that exchange the generations, in order."""


def insert(connection: sqlite3.Connection, entries: Sequence[bytes]) -> bool:
    """Remember these, which are sorted.

    False where one was known or is there twice: then the caller rolls back.
    """
    these = {"entries": b"".join(entries), "count": len(entries)}
    if len(entries) < LOGGED_MIN:
        return connection.execute(sql("ids_insert_sorted"), these).rowcount == len(entries)
    if connection.execute(sql("ids_insert_lately"), these).rowcount != len(entries):
        return False
    taken = connection.execute(sql("ids_log"), these).lastrowid or 0
    for number in range((taken - len(entries)) // SLICE_IDS, taken // SLICE_IDS):
        _move(connection, number % SLICES)
        # By now every slice was moved since the one after this was, a round ago.
        connection.execute(sql("ids_log_cut"), {"number": (number + 2 - SLICES) * SLICE_IDS})
    return True


def lookup(connection: sqlite3.Connection, entries: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the ids of these entries that are known, each with the content it was first sent with."""
    asked = sorted(entries)
    if not asked:
        return {}
    rows = connection.execute(sql("ids_known"), {"entries": b"".join(asked), "count": len(asked)}).fetchall()
    return {asked[position][:ID]: content for position, content in rows}


def remember(connection: sqlite3.Connection, entries: bytes) -> None:
    """Keep these ids as if they had been pushed here; those that are known keep their content."""
    these = {entries[at : at + ID]: entries[at : at + ENTRY] for at in range(0, len(entries), ENTRY)}
    for one in lookup(connection, these.values()):
        del these[one]
    if these:
        insert(connection, sorted(these.values()))


def everything(connection: sqlite3.Connection) -> Iterator[bytes]:
    """Yield every id that is known, with its content, about COPY_IDS at a time; some may come twice."""
    logged: list[bytes] = []
    for (entries,) in connection.execute(sql("ids_logged_entries")):
        logged.append(entries)
        if sum(map(len, logged)) >= COPY_IDS * ENTRY:
            yield _whole(logged)
            logged = []
    if logged:
        yield _whole(logged)
    rows = connection.execute(sql("ids_sorted"))
    while page := rows.fetchmany(COPY_IDS):
        yield _whole(part for entry in page for part in entry)


@decoding()
def _whole(parts: Iterable[bytes]) -> bytes:
    """Return ids with their contents as one text of bytes. Raises sqlite3.DatabaseError where a part is missing."""
    entries = b"".join(parts)
    if len(entries) % ENTRY:
        raise ValueError(f"{len(entries)} bytes of ids")
    return entries


@decoding()
def load(connection: sqlite3.Connection) -> None:
    """Read into memory what the log holds and was perhaps not moved: once, before the first push of a connection."""
    connection.execute(sql("ids_lately"))
    rows = connection.execute(sql("ids_logged")).fetchall()
    moved = moved_up_to(rows[-1]["number"] if rows else 0)
    entries = [
        entries[at : at + ENTRY]
        for number, entries in rows
        for at in range(0, len(entries), ENTRY)
        if number > moved[entries[at]]
    ]
    connection.execute(sql("ids_load"), {"entries": b"".join(entries), "count": len(entries)})


def moved_up_to(taken: int) -> list[int]:
    """Return for each slice up to which number of the log it was certainly moved, when the log took `taken` ids."""
    moves = taken // SLICE_IDS
    return [(moves - (moves - 1 - part) % SLICES) * SLICE_IDS for part in range(SLICES)]


def rotate(connection: sqlite3.Connection, now: int, *, forget: bool) -> None:
    """Begin a new generation. Without `forget`, after a clock was set far back, only its start is corrected."""
    if forget:
        for part in range(SLICES):  # all at once would have SQLite hold tens of megabytes for a rollback
            _move(connection, part)
        for step in ROTATION:
            connection.execute(sql(step))
    connection.execute(sql("ids_rotated"), {"now": now})


def _move(connection: sqlite3.Connection, part: int) -> None:
    """Move the ids of one slice from memory into the sorted table."""
    ids = {"first": bytes([part]), "last": bytes([part]) + b"\xff" * (ID - 1)}
    connection.execute(sql("ids_move"), ids)
    connection.execute(sql("ids_moved"), ids)
