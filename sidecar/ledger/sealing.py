"""Seal an hour: write its records, their requests, what is carried and the first open hour, all at once.

Invariants:
- One transaction for everything that has closed: a push comes before all of it or after it, and after a crash the hours
  are open as before, or sealed whole. Sealing them again does nothing.
- The request is on disk before it can be sent.
- What an hour is billed from is compared with what was written, before it is added up.
- Hours are sealed in order. A dimension that cannot be read stays unsealed and is reported; the others are sealed.
- Usage of a dimension that was not configured for a while, or whose aggregation changed, is rolled forward as what it
  came to.
- The last record of a workload takes the sums of later hours with it (events may be five minutes ahead of the
  clock): no later record reports those hours, and AWS takes nothing from the future. A largest, last or unique value of
  a later hour cannot be added, and stays.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from sidecar.errors import DATA_ERRORS
from sidecar.ledger.amounts import (
    Totals,
    buckets_of,
    check_rows,
    delete_buckets,
    dimensions_known,
    hours_of,
    roll,
    waiting_of,
)
from sidecar.ledger.errors import decoding
from sidecar.ledger.statements import sql
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import exact_sum, plain
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Owed, makes_a_record, roll_up
from sidecar.metering.shares import amount_of, shares_of
from sidecar.metering.states import State
from sidecar.settings.dimensions import Aggregation, Dimension


class Skipped(NamedTuple):
    """A dimension whose usage was not sealed with an hour, and the error it made."""

    dimension: str
    hour: Hour
    error: Exception


class SealResult(NamedTuple):
    """What one sealing did."""

    records: tuple[UsageRecord, ...]
    skipped: tuple[Skipped, ...]

    def unpack(self, skipped: list[Skipped] | None) -> tuple[UsageRecord, ...]:
        """Add what was skipped to a list, where there is one, and return the records."""
        if skipped is not None:
            skipped += self.skipped
        return self.records


MakeRecord = Callable[[Dimension, Hour, Owed], UsageRecord]
"""A function that makes the sealed record, with its request and the time it is due."""


def configure(connection: sqlite3.Connection, dimensions: Iterable[Dimension], now: datetime) -> None:
    """Add or change the dimensions; usage under another aggregation is rolled forward as what it came to."""
    known = dimensions_known(connection)
    for dimension in dimensions:
        before = known.get(dimension.name)
        if before and before.aggregation is not dimension.aggregation:
            roll_open_usage_forward(connection, before, hours_of(connection, before.name), "aggregation_changed", now)
        values = {
            "dimension": dimension.name,
            "aggregation": dimension.aggregation.value,
            "scale": plain(dimension.scale),
            "decimals": dimension.decimals,
        }
        connection.execute(sql("lifetime_configure"), values)


def roll_open_usage_forward(
    connection: sqlite3.Connection, dimension: Dimension, hours: Iterable[int], why: str, now: datetime
) -> None:
    """Turn the open buckets of some hours into amounts that wait for the next sealing."""
    totals = Totals.of(connection, dimension.name)
    for hour in hours:
        buckets = buckets_of(connection, dimension.name, hour)
        shares = shares_of(dimension, buckets)
        origin = os.urandom(16).hex()
        roll(connection, dimension.name, shares, from_hour=hour, origin=origin, why=why, now=now)
        totals.sealed += sum(bucket.sum for bucket in buckets)
        totals.accepted = exact_sum((totals.accepted, amount_of(dimension, buckets)))
        delete_buckets(connection, dimension.name, hour)
    totals.save(connection)


@decoding()
def open_from(connection: sqlite3.Connection) -> Hour:
    """Return the first hour that is not sealed."""
    return Hour.numbered(connection.execute(sql("meta")).fetchone()["open_from"])


@decoding()
def open_hours(connection: sqlite3.Connection) -> tuple[Hour, ...]:
    """Return the hours that hold usage which is not sealed, oldest first."""
    return tuple(Hour.numbered(hour) for (hour,) in connection.execute(sql("hours_open")).fetchall())


def seal(
    connection: sqlite3.Connection,
    hour: Hour,
    now: datetime,
    dimensions: Iterable[Dimension],
    make: MakeRecord,
    *,
    also: Iterable[Hour] = (),
    skip: bool = False,
) -> SealResult:
    """Seal `hour` and every earlier open hour that has usage or is in `also`, oldest first, for every dimension.

    No records for hours that are sealed already. With `skip`, a dimension whose usage cannot be digested keeps that
    usage and is named; else its error is raised, and nothing is sealed.
    """
    skipped: list[Skipped] | None = [] if skip else None
    check_rows(connection)
    dimensions = tuple(dimensions)
    first = open_from(connection)
    wanted = {hour, *open_hours(connection), *also}
    sealed = [
        record
        for one in sorted(wanted)
        if first <= one <= hour
        for record in _seal_hour(connection, one, now, dimensions, make, skipped)
    ]
    return SealResult(tuple(sealed), tuple(skipped or ()))


def seal_last(
    connection: sqlite3.Connection,
    hour: Hour,
    now: datetime,
    dimensions: Sequence[Dimension],
    make: MakeRecord,
    *,
    also: Iterable[Hour] = (),
    skip: bool = False,
) -> SealResult:
    """Seal the hour a workload ends in, as `seal` does, with the sums of later hours in it.

    Where the hour is sealed already, later hours stay as they are.
    """
    if hour < open_from(connection):
        return SealResult((), ())
    skipped: list[Skipped] | None = [] if skip else None
    earlier = seal(connection, hour.previous, now, dimensions, make, also=also, skip=skip)
    for dimension in dimensions:
        if dimension.aggregation is Aggregation.SUM:
            with _digesting(connection, dimension, hour, skipped):
                later = [number for number in hours_of(connection, dimension.name) if number > hour.number]
                roll_open_usage_forward(connection, dimension, later, "workload_ended", now)
    last = seal(connection, hour, now, dimensions, make, skip=skip)
    return SealResult(earlier.records + last.records, (*earlier.skipped, *(skipped or ()), *last.skipped))


def _seal_hour(
    connection: sqlite3.Connection,
    hour: Hour,
    now: datetime,
    dimensions: Iterable[Dimension],
    make: MakeRecord,
    skipped: list[Skipped] | None,
) -> list[UsageRecord]:
    first = open_from(connection).number
    records = []
    for dimension in dimensions:
        with _digesting(connection, dimension, hour, skipped):
            earlier = [number for number in hours_of(connection, dimension.name) if number < hour.number]
            roll_open_usage_forward(connection, dimension, earlier, "dimension_absent", now)
            record = _seal_one(connection, hour, now, dimension, make, first)
            if record:
                records.append(record)
    connection.execute(sql("open_from_move"), {"hour": hour.number + 1})
    return records


@contextmanager
def _digesting(
    connection: sqlite3.Connection, dimension: Dimension, hour: Hour, skipped: list[Skipped] | None
) -> Iterator[None]:
    """Do what the block does for one dimension, or nothing of it where its usage cannot be digested."""
    connection.execute("SAVEPOINT dimension")
    try:
        yield
    except (*DATA_ERRORS, sqlite3.IntegrityError) as exc:
        if skipped is None:
            raise
        connection.execute("ROLLBACK TO dimension")
        skipped.append(Skipped(dimension.name, hour, exc))
    connection.execute("RELEASE dimension")


def _seal_one(
    connection: sqlite3.Connection, hour: Hour, now: datetime, dimension: Dimension, make: MakeRecord, first: int
) -> UsageRecord | None:
    key = {"hour": hour.number, "dimension": dimension.name}
    buckets = buckets_of(connection, dimension.name, hour.number)
    totals = Totals.of(connection, dimension.name)
    owed = roll_up(dimension, buckets, totals.carry, waiting_of(connection, dimension.name))
    totals.sealed += sum(bucket.sum for bucket in buckets)
    totals.accepted = exact_sum((totals.accepted, amount_of(dimension, buckets)))
    totals.carry = owed.carry
    totals.merged += owed.merged
    totals.save(connection)
    delete_buckets(connection, dimension.name, hour.number)
    connection.execute(sql("rolled_count_in"), key)
    connection.execute(sql("origins_link"), {**key, "open_from": first})
    if not makes_a_record(dimension, owed):
        return None
    record = make(dimension, hour, owed)
    _write(connection, record, owed, now)
    return record


def _write(connection: sqlite3.Connection, record: UsageRecord, owed: Owed, now: datetime) -> None:
    request = record.request
    if request is None or record.state is not State.SEALED or Decimal(request.quantity) != owed.quantity:
        raise ValueError(f"{record.dimension} in {record.hour} is not the sealed record of what is owed.")
    freeze(connection, record, now)
    values = {
        "hour": record.hour.number,
        "dimension": record.dimension,
        "quantity": plain(owed.quantity),
        "client_token": request.client_token,
        "retry_at": record.retry_at and instant_text(record.retry_at),
        "at": instant_text(now),
    }
    connection.execute(sql("record_add"), values)


def freeze(connection: sqlite3.Connection, record: UsageRecord, now: datetime) -> None:
    """Write a record's request, which is never changed afterwards."""
    if record.request is None:
        raise ValueError(f"{record.dimension} in {record.hour} has no request.")
    values = {
        "client_token": record.request.client_token,
        "hour": record.hour.number,
        "dimension": record.dimension,
        "body": record.request.as_json(),
        "digest": record.request.digest,
        "at": instant_text(now),
    }
    connection.execute(sql("request_add"), values)


def instant_text(instant: datetime) -> str:
    """Return an instant in UTC with microseconds, so that texts compare as instants do."""
    return instant.isoformat(timespec="microseconds")
