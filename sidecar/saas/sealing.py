"""Seal closed hours: write records, requests, what is carried and what was counted, page by page.

Invariants:
- An hour is closed first, for all customers and for good; only then is it sealed. Sealing takes as long as it takes,
  and goes on where a crash ended it: a bucket is deleted by the transaction that writes its record.
- A page is one transaction of the leader. The request is committed before it can be sent.
- A record is never made twice: what comes later for its hour (a quantity rolled forward) goes into the next.
- Usage counted under another aggregation than the dimension has now is added as what it came to.
- Usage of a dimension that is not configured stays where it is.
- The last record of a customer takes the sums of later hours with it (events may be five minutes ahead). Those hours
  are open, and the customer may subscribe again meanwhile: so buckets are read by the statement that deletes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Final

from sqlalchemy import Connection, and_, delete, exists, func, select, tuple_, update

from sidecar.metering.hours import Hour
from sidecar.metering.push_group import tags_of
from sidecar.metering.quantities import ZERO, Micros, exact_sum, plain
from sidecar.metering.rollup import Bucket, Owed, makes_a_record, roll_up
from sidecar.metering.shares import Share, amount_of, shares_of
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, replace
from sidecar.saas import bounds, customer_rows
from sidecar.saas.instants import maybe_micros, micros
from sidecar.saas.pushes import close_intake
from sidecar.saas.records import CustomerRecord
from sidecar.saas.store import MakeRecord
from sidecar.saas.tables import bucket, customer, request, rolled, service, total, unique_key, usage_record
from sidecar.saas.upserts import insert
from sidecar.settings.dimensions import Aggregation, Dimension

PAGE: Final = 200
"""Customers and dimensions sealed in one transaction."""

Slot = tuple[int, str]
"""A customer's number and a dimension."""


@dataclass(kw_only=True, slots=True)
class Totals:
    """One slot's totals for ever, while a transaction changes them."""

    sealed: int = 0
    accepted: Decimal = ZERO
    settled: Decimal = ZERO
    carry: Decimal = ZERO
    merged: int = 0


@dataclass(frozen=True, kw_only=True)
class Page:
    """What one transaction seals."""

    hour: Hour
    slots: Sequence[Slot]
    last: bool
    """Later hours are taken along: the customer ends."""


def begin(connection: Connection, now: datetime) -> None:
    """Open the running hour, where this database has none yet."""
    row = {
        "one": 1,
        "open_from": Hour.at(now).number,
        "epoch": 0,
        "leader": "",
        "led_since": 0,
        "opened_at": micros(now),
    }
    connection.execute(insert(connection, service).on_conflict_do_nothing(), row)


def close(connection: Connection, hour: Hour) -> None:
    """Close every hour up to `hour`: from the commit on, no event counts in it."""
    close_intake(connection)
    connection.execute(update(service).where(service.c.open_from <= hour.number).values(open_from=hour.number + 1))


def open_from(connection: Connection, number: int) -> Hour:
    """Return the first hour in which a customer's usage counts."""
    own = connection.execute(select(customer.c.open_from).where(customer.c.id == number)).scalar_one()
    return Hour.numbered(max(own, connection.execute(select(service.c.open_from)).scalar_one()))


def hours_with_usage(connection: Connection, hour: Hour, number: int | None = None) -> list[Hour]:
    """Return the hours up to `hour` that have unsealed usage, oldest first; of one customer, or of all."""
    query = select(bucket.c.hour).distinct().where(bucket.c.hour <= hour.number)
    if number is not None:
        query = query.where(bucket.c.customer == number)
    return [Hour.numbered(one) for one in sorted(connection.execute(query).scalars())]


def slots(
    connection: Connection, hour: Hour, dimensions: Mapping[str, Dimension], *, newest: bool, number: int | None = None
) -> list[Slot]:
    """Return what may owe a record for an hour and has none, in order.

    In the `newest` hour that is also what waits to be counted later, what is carried and what reports zero.
    """
    found: set[Slot] = _distinct(connection, bucket, bucket.c.hour == hour.number)
    if newest:
        found |= _distinct(connection, rolled, rolled.c.into_hour.is_(None))
        found |= _distinct(connection, total, total.c.more)
        names = [one.name for one in dimensions.values() if one.report_zero]
        if names:
            active = connection.execute(select(customer.c.id).where(customer.c.closed_at.is_(None))).scalars()
            found |= {(one, name) for one in active for name in names}
    done = _distinct(connection, usage_record, usage_record.c.hour == hour.number)
    return sorted(slot for slot in found - done if slot[1] in dimensions and (number is None or slot[0] == number))


def _distinct(connection: Connection, table, where) -> set[Slot]:  # type: ignore[no-untyped-def]
    query = select(table.c.customer, table.c.dimension).distinct().where(where)
    return {(number, dimension) for number, dimension in connection.execute(query)}


def seal_page(
    connection: Connection, page: Page, dimensions: Mapping[str, Dimension], make: MakeRecord, now: datetime
) -> list[CustomerRecord]:
    """Seal the slots of one page for an hour that is closed; return the new records."""
    numbers = sorted({number for number, _ in page.slots})
    rows = connection.execute(select(customer).where(customer.c.id.in_(numbers)))
    customers = {row.id: customer_rows.customer_of(row) for row in rows}
    totals = totals_of(connection, page.slots)
    buckets = _take_buckets(connection, page, numbers)
    waiting = _waiting(connection, numbers)
    records = []
    for slot in page.slots:
        dimension = dimensions[slot[1]]
        owed = _seal_one(dimension, page, buckets.get(slot, {}), totals[slot], waiting.get(slot, ()))
        if makes_a_record(dimension, owed):
            record = make(customers[slot[0]], dimension, page.hour, owed)
            if record.usage.state is not State.SEALED or Decimal(record.request.quantity) != owed.quantity:
                raise ValueError(f"{record.name} is not the sealed record of what is owed.")
            records.append((slot[0], record))
    _delete_keys(connection, page)
    _count_in(connection, page)
    save_totals(connection, {slot: totals[slot] for slot in page.slots}, dimensions)
    freeze(connection, records, now)
    _add(connection, records, now)
    return [record for _, record in records]


Groups = dict[tuple[int, Aggregation], list[Bucket]]
"""Hour and aggregation → buckets."""


def _seal_one(dimension: Dimension, page: Page, groups: Groups, totals: Totals, waiting: Iterable[Share]) -> Owed:
    """Return what a slot owes, and move its totals on."""
    own = sorted(groups.get((page.hour.number, dimension.aggregation), []), key=lambda one: one.tags)
    rest = {key: found for key, found in groups.items() if key != (page.hour.number, dimension.aggregation)}
    others: list[Share] = []
    for (_, kind), found in sorted(rest.items(), key=lambda item: (item[0][0], item[0][1].value)):
        as_counted = replace(dimension, aggregation=kind)
        others += shares_of(as_counted, found)
        totals.accepted = exact_sum((totals.accepted, amount_of(as_counted, found)))
    owed = roll_up(dimension, own, totals.carry, (*waiting, *others))
    totals.accepted = exact_sum((totals.accepted, amount_of(dimension, own)))
    totals.sealed += sum(one.sum for found in groups.values() for one in found)
    totals.carry = owed.carry
    totals.merged += owed.merged
    return owed


def _within(page: Page, table):  # type: ignore[no-untyped-def]
    """Return the rows of an hour that a page seals; of a last page, those of later hours of sums too."""
    sums = and_(table.c.hour > page.hour.number, table.c.aggregation == Aggregation.SUM.value) if page.last else None
    here = table.c.hour == page.hour.number
    slot = tuple_(table.c.customer, table.c.dimension).in_(list(page.slots))
    return and_(slot, here if sums is None else here | sums)


def _take_buckets(connection: Connection, page: Page, numbers: Sequence[int]) -> dict[Slot, Groups]:
    """Delete the buckets of a page; return them with the keys that were counted."""
    b, u = bucket.c, unique_key.c
    query = select(u.customer, u.dimension, func.count()).group_by(u.customer, u.dimension)
    here = query.where(u.hour == page.hour.number, u.customer.in_(numbers))
    keys = {(number, dimension): int(n) for number, dimension, n in connection.execute(here)}
    found: dict[Slot, Groups] = {}
    columns = (b.customer, b.dimension, b.hour, b.aggregation, b.tags, b.sum, b.max, b.last)
    for row in connection.execute(delete(bucket).where(_within(page, bucket)).returning(*columns)):
        slot = (row.customer, row.dimension)
        one = Bucket(
            tags=tags_of(row.tags),
            sum=int(row.sum),
            max=Micros(int(row.max)),
            last=Micros(int(row.last)),
            unique=keys.get(slot, 0),
        )
        found.setdefault(slot, {}).setdefault((row.hour, Aggregation(row.aggregation)), []).append(one)
    return found


def _waiting(connection: Connection, numbers: Sequence[int]) -> dict[Slot, list[Share]]:
    r = rolled.c
    query = select(r.customer, r.dimension, r.tags, r.amount).where(r.into_hour.is_(None), r.customer.in_(numbers))
    found: dict[Slot, list[Share]] = {}
    for row in connection.execute(query.order_by(r.id)):
        found.setdefault((row.customer, row.dimension), []).append((tags_of(row.tags), Decimal(row.amount)))
    return found


def totals_of(connection: Connection, wanted: Sequence[Slot]) -> dict[Slot, Totals]:
    """Return the totals of these slots, locked until the transaction ends; zeros for one without."""
    query = select(total).where(tuple_(total.c.customer, total.c.dimension).in_(list(wanted)))
    found = {
        (row.customer, row.dimension): Totals(
            sealed=int(row.sealed),
            accepted=Decimal(row.accepted),
            settled=Decimal(row.settled),
            carry=Decimal(row.carry),
            merged=row.merged,
        )
        for row in connection.execute(query.order_by(total.c.customer, total.c.dimension).with_for_update())
    }
    return {slot: found.get(slot) or Totals() for slot in wanted}


def save_totals(connection: Connection, totals: Mapping[Slot, Totals], dimensions: Mapping[str, Dimension]) -> None:
    """Write totals back; those of dimensions that are not configured keep scale and precision."""
    rows = []
    for (number, name), one in sorted(totals.items()):
        dimension = dimensions.get(name)
        decimals = dimension.decimals if dimension else 0
        values = {"sealed": str(one.sealed), "accepted": plain(one.accepted), "settled": plain(one.settled)}
        carried = {"carry": plain(one.carry), "more": one.carry >= Decimal(1).scaleb(-decimals), "merged": one.merged}
        counted = {"scale": plain(dimension.scale) if dimension else "1", "decimals": decimals}
        rows.append({"customer": number, "dimension": name, **values, **carried, **counted})
    if not rows:
        return
    statement = insert(connection, total)
    kept = {"customer", "dimension"} | (
        set() if all(name in dimensions for _, name in totals) else {"scale", "decimals"}
    )
    new = {column.name: statement.excluded[column.name] for column in total.columns if column.name not in kept}
    connection.execute(statement.on_conflict_do_update(index_elements=list(total.primary_key), set_=new), rows)


def _delete_keys(connection: Connection, page: Page) -> None:
    slot = tuple_(unique_key.c.customer, unique_key.c.dimension).in_(list(page.slots))
    connection.execute(delete(unique_key).where(slot, unique_key.c.hour == page.hour.number))
    bounds.forget(connection, page.hour.number, page.slots, later=page.last)


def _count_in(connection: Connection, page: Page) -> None:
    slot = tuple_(rolled.c.customer, rolled.c.dimension).in_(list(page.slots))
    here = and_(slot, rolled.c.into_hour.is_(None))
    connection.execute(update(rolled).where(here).values(into_hour=page.hour.number))


def freeze(connection: Connection, records: Iterable[tuple[int, CustomerRecord]], now: datetime) -> None:
    """Write the requests of records, which are never changed afterwards."""
    rows = [
        {
            "client_token": record.request.client_token,
            "customer": number,
            "dimension": record.usage.dimension,
            "hour": record.usage.hour.number,
            "body": record.frozen(),
            "digest": record.digest,
            "sealed_at": micros(now),
        }
        for number, record in records
    ]
    if rows:
        connection.execute(insert(connection, request), rows)


def _add(connection: Connection, records: Iterable[tuple[int, CustomerRecord]], now: datetime) -> None:
    rows = [
        {
            "customer": number,
            "dimension": record.usage.dimension,
            "hour": record.usage.hour.number,
            "state": record.usage.state.value,
            "quantity": plain(record.usage.quantity),
            "client_token": record.request.client_token,
            "attempts": 0,
            "definite": True,
            "retry_at": maybe_micros(record.usage.retry_at),
            "repairs": "",
            "sealed_at": micros(now),
            "changed_at": micros(now),
        }
        for number, record in records
    ]
    if rows:
        connection.execute(insert(connection, usage_record), rows)


def unsealed(connection: Connection) -> bool:
    """Return whether a closed hour has usage that is not sealed."""
    closed = select(service.c.open_from).scalar_subquery()
    return bool(connection.execute(select(exists().where(bucket.c.hour < closed))).scalar())
