"""Decide which ledger may bill transferred usage when the ledger that claimed it never confirmed.

A claim outlives its ledger's process: it may have died before it took the amounts, or before it noted that it had.

Invariants:
- A claim moves only while the locks of both ledgers are held, the giver's and the claimer's: then the claimer is dead
  and its file can be read.
- What it took is marked as taken; what it certainly did not take may be taken by another. In doubt the claim stays: its
  ledger is in use, gone or unreadable, or so old that it may have deleted what it knew.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

from sidecar.ledger import volume
from sidecar.ledger.errors import FAILURES, LedgerError
from sidecar.ledger.handover import PROVABLE, Successor
from sidecar.ledger.opening import ledger_name, open_known
from sidecar.ledger.sealing import instant_text
from sidecar.ledger.statements import sql
from sidecar.ledger.transactions import transaction

Mark = Callable[[list[sqlite3.Row], str], None]
"""A function that marks amounts as taken by a named ledger."""


def settle(connection: sqlite3.Connection, path: Path, successor: Successor, mark: Mark) -> None:
    """Settle the claims of ledgers that are not in use on what the one at `path` gave away; its lock is held.

    Claims move to the successor only for its dimensions: those of others are left to a ledger that can bill them.
    """
    if not _claims(connection, successor.name):
        return
    for other in volume.other_ledgers(path):
        try:
            lock = volume.Lock(other)
        except LedgerError:
            continue
        try:
            claimer = open_known(other, successor.owner, successor.now)
            try:
                _settle(connection, claimer, successor, mark)
            finally:
                claimer.close()
        except (LedgerError, *FAILURES):
            continue  # what it took cannot be read
        finally:
            lock.release()


def _claims(connection: sqlite3.Connection, ours: str) -> list[sqlite3.Row]:
    rows = connection.execute(sql("handed_waiting")).fetchall()
    return [row for row in rows if row["claimed_by"] != ours]


def _settle(connection: sqlite3.Connection, claimer: sqlite3.Connection, successor: Successor, mark: Mark) -> None:
    giver, name = ledger_name(connection), ledger_name(claimer)
    claims = [row for row in _claims(connection, successor.name) if row["claimed_by"] == name]
    taken = [row for row in claims if _count(claimer, "rolled_known", origin=f"{giver}:{row['id']}")]
    since = instant_text(successor.now - PROVABLE)
    moves = [
        row
        for row in claims
        if row not in taken
        and row["dimension"] in successor.dimensions
        and row["frozen_at"] > since
        and not _count(claimer, "handed_like", **_content(row))
    ]
    with transaction(connection):
        mark(taken, name)
        for row in moves:
            connection.execute(sql("handed_claim"), {"id": row["id"], "claimed_by": successor.name})


def _count(connection: sqlite3.Connection, statement: str, **values: object) -> int:
    return int(connection.execute(sql(statement), values).fetchone()[0])


def _content(row: sqlite3.Row) -> dict[str, object]:
    return {name: row[name] for name in ("dimension", "tags", "amount", "from_hour")}
