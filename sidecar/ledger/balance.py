"""Add up what was accepted, what AWS settled and what waits, to the unit.

Invariants:
- accepted = settled + waiting for each dimension, at every instant, computed from the rows themselves.
- Settled is our quantity, also where a person accepted that AWS billed another one: what is written off or over-billed
  there is named beside it. AWS billed settled − written_off + over_billed.
- What was acknowledged in micros is counted a second time, apart from the buckets, and must agree.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

from sidecar.ledger.amounts import dimension_of, hours_of, open_amount, waiting_of
from sidecar.ledger.decimals import read_amount
from sidecar.ledger.errors import decoding
from sidecar.ledger.statements import sql
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import MICROS_PER_UNIT, ZERO, exact_difference, exact_sum, floor_to
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, field, replace
from sidecar.settings.dimensions import Dimension


@dataclass(frozen=True, kw_only=True, slots=True)
class Balance:
    """One dimension's totals since the ledger began. Amounts are scaled; open hours are in accepted and in waiting."""

    dimension: str
    accepted: Decimal
    settled: Decimal
    waiting: Decimal
    unsealed: Decimal
    """Of what waits, what is in no record yet, cut to the dimension's precision: less than that waits for more."""
    events: int
    pushed: int
    """Micros acknowledged, of sums."""
    counted: int
    """Micros that are in buckets or were sealed, of sums."""
    merged: int
    """Tag sets that were merged into the untagged share, ever."""
    written_off: Decimal = ZERO
    """Of what is settled, what AWS did not bill: a person accepted its smaller quantities."""
    over_billed: Decimal = ZERO
    """What AWS billed above what is settled: a person accepted its larger quantities."""

    @property
    def balanced(self) -> bool:
        """Whether nothing was lost and nothing counted twice."""
        return self.accepted == exact_sum((self.settled, self.waiting)) and self.pushed == self.counted


@dataclass(frozen=True, kw_only=True, slots=True)
class LedgerSummary:
    """What waits in the whole ledger, and how long."""

    open_from: Hour
    states: Mapping[State, int] = field(default_factory=dict)
    """Records by state; a state without any is missing."""
    oldest_unsettled: Hour | None = None
    last_settled_at: datetime | None = None
    """Of the records that are still kept."""
    ever_settled: bool = False
    """Whether AWS ever took a record of this ledger, however long ago."""
    rolled: int = 0
    """Amounts that wait to be counted in a later hour."""
    bytes: int = 0
    """Size of the file and its log."""


def balances(connection: sqlite3.Connection, configured: Mapping[str, Dimension]) -> tuple[Balance, ...]:
    """Return the balance of every dimension that was ever counted; one that is not configured counts as it did last."""
    found = differences(connection)
    nothing = (ZERO, ZERO)
    return tuple(
        replace(one, written_off=found.get(one.dimension, nothing)[0], over_billed=found.get(one.dimension, nothing)[1])
        for one in totals(connection, configured)
    )


@decoding()
def differences(connection: sqlite3.Connection) -> dict[str, tuple[Decimal, Decimal]]:
    """Return what was written off and what was over-billed, by dimension, where a person accepted AWS's quantities."""
    found: dict[str, tuple[Decimal, Decimal]] = {}
    for name, sealed, billed in connection.execute(sql("accepted_aws")).fetchall():
        more = exact_difference(read_amount(sealed), read_amount(billed))
        written_off, over_billed = found.get(name, (ZERO, ZERO))
        found[name] = (
            exact_sum((written_off, max(more, ZERO))),
            exact_sum((over_billed, max(-more, ZERO))),
        )
    return found


@decoding()
def totals(connection: sqlite3.Connection, configured: Mapping[str, Dimension]) -> tuple[Balance, ...]:
    """Return the same without differences, of which a schema before the fourth knows none."""
    return tuple(_balance(connection, row, configured) for row in connection.execute(sql("lifetimes")).fetchall())


def _balance(connection: sqlite3.Connection, row: sqlite3.Row, configured: Mapping[str, Dimension]) -> Balance:
    name = row["dimension"]
    dimension = configured.get(name) or dimension_of(row)
    where = {"dimension": name}
    open_sum = exact_sum(open_amount(connection, dimension, hour) for hour in hours_of(connection, name))
    amounts = [read_amount(one) for (one,) in connection.execute(sql("amounts_waiting"), where)]
    unsealed = _unsealed(connection, name, exact_sum((open_sum, read_amount(row["carry"]))))
    sums = connection.execute(sql("bucket_sums"), where)
    return Balance(
        dimension=name,
        accepted=exact_sum((read_amount(row["accepted"]), open_sum)),
        settled=read_amount(row["settled"]),
        waiting=exact_sum((unsealed, *amounts)),
        unsealed=floor_to(unsealed, dimension.decimals),
        events=row["events"],
        pushed=row["pushed_units"] * MICROS_PER_UNIT + row["pushed_micros"],
        counted=int(row["sealed"]) + sum(one for (one,) in sums),
        merged=row["merged"],
    )


def _unsealed(connection: sqlite3.Connection, dimension: str, used: Decimal) -> Decimal:
    """Return what the next sealing would add up: what is used and carried, and what waits to be counted later."""
    return exact_sum((used, *(share for _, share in waiting_of(connection, dimension))))


@decoding()
def summary(connection: sqlite3.Connection, size: int) -> LedgerSummary:
    """Return what status, metrics and readiness show; `size` in bytes."""
    one = {name: connection.execute(sql(name)).fetchone()[0] for name in ("oldest_unsettled", "last_settled")}
    return LedgerSummary(
        open_from=Hour.numbered(connection.execute(sql("meta")).fetchone()["open_from"]),
        states={State(state): count for state, count in connection.execute(sql("states_count")).fetchall()},
        oldest_unsettled=None if one["oldest_unsettled"] is None else Hour.numbered(one["oldest_unsettled"]),
        last_settled_at=one["last_settled"] and datetime.fromisoformat(one["last_settled"]),
        ever_settled=bool(connection.execute(sql("ever_settled")).fetchone()[0]) or bool(one["last_settled"]),
        rolled=connection.execute(sql("rolled_count")).fetchone()[0],
        bytes=size,
    )
