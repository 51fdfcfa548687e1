"""Add up what each customer used, what AWS settled and what waits, to the unit.

Invariants:
- accepted = settled + waiting for each customer and dimension, at every instant, computed from the rows themselves.
- What was acknowledged in micros is counted a second time, apart from the buckets, and must agree.
- What is added up is one snapshot: a push or a sealing is in all of it or in none.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from sqlalchemy import Connection, func, select

from sidecar.metering.hours import Hour
from sidecar.metering.push_group import tags_of
from sidecar.metering.quantities import MICROS_PER_UNIT, ZERO, Micros, exact_sum
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Bucket
from sidecar.metering.shares import amount_of
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, field
from sidecar.saas.customers import CustomerKey, CustomerState
from sidecar.saas.instants import maybe_instant
from sidecar.saas.record_rows import FINAL
from sidecar.saas.records import CustomerBalance, CustomerRecord
from sidecar.saas.sealing import Slot
from sidecar.saas.store import StoreSummary
from sidecar.saas.tables import bucket, customer, pushed, rolled, service, total, unique_key, usage_record
from sidecar.settings.dimensions import Aggregation, Dimension


@dataclass(kw_only=True, slots=True)
class _Sums:
    """One slot's amounts while they are added up."""

    accepted: list[Decimal] = field(default_factory=list)
    settled: Decimal = ZERO
    waiting: list[Decimal] = field(default_factory=list)
    events: int = 0
    pushed: int = 0
    counted: int = 0


def balances(connection: Connection, dimensions: Mapping[str, Dimension]) -> tuple[CustomerBalance, ...]:
    """Return the balance of every customer and dimension that was ever counted, in the order they came."""
    sums: dict[Slot, _Sums] = {}
    for row in connection.execute(select(pushed)):
        one = sums.setdefault((row.customer, row.dimension), _Sums())
        one.events, one.pushed = int(row.events), int(row.units) * MICROS_PER_UNIT + int(row.micros)
    for row in connection.execute(select(total)):
        one = sums.setdefault((row.customer, row.dimension), _Sums())
        one.accepted.append(Decimal(row.accepted))
        one.waiting.append(Decimal(row.carry))
        one.settled, one.counted = Decimal(row.settled), int(row.sealed)
    for slot, _, amount, micros in _open(connection, dimensions):
        one = sums.setdefault(slot, _Sums())
        one.accepted.append(amount)
        one.waiting.append(amount)
        one.counted += micros
    for slot, waits in _waiting(connection):
        sums.setdefault(slot, _Sums()).waiting.append(waits)
    keys = _keys(connection)
    return tuple(_balance(keys[number], name, sums[number, name]) for number, name in sorted(sums))


def _balance(key: CustomerKey, dimension: str, sums: _Sums) -> CustomerBalance:
    accepted, waiting = exact_sum(sums.accepted), exact_sum(sums.waiting)
    return CustomerBalance(
        customer=key,
        dimension=dimension,
        accepted=accepted,
        settled=sums.settled,
        waiting=waiting,
        events=sums.events,
        balanced=accepted == exact_sum((sums.settled, waiting)) and sums.pushed == sums.counted,
    )


def _keys(connection: Connection) -> dict[int, CustomerKey]:
    rows = connection.execute(select(customer.c.id, customer.c.key))
    return {number: CustomerKey.of_text(text) for number, text in rows}


def _open(connection: Connection, dimensions: Mapping[str, Dimension]) -> list[tuple[Slot, int, Decimal, int]]:
    """Return slot, hour, amount and micros of sums, for each hour that is not sealed."""
    scales = {(row.customer, row.dimension): row for row in connection.execute(select(total))}
    u, b = unique_key.c, bucket.c
    counted = select(u.customer, u.dimension, u.hour, func.count()).group_by(u.customer, u.dimension, u.hour)
    keys = {(number, name, hour): int(n) for number, name, hour, n in connection.execute(counted)}
    groups: dict[tuple[int, str, int, Aggregation], list[Bucket]] = {}
    columns = (b.customer, b.dimension, b.hour, b.aggregation, b.tags, b.sum, b.max, b.last)
    for row in connection.execute(select(*columns)):
        unique = keys.get((row.customer, row.dimension, row.hour), 0)
        one = Bucket(
            tags=tags_of(row.tags),
            sum=int(row.sum),
            max=Micros(int(row.max)),
            last=Micros(int(row.last)),
            unique=unique,
        )
        groups.setdefault((row.customer, row.dimension, row.hour, Aggregation(row.aggregation)), []).append(one)
    found = []
    for (number, name, hour, kind), buckets in sorted(groups.items(), key=lambda item: item[0][:3]):
        kept = scales.get((number, name))
        scale, decimals = (Decimal(kept.scale), kept.decimals) if kept else (Decimal(1), 0)
        known = dimensions.get(name)
        scale, decimals = (known.scale, known.decimals) if known else (scale, decimals)
        as_counted = Dimension(name=name, aggregation=kind, scale=scale, decimals=decimals)
        found.append(((number, name), hour, amount_of(as_counted, buckets), sum(one.sum for one in buckets)))
    return found


def _waiting(connection: Connection) -> list[tuple[Slot, Decimal]]:
    """Return what waits in records, and what waits to be counted later."""
    r, w = usage_record.c, rolled.c
    final = [state.value for state in FINAL]
    records = connection.execute(select(r.customer, r.dimension, r.quantity).where(r.state.not_in(final)))
    later = connection.execute(select(w.customer, w.dimension, w.amount).where(w.into_hour.is_(None)))
    return [((number, name), Decimal(amount)) for rows in (records, later) for number, name, amount in rows]


def open_records(connection: Connection, dimensions: Mapping[str, Dimension]) -> tuple[CustomerRecord, ...]:
    """Return what the hours that are not sealed come to so far, without what is carried; newest first."""
    keys = _keys(connection)
    found = [
        CustomerRecord(
            customer=keys[number],
            region="",
            usage=UsageRecord(hour=Hour.numbered(hour), dimension=name, state=State.OPEN, quantity=amount),
        )
        for (number, name), hour, amount, _ in _open(connection, dimensions)
    ]
    return tuple(sorted(found, key=lambda one: one.usage.hour, reverse=True))


def summary(connection: Connection, leading: bool) -> StoreSummary:
    """Return what status and metrics show."""
    r = usage_record.c
    states = connection.execute(select(r.state, func.count()).group_by(r.state))
    final = [state.value for state in FINAL]
    oldest = connection.execute(select(func.min(r.hour)).where(r.state.not_in(final))).scalar()
    settled = connection.execute(select(func.max(r.changed_at)).where(r.state == State.SETTLED.value)).scalar()
    customers = connection.execute(select(customer.c.state, func.count()).group_by(customer.c.state))
    return StoreSummary(
        open_from=Hour.numbered(connection.execute(select(service.c.open_from)).scalar_one()),
        states={State(state): n for state, n in states},
        customers={CustomerState(state): n for state, n in customers},
        oldest_unsettled=None if oldest is None else Hour.numbered(oldest),
        last_settled_at=maybe_instant(settled),
        leading=leading,
    )
