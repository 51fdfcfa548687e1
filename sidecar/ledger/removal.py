"""Remove the ledger of a workload that is gone, once nothing in it is needed; its totals stay in ours.

Invariants:
- Only under its lock, and only where everything is settled, taken over or rolled forward, longer ago than the audit
  time.
- Its totals, and those it keeps of ledgers removed before it, are on disk in ours before a file is deleted. They have a
  row for each ledger: a crash in between adds nothing twice, and our own totals do not leap.
- The lock's file is deleted last, and who takes a lock looks whether it still has its name (`volume.Lock`): a workload
  that comes back begins a new ledger, never one that is being deleted.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from sidecar.ledger import live_copy, volume, wal
from sidecar.ledger.balance import balances
from sidecar.ledger.errors import FAILURES, as_ledger_error, decoding
from sidecar.ledger.kept_file import sync_directory
from sidecar.ledger.opening import Owner, open_known
from sidecar.ledger.records import RETENTION
from sidecar.ledger.sealing import instant_text
from sidecar.ledger.statements import sql
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import plain

Row = Mapping[str, object]
"""What one ledger came to, of one dimension, as the table `removed` has it."""


def is_due(connection: sqlite3.Connection, now: datetime) -> bool:
    """Return whether nothing in a ledger is needed any more. What does not add up is kept."""
    before = {"hour": Hour.at(now - RETENTION).number, "at": instant_text(now - RETENTION)}
    if connection.execute(sql("needed_still"), before).fetchone()[0]:
        return False
    return all(one.balanced and not one.waiting for one in balances(connection, {}))


def remove(path: Path, owner: Owner, now: datetime, keep_totals: Callable[[Sequence[Row]], None]) -> bool:
    """Remove the ledger at `path`, if that is still due; return whether it was. Raises LedgerError."""
    lock = volume.Lock(path)
    try:
        connection = open_known(path, owner, now)
        try:
            if not is_due(connection, now):
                return False
            keep_totals(_totals(connection, now))
            (busy, *_) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            connection.close()
        if busy:
            return False
        live_copy.remove(path)
        for part in (path, wal.path_of(path)):  # in this order: without its log the file could be an older one
            part.unlink(missing_ok=True)
        sync_directory(path.parent)
        lock.remove()
    except FAILURES as exc:
        raise as_ledger_error(exc, path) from exc
    finally:
        lock.release()
    return True


def keep_totals(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Keep, in ours, what removed ledgers came to."""
    for row in rows:
        connection.execute(sql("removed_keep"), row)


@decoding()
def removed(connection: sqlite3.Connection) -> list[Row]:
    """Return what removed ledgers came to, those that were removed first first."""
    return [dict(row) for row in connection.execute(sql("removed_rows")).fetchall()]


def _totals(connection: sqlite3.Connection, now: datetime) -> list[Row]:
    meta = connection.execute(sql("meta")).fetchone()
    own: list[Row] = [
        {
            "ledger": meta["ledger"],
            "workload": meta["workload"],
            "dimension": one.dimension,
            "events": one.events,
            "accepted": plain(one.accepted),
            "settled": plain(one.settled),
            "written_off": plain(one.written_off),
            "over_billed": plain(one.over_billed),
            "removed_at": instant_text(now),
        }
        for one in balances(connection, {})
    ]
    return [*removed(connection), *own]
