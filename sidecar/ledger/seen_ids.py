"""Which ids are known? New ones go to a log, and from there into the sorted table, many at once.

An id falls anywhere in a sorted table, so by itself it has a whole page of it written. The log takes ids in the
order they come; `temp.seen_lately` holds the same ids sorted, in memory; slice by slice these move to `seen`,
where a page is written once for all that fall on it.

Rules kept here:
- What only memory has sorted is in the log on disk by the same transaction; a rollback takes both back.
- A slice moves with every `SLICE_IDS` ids the log takes, in the transaction that brings the last of them. Which one
  it is follows from how many ids the log took: there is nothing else to remember.
- The log drops what every slice was moved since. After a restart memory holds what was perhaps not moved; what
  `seen` has too harms nothing.
- An id is known for one generation at least and two at most; a turn moves everything first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from sidecar.ledger.statements import sql

GENERATION_SECONDS: Final = 24 * 3600
"""An id is known for one generation at least and two at most."""
ID: Final = 16
ENTRY: Final = 32
"""Bytes of an id and its content."""
SLICES: Final = 256
"""A slice is all ids with one first byte."""
SLICE_IDS: Final = 128
"""Ids with which a slice moves: few, so that nobody waits long for it. `SLICES` times as many are in the log, and
half of those in memory, 1 to 2 MB: more of them would save more writing."""
PIECE_IDS: Final = 2000
"""Ids that are passed on at once: in one transaction of whoever takes them, and pushes go on in between."""
LOGGED_MIN: Final = 3
"""Fewer at once are sorted in as they come: the log's page would cost what it saves."""


def insert(connection: sqlite3.Connection, entries: Sequence[bytes]) -> bool:
    """Remember these, in order; False where one was known or is there twice: then the caller takes it all back."""
    these = {"entries": b"".join(entries), "count": len(entries)}
    if len(entries) < LOGGED_MIN:
        return connection.execute(sql("ids_sort_in"), these).rowcount == len(entries)
    if connection.execute(sql("ids_take"), these).rowcount != len(entries):
        return False
    taken = connection.execute(sql("ids_log"), these).lastrowid or 0
    for number in range((taken - len(entries)) // SLICE_IDS, taken // SLICE_IDS):
        _move(connection, number % SLICES)
        # By now every slice was moved since the one after this was, a round ago.
        connection.execute(sql("ids_log_cut"), {"number": (number + 2 - SLICES) * SLICE_IDS})
    return True


def lookup(connection: sqlite3.Connection, entries: Iterable[bytes]) -> dict[bytes, bytes]:
    """The ids of these entries that are known, each with its content of then."""
    asked = sorted(entries)
    if not asked:
        return {}
    rows = connection.execute(sql("ids_known"), {"entries": b"".join(asked), "count": len(asked)}).fetchall()
    return {asked[position][:ID]: content for position, content in rows}


def remember(connection: sqlite3.Connection, entries: bytes) -> None:
    """Know these ids, as if they had been pushed here; those that are known keep their content."""
    these = {entries[at : at + ID]: entries[at : at + ENTRY] for at in range(0, len(entries), ENTRY)}
    for one in lookup(connection, these.values()):
        del these[one]
    if these:
        insert(connection, sorted(these.values()))


def everything(connection: sqlite3.Connection) -> Iterator[bytes]:
    """Every id that is known, with its content, in handy pieces; some may come twice."""
    for (entries,) in connection.execute(sql("ids_logged_entries")):
        yield entries
    rows = connection.execute(sql("ids_sorted"))
    while page := rows.fetchmany(PIECE_IDS):
        yield b"".join(part for entry in page for part in entry)


def load(connection: sqlite3.Connection) -> None:
    """Have in memory what the log holds and was perhaps not moved: once, before a connection counts."""
    connection.execute(sql("ids_lately"))
    rows = connection.execute(sql("ids_logged")).fetchall()
    moved = moved_up_to(rows[-1]["number"] if rows else 0)
    entries = [
        entries[at : at + ENTRY]
        for number, entries in rows
        for at in range(0, len(entries), ENTRY)
        if number > moved[entries[at]]
    ]
    connection.execute(sql("ids_recall"), {"entries": b"".join(entries), "count": len(entries)})


def moved_up_to(taken: int) -> list[int]:
    """For each slice, up to which number of the log it was moved for certain, when the log took so many."""
    moves = taken // SLICE_IDS
    return [(moves - (moves - 1 - part) % SLICES) * SLICE_IDS for part in range(SLICES)]


def rotate(connection: sqlite3.Connection, now: int, *, forget: bool) -> None:
    """Begin a new generation. After a clock was set far back, only the time of the turn is corrected."""
    if forget:
        for part in range(SLICES):  # all at once would have SQLite hold tens of megabytes to take it back
            _move(connection, part)
        for step in ("ids_log_clear", "ids_forget_oldest", "ids_turn_away", "ids_turn_over", "ids_turn_anew"):
            connection.execute(sql(step))
    connection.execute(sql("ids_turned"), {"now": now})


def _move(connection: sqlite3.Connection, part: int) -> None:
    """Sort in what waits of one slice."""
    ids = {"first": bytes([part]), "last": bytes([part]) + b"\xff" * (ID - 1)}
    connection.execute(sql("ids_move"), ids)
    connection.execute(sql("ids_moved"), ids)
