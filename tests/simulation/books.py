"""Read what ledgers hold, without changing them: of the one that is open, and of those that no process uses.

Invariants:
- The open one is read through its own connection while its writer is idle; the others as copies of their files, so
  that nothing is written back to them.
- A ledger at rest is read again only where its file or its log changed.
- An amount that was handed over and is in both files is counted once: the taker has it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from sidecar.ledger import balance, opening, records, removal, wal
from sidecar.ledger.decimals import read_amount
from sidecar.ledger.statements import sql
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings.dimensions import Dimension
from tests.simulation import disk
from tests.simulation.aws import Key

UNSETTLED = (State.SEALED, State.DISPUTED, State.EXPIRED, State.REJECTED)


@dataclass
class Book:
    """What one ledger holds."""

    name: str = ""
    workload: str = ""
    accepted: dict[str, Decimal] = field(default_factory=dict)
    billed: dict[str, Decimal] = field(default_factory=dict)
    """What AWS must have billed: settled, less what a person wrote off, more what a person accepted above it."""
    events: int = 0
    unbalanced: list[str] = field(default_factory=list)
    unsettled: dict[Key, UsageRecord] = field(default_factory=dict)
    handed: list[tuple[int, str, Decimal]] = field(default_factory=list)
    """Amounts that are frozen for another ledger: number, dimension, amount."""
    origins: set[str] = field(default_factory=set)
    """Where amounts came from that were taken over."""


def read(connection: sqlite3.Connection, dimensions: Mapping[str, Dimension]) -> Book:
    """Return what a ledger holds."""
    meta = connection.execute(sql("meta")).fetchone()
    if meta is None:
        return Book()  # it was begun, and the disk took no more
    book = Book(name=meta["ledger"], workload=meta["workload"])
    for one in balance.balances(connection, dimensions):
        book.accepted[one.dimension] = one.accepted
        book.billed[one.dimension] = one.settled - one.written_off + one.over_billed
        book.events += one.events
        if not one.balanced or one.accepted != one.settled + one.waiting:
            book.unbalanced.append(str(one))
    for row in removal.removed(connection):
        name = str(row["dimension"])
        amounts = {key: read_amount(str(row[key])) for key in ("accepted", "settled", "written_off", "over_billed")}
        book.accepted[name] = book.accepted.get(name, Decimal(0)) + amounts["accepted"]
        net = amounts["settled"] - amounts["written_off"] + amounts["over_billed"]
        book.billed[name] = book.billed.get(name, Decimal(0)) + net
        book.events += int(str(row["events"]))
    for state in UNSETTLED:
        for record in records.in_state(connection, state):
            book.unsettled[meta["workload"], record.dimension, record.hour.number] = record
    for row in connection.execute(sql("handed_waiting")).fetchall():
        book.handed.append((row["id"], row["dimension"], read_amount(row["amount"])))
    book.origins = {row[0] for row in connection.execute("SELECT origin FROM rolled WHERE origin LIKE '%:%'")}
    return book


class Shelf:
    """The ledgers of one volume that no process uses."""

    def __init__(self, directory: Path, versions: Mapping[str, int]) -> None:
        """`directory` takes copies; it is not on the volume. `versions`: how often the rows of each file changed."""
        self._directory, self._versions = directory, versions
        self._copies: dict[Path, tuple[object, sqlite3.Connection, Book]] = {}

    def books(self, volume: Path, now: datetime, but: Path | None) -> Iterator[Book]:
        """Yield what each ledger on the volume holds but the one that is open."""
        for name in sorted(os.listdir(volume)):
            if name.startswith("ledger-") and name.endswith(".sqlite3"):
                path = volume / name
                if path != but and path.stat().st_size:
                    yield self._copied(path, now)[1]

    def connection(self, path: Path, now: datetime) -> sqlite3.Connection:
        """Return a connection to a copy of a ledger, for reading it now."""
        return self._copied(path, now)[0]

    def close(self) -> None:
        """Close the copies."""
        for _, connection, _ in self._copies.values():
            connection.close()
        self._copies.clear()

    def _copied(self, path: Path, now: datetime) -> tuple[sqlite3.Connection, Book]:
        state = self._versions[str(path)], _state(path), _state(wal.path_of(path))
        known = self._copies.get(path)
        if known is None or known[0] != state:
            if known is not None:
                known[1].close()
            connection = self._copy(path, now)
            known = self._copies[path] = (state, connection, read(connection, {}))
        return known[1], known[2]

    def _copy(self, path: Path, now: datetime) -> sqlite3.Connection:
        copy = self._directory / f"copy-of-{path.name}"
        for one in (copy, wal.path_of(copy)):
            one.unlink(missing_ok=True)
        shutil.copyfile(path, copy)
        if wal.path_of(path).exists():
            shutil.copyfile(wal.path_of(path), wal.path_of(copy))
        with disk.aside():
            return opening.open_copy(copy, now, lambda _copy: None)


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns
