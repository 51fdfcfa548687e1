"""Count a group of pushes in one transaction.

`metering.push_group` judges them; here is what is known of ids and customers, and what is written.

Invariants:
- Ids come first: an id that another replica is just counting makes this transaction wait for the end of that one. Then
  it is a duplicate, or new where the other was rolled back.
- An hour is closed behind the pushes that have seen it open: pushes share the intake lock, closing takes it alone. So
  an event is in the hour before it is sealed, or in the next.
- Rows are written in one order everywhere (ids, buckets, keys, their counts, links, totals, each sorted): two pushes
  never wait for each other in a circle.

Sources: PostgreSQL 15, "INSERT" (ON CONFLICT waits for the transaction that holds the row), "Advisory Locks".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection, and_, bindparam, case, delete, or_, select, text, update

from sidecar.metering.events import PushRefused, UsageEvent
from sidecar.metering.hour_bounds import UNTAGGED
from sidecar.metering.hours import Hour
from sidecar.metering.push_group import (
    WHOLE,
    PreparedEvent,
    PushGroup,
    PushResult,
    hour_in,
    prepared,
)
from sidecar.metering.quantities import MICROS_PER_UNIT
from sidecar.saas import bounds
from sidecar.saas.bounds import Room
from sidecar.saas.instants import micros, tag_set
from sidecar.saas.leadership import SPACE
from sidecar.saas.tables import bucket, customer, event_id, late, pushed, service, unique_key
from sidecar.saas.upserts import added, insert, upsert
from sidecar.settings.dimensions import Aggregation, Dimension

IDS_KEPT: Final = timedelta(hours=25)
"""A day, and the hour an id came in."""
SHARED: Final = text("SELECT pg_advisory_xact_lock_shared(:space, hashtext(current_schema() || '/intake'))")
ALONE: Final = text("SELECT pg_advisory_xact_lock(:space, hashtext(current_schema() || '/intake'))")


class CustomerPush(NamedTuple):
    """One request, prepared in its own thread."""

    events: tuple[PreparedEvent, ...]
    """Their dimension is a series: the customer's number, a colon, the dimension."""


class Intake(NamedTuple):
    """From when a customer takes usage, and whether it still does."""

    open_from: int
    closed: bool


class Aggregations(dict[str, Aggregation]):
    """Series → aggregation."""

    def __init__(self, dimensions: Mapping[str, Dimension]) -> None:
        super().__init__()
        self._dimensions = dimensions

    def __missing__(self, series: str) -> Aggregation:
        found = self[series] = self._dimensions[series.partition(":")[2]].aggregation
        return found


def customer_push(events: Iterable[tuple[int, UsageEvent]], now: datetime) -> CustomerPush:
    """Return a request of events, each with its customer's number, that arrived at `now`."""
    at = micros(now)
    return CustomerPush(tuple(prepared(_of_series(number, one), at) for number, one in events))


def _of_series(number: int, one: UsageEvent) -> UsageEvent:
    identifier = None if one.id is None else f"{number}:{one.id}"
    return one._replace(dimension=f"{number}:{one.dimension}", id=identifier)


class CustomerGroup(PushGroup):
    """A group of requests, each event judged by its customer's hours."""

    def __init__(
        self,
        open_from: int,
        aggregations: Aggregations,
        known: dict[bytes, bytes],
        customers: Mapping[int, Intake],
        room: Room | None,
    ) -> None:
        """`room`: what the hours have room for, where each request must be judged by it."""
        super().__init__(open_from, aggregations, known)
        self._customers, self._room = customers, room

    def hour_of(self, event: PreparedEvent, index: int) -> int | PushRefused:
        """Return the hour a new event counts in, or why in none."""
        found = self._customers[int(event.dimension.partition(":")[0])]
        if found.closed:
            rule = "the customer's subscription has ended, and its last hours are sealed."
            return PushRefused(status=422, reason="customer_closed", detail=f"Event {index}: {rule}", index=index)
        open_from = max(self._open_from, found.open_from)
        return hour_in(event, index, open_from, self._aggregations[event.dimension])

    def without_room(
        self, events: Sequence[PreparedEvent], new: Sequence[tuple[int, PreparedEvent]]
    ) -> PushRefused | None:
        """Return why the new events of a request have no room."""
        return None if self._room is None else self._room.refusal(events, new)


def close_intake(connection: Connection) -> None:
    """Wait until every push that has begun is committed, and keep others waiting until this transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(ALONE, {"space": SPACE})


def count(
    connection: Connection,
    requests: Sequence[CustomerPush],
    aggregations: Aggregations,
    now: datetime,
    *,
    by_room: bool = False,
) -> list[PushResult]:
    """Judge a group and write what it adds; return one result for each request.

    Raises `bounds.TooMany`: then judge the group `by_room`, which refuses the requests that an hour has no room for.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(SHARED, {"space": SPACE})
    customers = _customers(connection, requests)
    open_from = int(connection.execute(select(service.c.open_from)).scalar_one())
    fresh, known = _keep_ids(connection, requests, Hour.at(now).number)
    room = Room(connection, aggregations) if by_room else None
    group = CustomerGroup(open_from, aggregations, known, customers, room)
    results = [group.add_events(one.events) for one in requests]
    _settle_ids(connection, fresh, group.entries, Hour.at(now).number)
    _write(connection, group, aggregations)
    return results


def _customers(connection: Connection, requests: Sequence[CustomerPush]) -> dict[int, Intake]:
    numbers = sorted({int(one.dimension.partition(":")[0]) for request in requests for one in request.events})
    columns = (customer.c.id, customer.c.open_from, customer.c.closed_at)
    rows = connection.execute(select(*columns).where(customer.c.id.in_(numbers)))
    return {number: Intake(open_from, closed_at is not None) for number, open_from, closed_at in rows}


def _keep_ids(
    connection: Connection, requests: Sequence[CustomerPush], hour: int
) -> tuple[dict[bytes, bytes], dict[bytes, bytes]]:
    """Insert every id; return those that are new, and those known before, each with its content."""
    asked: dict[bytes, bytes] = {}
    for entry in (one.entry for request in requests for one in request.events if one.entry is not None):
        asked.setdefault(entry[: WHOLE.id], entry[WHOLE.id :])
    if not asked:
        return {}, {}
    rows = [{"id": one, "content": asked[one], "hour": hour} for one in sorted(asked)]
    added = insert(connection, event_id).on_conflict_do_nothing().returning(event_id.c.id)
    fresh = {bytes(one): asked[bytes(one)] for one in connection.execute(added, rows).scalars()}
    before = sorted(asked.keys() - fresh.keys())
    if not before:
        return fresh, {}
    columns = (event_id.c.id, event_id.c.content)
    found = connection.execute(select(*columns).where(event_id.c.id.in_(before)))
    return fresh, {bytes(one): bytes(content) for one, content in found}


def _settle_ids(connection: Connection, fresh: Mapping[bytes, bytes], entries: Iterable[bytes], hour: int) -> None:
    """Take back the ids of requests that were refused."""
    counted = {entry[: WHOLE.id]: entry[WHOLE.id :] for entry in entries}
    wrong = sorted(one for one, content in fresh.items() if counted.get(one) != content)
    if not wrong:
        return
    connection.execute(delete(event_id).where(event_id.c.id.in_(wrong)))
    rows = [{"id": one, "content": counted[one], "hour": hour} for one in wrong if one in counted]
    if rows:
        connection.execute(insert(connection, event_id), rows)


def _write(connection: Connection, group: CustomerGroup, aggregations: Aggregations) -> None:
    if not group.buckets:
        return
    new = _write_buckets(connection, group, aggregations) + _write_keys(connection, group)
    bounds.count(connection, new)
    if group.late:
        rows = [
            {**_place(hour, series), "from_hour": origin, "events": n, "sum": total}
            for (hour, series, origin), (n, total) in sorted(group.late.items())
        ]
        upsert(connection, late, rows, added(late, ("events", "sum")))
    rows = [
        {**_series(series), "events": n, "units": total // MICROS_PER_UNIT, "micros": total % MICROS_PER_UNIT}
        for series, (n, total) in sorted(group.totals.items(), key=lambda item: _number(item[0]))
    ]
    upsert(connection, pushed, rows, added(pushed, ("events", "units", "micros")))


def _write_buckets(connection: Connection, group: CustomerGroup, aggregations: Aggregations) -> Counter[bounds.Slot]:
    """Write the sums; return how many tag sets are new."""
    rows = [_bucket_row(group, key, aggregations) for key in _in_order(group)]
    tagged = any(tags != UNTAGGED for _, _, tags in group.buckets)
    c = bucket.c
    wanted = (c.customer, c.dimension, c.hour, c.tag_set, c.events) if tagged else ()
    written = upsert(connection, bucket, rows, _joined, wanted)
    if group.arrived:
        connection.execute(_LAST, [_last_row(group, key) for key in sorted(group.arrived, key=_order)])
    return bounds.new_tag_sets(rows, map(tuple, written)) if tagged else Counter()


def _write_keys(connection: Connection, group: CustomerGroup) -> Counter[bounds.Slot]:
    """Write the keys; return how many are new."""
    if not group.keys:
        return Counter()
    rows = [{**_place(hour, series), "key": key} for hour, series, key in sorted(group.keys)]
    c = unique_key.c
    written = upsert(connection, unique_key, rows, returning=(c.customer, c.dimension, c.hour))
    return bounds.new_keys(map(tuple, written))


def _joined(new: Any) -> dict[str, Any]:
    old = bucket.c
    newer = new.last_at >= old.last_at
    return {
        "events": old.events + new.events,
        "sum": old.sum + new.sum,
        "max": case((new.max > old.max, new.max), else_=old.max),
        "last": case((newer, new.last), else_=old.last),
        "last_at": case((newer, new.last_at), else_=old.last_at),
    }


_LAST: Final = (
    update(bucket)
    .where(
        and_(
            bucket.c.customer == bindparam("c"),
            bucket.c.dimension == bindparam("d"),
            bucket.c.hour == bindparam("h"),
            bucket.c.aggregation == bindparam("a"),
            bucket.c.tag_set == bindparam("t"),
            or_(bucket.c.last != bindparam("value"), bucket.c.last_at != bindparam("at")),
        )
    )
    .values(last=bindparam("value"), last_at=bindparam("at"))
)
"""A value that does not say when it happened has arrived last, whatever the clock says."""

Key = tuple[int, str, str]
"""Hour, series, tags."""


def _order(key: Key) -> tuple[int, str, int, bytes]:
    hour, series, tags = key
    return (*_number(series), hour, tag_set(tags))


def _in_order(group: CustomerGroup) -> list[Key]:
    return sorted(group.buckets, key=_order)


def _number(series: str) -> tuple[int, str]:
    number, _, dimension = series.partition(":")
    return int(number), dimension


def _series(series: str) -> dict[str, object]:
    number, dimension = _number(series)
    return {"customer": number, "dimension": dimension}


def _place(hour: int, series: str) -> dict[str, object]:
    return {**_series(series), "hour": hour}


def _bucket_row(group: CustomerGroup, key: Key, aggregations: Aggregations) -> dict[str, object]:
    hour, series, tags = key
    events, added, largest, last, last_at = group.buckets[key]
    values = {"events": events, "sum": added, "max": largest, "last": last, "last_at": last_at}
    kind = aggregations[series].value
    return {**_place(hour, series), "aggregation": kind, "tag_set": tag_set(tags), "tags": tags, **values}


def _last_row(group: CustomerGroup, key: Key) -> dict[str, object]:
    hour, series, tags = key
    number, dimension = _number(series)
    *_, last, last_at = group.buckets[key]
    place = {"c": number, "d": dimension, "h": hour, "a": Aggregation.LAST.value, "t": tag_set(tags)}
    return {**place, "value": last, "at": last_at}
