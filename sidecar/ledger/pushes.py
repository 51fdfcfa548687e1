"""Write what a group of pushes adds together; `metering.push_group` judges them.

Invariants:
- What a source was read to be is written with the events it led to, or neither is.
- A sum that would leave 64 bits is refused (422); STRICT refuses the row, nothing wraps. So is a tag set or a key above
  what an hour may have (`bounds`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import chain
from typing import Final, TypeVar

from sidecar.ledger import readings, seen_ids, unique_keys
from sidecar.ledger.bounds import Bounds, TooMany
from sidecar.ledger.id_memory import IdMemory, Place
from sidecar.ledger.push_refusals import first_beyond, known_ids, sum_out_of_range
from sidecar.ledger.seen_ids import GENERATION_SECONDS
from sidecar.ledger.statements import sql, sql_of_rows
from sidecar.metering import push_group
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.push_group import EPOCH, MICROSECOND, PreparedEvent, PushResult, prepared, prepared_together
from sidecar.metering.quantities import MICROS_PER_UNIT
from sidecar.metering.readings import Reading
from sidecar.settings.dimensions import Aggregation

MICROS_PER_SECOND: Final = 1_000_000
NO_INTEGER: Final = 3091
"""SQLITE_CONSTRAINT_DATATYPE: a sum left 64 bits, became a REAL, and STRICT refused it."""
ROWS_MAX: Final = 16
"""Rows that one statement writes: SQLite keeps a statement for each number of rows."""
Result = TypeVar("Result", bound=PushResult | None)


class PushRequest:
    """One push, prepared by the thread that read it so that the writer has less to do."""

    __slots__ = ("_events", "alike", "at", "entries", "readings", "sent")

    def __init__(
        self, sent: Iterable[UsageEvent], now: datetime, source: str = "", read: Iterable[Reading] = ()
    ) -> None:
        """Prepare events that arrived at `now`, and what `source` was read to be."""
        self.sent = tuple(sent)
        self.at = (now - EPOCH) // MICROSECOND
        """When it arrived, in microseconds since the epoch."""
        self.entries, self.alike = prepared_together(self.sent, self.at, seen_ids.ENTRY_FORM)
        """The entries of the events with ids, and the events without their ids: equal ones once, with a count."""
        self.readings: tuple[readings.Row, ...] = readings.rows(source, read) if read else ()
        """What a source was read to be, kept where the events are counted."""
        self._events: tuple[PreparedEvent, ...] | None = None

    @property
    def events(self) -> tuple[PreparedEvent, ...]:
        """Return the events one by one, for the case that one of them is a duplicate or refused."""
        if self._events is None:
            self._events = tuple([prepared(event, self.at, seen_ids.ENTRY_FORM) for event in self.sent])
        return self._events


class PushGroup(push_group.PushGroup):
    """What the requests of one transaction add, before it is written."""

    entry_form = seen_ids.ENTRY_FORM

    def __init__(self, open_from: int, aggregations: Mapping[str, Aggregation], known: dict[bytes, bytes]) -> None:
        """`known`: earlier ids and their contents."""
        super().__init__(open_from, aggregations, known)
        self.readings: list[readings.Row] = []

    def add(self, request: PushRequest) -> PushResult:
        """Judge one request, and count its events and readings if it is good."""
        return self._with_readings(request, self.add_events(request.events))

    def add_all_new(self, request: PushRequest) -> PushAccepted | None:
        """Count one request of which every id is new, without its ids. None where `add` is to judge it."""
        return self._with_readings(request, self.add_new(request.alike))

    def _with_readings(self, request: PushRequest, result: Result) -> Result:
        if isinstance(result, PushAccepted):
            self.readings += request.readings
        return result

    def write(self, connection: sqlite3.Connection, counts: Bounds) -> None:
        """Write everything that was counted. Raises TooMany, and sqlite3.IntegrityError where a sum leaves 64 bits."""
        if self.readings:
            readings.keep(connection, self.readings)
        if not self.buckets:
            return
        counts.admit(connection, self.buckets, self.keys)
        if self.entries and not seen_ids.insert(connection, sorted(self.entries)):
            raise RuntimeError("An id is known that `add` did not find.")
        buckets = [(*key, *value) for key, value in self.buckets.items()]
        for at in range(0, len(buckets), ROWS_MAX):  # each statement gives the interpreter away, however little it does
            some = buckets[at : at + ROWS_MAX]
            connection.execute(sql_of_rows("buckets_add", len(some)), list(chain.from_iterable(some)))
        for name, rows in (
            ("buckets_last", [(*key, *self.buckets[key][3:]) for key in self.arrived]),
            ("lifetime_push", [(one, n, *divmod(micros, MICROS_PER_UNIT)) for one, (n, micros) in self.totals.items()]),
            ("late_add", [(*key, *value) for key, value in self.late.items()]),
        ):
            if rows:
                connection.executemany(sql(name), rows)
        unique_keys.add(connection, self.keys)


def apply_group(
    connection: sqlite3.Connection,
    requests: Sequence[PushRequest],
    aggregations: Mapping[str, Aggregation],
    counts: Bounds,
) -> list[PushResult]:
    """Judge and write a group in the caller's transaction, which did nothing before; return a result for each request.

    Where not all is new and good, that is rolled back and begun again. A savepoint for this case would have SQLite copy
    each page that any group writes.
    """
    results = _all_new(connection, requests, aggregations, counts)
    if results is not None:
        return results
    connection.execute("ROLLBACK")
    connection.execute("BEGIN IMMEDIATE")
    open_from, _ = _begin(connection, requests, counts)
    connection.execute("SAVEPOINT together")
    group = PushGroup(open_from, aggregations, known_ids(connection, requests))
    results = [group.add(request) for request in requests]
    try:
        group.write(connection, counts)
    except (TooMany, sqlite3.IntegrityError, OverflowError) as exc:
        _roll_back(connection, "together", exc, counts)
        results = [_alone(connection, request, aggregations, open_from, counts) for request in requests]
    connection.execute("RELEASE together")
    return results


def _begin(connection: sqlite3.Connection, requests: Sequence[PushRequest], counts: Bounds) -> tuple[int, IdMemory]:
    """Begin a new generation of ids where it is time. Return the first open hour, and what memory has of the ids."""
    now = max([request.at for request in requests]) // MICROS_PER_SECOND
    open_from, turned_at, taken = connection.execute(sql("push_state")).fetchone()
    memory = seen_ids.begin(connection, Place(turned_at, taken))
    if now - turned_at >= GENERATION_SECONDS or now < turned_at - GENERATION_SECONDS:
        seen_ids.rotate(connection, now, forget=now > turned_at)
    counts.drop_before(open_from)
    return open_from, memory


def _all_new(
    connection: sqlite3.Connection,
    requests: Sequence[PushRequest],
    aggregations: Mapping[str, Aggregation],
    counts: Bounds,
) -> list[PushResult] | None:
    """Write the group where every id is new and nothing is refused. Otherwise return None: the caller rolls back."""
    open_from, memory = _begin(connection, requests, counts)
    group = PushGroup(open_from, aggregations, {})
    results: list[PushResult] = []
    for request in requests:
        result = group.add_all_new(request)
        if result is None:
            return None
        results.append(result)
    entries = sorted(chain.from_iterable(request.entries for request in requests))
    if entries and not seen_ids.insert(connection, entries, memory):
        return None
    try:
        group.write(connection, counts)
    except (TooMany, sqlite3.IntegrityError, OverflowError) as exc:
        _forget(exc, counts)
        return None
    return results


def _roll_back(connection: sqlite3.Connection, savepoint: str, exc: Exception, counts: Bounds) -> None:
    connection.execute(f"ROLLBACK TO {savepoint}")
    _forget(exc, counts)


def _forget(exc: Exception, counts: Bounds) -> None:
    """Forget what was counted and is not written; where it is too many, nothing was counted."""
    if not isinstance(exc, TooMany):
        counts.forget()


def _alone(
    connection: sqlite3.Connection,
    request: PushRequest,
    aggregations: Mapping[str, Aggregation],
    open_from: int,
    counts: Bounds,
) -> PushResult:
    """Judge and write one request by itself, so that only the one that is out of range is refused."""
    connection.execute("SAVEPOINT alone")
    group = PushGroup(open_from, aggregations, known_ids(connection, [request]))
    result = group.add(request)
    try:
        group.write(connection, counts)
    except TooMany as exc:
        connection.execute("ROLLBACK TO alone")
        result = exc.refusal(first_beyond(connection, request, open_from, exc))
    except (sqlite3.IntegrityError, OverflowError) as exc:
        _roll_back(connection, "alone", exc, counts)
        refusal = sum_out_of_range(connection, request, aggregations, open_from)
        if refusal is None and getattr(exc, "sqlite_errorcode", NO_INTEGER) != NO_INTEGER:
            raise
        result = refusal or PushRefused(status=422, reason="quantity_out_of_range", detail="The sums leave 64 bits.")
    connection.execute("RELEASE alone")
    return result
