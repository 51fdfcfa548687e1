"""Hand amounts over from one ledger to another, each exactly once.

Two files cannot commit together, so there are three steps, each safe to repeat after a crash: the old ledger freezes
what it gives away; ours takes each frozen amount once, by its number; the old one notes that.

Invariants:
- An amount that is frozen waits there until the one ledger that claimed it has it on disk.
- What ours took counts as accepted in ours, and no longer there.
- What was frozen so long ago that ours may have taken and forgotten it is not taken: it stays, named as claimed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sidecar.ledger.amounts import Totals, roll
from sidecar.ledger.decimals import read_amount
from sidecar.ledger.errors import LedgerError, decoding
from sidecar.ledger.opening import Owner, ledger_name
from sidecar.ledger.records import RETENTION
from sidecar.ledger.sealing import instant_text
from sidecar.ledger.statements import sql
from sidecar.ledger.transactions import transaction
from sidecar.metering.events import Tags
from sidecar.metering.push_group import tags_of, tags_text
from sidecar.metering.quantities import exact_difference, exact_sum, plain
from sidecar.metering.shares import Share
from sidecar.quick_dataclasses import dataclass

PROVABLE: Final = RETENTION - timedelta(days=1)
"""How long a ledger certainly remembers what it took."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """One amount of a dimension on its way from another ledger."""

    number: int
    dimension: str
    tags: Tags
    amount: Decimal
    from_hour: int
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Passed:
    """What became of the amounts that are frozen in one ledger."""

    taken: tuple[Transfer, ...]
    left: tuple[Transfer, ...]
    """Another ledger claimed them, ours could not keep them, or may have taken them long ago."""
    failure: LedgerError | None = None
    """Why ours could not."""


Take = Callable[[str, tuple[Transfer, ...]], None]
"""A function that puts amounts of a named ledger on disk in ours, each once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Successor:
    """Our ledger, which takes over what another one left, at one instant."""

    name: str
    """What names it in the other: one that is begun in its place has another name."""
    owner: Owner
    dimensions: Sequence[str]
    """What it can bill."""
    now: datetime
    take: Take


def freeze_amounts(
    connection: sqlite3.Connection,
    dimension: str,
    shares: Iterable[Share],
    from_hour: int,
    why: str,
    ours: str,
    now: datetime,
) -> None:
    """Do the first step, there, for amounts that are deleted elsewhere in this transaction; `ours` claims them."""
    for tags, share in shares:
        if share:
            values = {
                "tags": tags_text(tags),
                "amount": plain(share),
                "from_hour": from_hour,
                "why": why,
                "claimed_by": ours,
            }
            connection.execute(sql("handed_add"), {"dimension": dimension, "at": instant_text(now), **values})


def pass_on(connection: sqlite3.Connection, successor: Successor) -> Passed:
    """Do the second and third step for everything that is frozen there for the successor, of its dimensions."""
    frozen = connection.execute(sql("handed_waiting")).fetchall()
    since = instant_text(successor.now - PROVABLE)
    mine = [
        row
        for row in frozen
        if row["claimed_by"] == successor.name and row["dimension"] in successor.dimensions and row["frozen_at"] > since
    ]
    transfers, failure = tuple(map(_transfer, mine)), None
    if transfers:
        try:
            successor.take(ledger_name(connection), transfers)
        except LedgerError as exc:
            mine, transfers, failure = [], (), exc
        with transaction(connection):
            mark_taken(connection, mine, successor.name)
    left = tuple(_transfer(row) for row in frozen if row not in mine)
    return Passed(taken=transfers, left=left, failure=failure)


def take(connection: sqlite3.Connection, ledger: str, transfers: Iterable[Transfer], now: datetime) -> None:
    """Do the second step, in ours: have each amount wait for the next sealing, unless it was taken before."""
    for transfer in transfers:
        origin = f"{ledger}:{transfer.number}"
        if connection.execute(sql("rolled_known"), {"origin": origin}).fetchone()[0]:
            continue
        roll(
            connection,
            transfer.dimension,
            [(transfer.tags, transfer.amount)],
            from_hour=transfer.from_hour,
            origin=origin,
            why=transfer.why,
            now=now,
        )
        totals = Totals.of(connection, transfer.dimension)
        totals.accepted = exact_sum((totals.accepted, transfer.amount))
        totals.save(connection)


def mark_taken(connection: sqlite3.Connection, rows: Iterable[sqlite3.Row], taker: str) -> None:
    """Do the third step, there: what was taken no longer waits there, nor counts as accepted there."""
    for transfer in map(_transfer, rows):
        connection.execute(sql("handed_taken"), {"id": transfer.number, "taken_by": taker})
        totals = Totals.of(connection, transfer.dimension)
        totals.accepted = exact_difference(totals.accepted, transfer.amount)
        totals.save(connection)


@decoding()
def _transfer(row: sqlite3.Row) -> Transfer:
    return Transfer(
        number=row["id"],
        dimension=row["dimension"],
        tags=tags_of(row["tags"]),
        amount=read_amount(row["amount"]),
        from_hour=row["from_hour"],
        why=row["why"],
    )
