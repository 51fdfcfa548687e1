"""Judge a group of pushes in order, and write what they add together.

Invariants:
- Each request is judged after those before it in the group, as if it were alone: a bad one is refused
  and leaves no trace; a repeated id counts once, also within a request or a group.
- An id is known by 128 bits of it and of its content; the same id with other content is a conflict (409).
- A duplicate is one even if its hour was sealed since; only new events need an open hour.
- The last value is the last to arrive of events that do not say when they happened, whatever the clock says meanwhile;
  one that does say replaces nothing newer.
- What a source was read to be is written with the events it led to, or neither is.
- A sum that would leave 64 bits is refused (422); STRICT refuses the row, nothing wraps. So is a tag set or a key above
  what an hour may have (`bounds`).

The order of refusals is the contract's: 422 before 409.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from sidecar.ledger import readings, seen_ids
from sidecar.ledger.bounds import Bounds, TooMany
from sidecar.ledger.push_refusals import HOUR, first_beyond, known_ids, sum_out_of_range
from sidecar.ledger.seen_ids import GENERATION_SECONDS, ID
from sidecar.ledger.statements import sql
from sidecar.metering.events import PushAccepted, PushRefused, Tags, UsageEvent, content_digest, id_digest, key_digest
from sidecar.metering.hours import Hour
from sidecar.metering.late_events import hour_for
from sidecar.metering.quantities import MICROS_PER_UNIT
from sidecar.metering.readings import Reading
from sidecar.settings.dimensions import Aggregation

NO_INTEGER: Final = 3091
"""SQLITE_CONSTRAINT_DATATYPE: a sum left 64 bits, became a REAL, and STRICT refused it."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)


class PreparedEvent(NamedTuple):
    """One event as the writer needs it."""

    dimension: str
    micros: int
    at: int
    """Microseconds since the epoch."""
    stated: bool
    """The product said when it happened."""
    tags: str
    entry: bytes | None
    """Digests of id and content; None without an id."""
    key: bytes | None


class PushRequest(NamedTuple):
    """One push, prepared in its own thread so that the writer has less to do."""

    events: tuple[PreparedEvent, ...]
    now: int
    """Epoch seconds."""
    readings: tuple[readings.Row, ...] = ()
    """What a source was read to be, kept where the events are counted."""

    @classmethod
    def of(
        cls, events: Iterable[UsageEvent], now: datetime, source: str = "", read: Iterable[Reading] = ()
    ) -> PushRequest:
        """Prepare the events of one push that arrived at `now`, and what `source` was read to be."""
        at = (now - EPOCH) // MICROSECOND
        prepared = tuple(_prepared(event, at) for event in events)
        return cls(events=prepared, now=at // 1_000_000, readings=readings.rows(source, read))


PushResult = PushAccepted | PushRefused


class PushGroup:
    """What the requests of one transaction add, before it is written."""

    def __init__(
        self,
        open_from: int,
        aggregations: Mapping[str, Aggregation],
        known: dict[bytes, bytes],
        *,
        ids_kept: bool = False,
    ) -> None:
        """`known`: earlier ids and their contents. `ids_kept`: those of this group are on disk already, and new."""
        self._ids_kept = ids_kept
        self._open_from = open_from
        self._aggregations = aggregations
        self._known = known
        self.entries: list[bytes] = []
        self.buckets: dict[tuple[int, str, str], list[int]] = {}
        self.arrived: set[tuple[int, str, str]] = set()
        """Buckets of last values with an event that did not say when: theirs replaces what is on disk."""
        self.keys: set[tuple[int, str, bytes]] = set()
        self.late: dict[tuple[int, str, int], list[int]] = {}
        self.totals: dict[str, list[int]] = {}
        self.readings: list[readings.Row] = []

    def add(self, request: PushRequest) -> PushResult:
        """Judge one request, and count its events if it is good."""
        new: list[tuple[int, PreparedEvent]] = []
        fresh: dict[bytes, bytes] = {}
        conflict: int | None = None
        for index, event in enumerate(request.events):
            if event.entry is not None:
                key, content = event.entry[:ID], event.entry[ID:]
                before = fresh.get(key) or self._known.get(key)
                if before is not None:
                    if before != content:
                        hour = self._hour(event, index)
                        if isinstance(hour, PushRefused):
                            return hour
                        conflict = index if conflict is None else conflict
                    continue
                fresh[key] = content
            hour = self._hour(event, index)
            if isinstance(hour, PushRefused):
                return hour
            new.append((hour, event))
        if conflict is not None:
            return _conflict(conflict)
        self._known |= fresh
        for hour, event in new:
            self._count(hour, event)
        self.readings += request.readings
        return PushAccepted(accepted=len(new), duplicates=len(request.events) - len(new))

    def _hour(self, event: PreparedEvent, index: int) -> int | PushRefused:
        hour = event.at // HOUR
        if hour >= self._open_from:
            return hour
        aggregation = self._aggregations[event.dimension]
        if not event.stated and aggregation is not Aggregation.SUM:
            return self._open_from  # it happens now, whatever a clock that was set back says
        found = hour_for(Hour.numbered(hour), Hour.numbered(self._open_from), aggregation, index)
        return found if isinstance(found, PushRefused) else found.number

    def _count(self, hour: int, event: PreparedEvent) -> None:
        dimension, micros, at, stated, tags, entry, key = event
        aggregation = self._aggregations[dimension]
        summed = micros if aggregation is Aggregation.SUM else 0
        bucket = self.buckets.get((hour, dimension, tags))
        if bucket is None:
            self.buckets[hour, dimension, tags] = [1, summed, micros, micros, at]
        else:
            bucket[0] += 1
            bucket[1] += summed
            if micros > bucket[2]:
                bucket[2] = micros
            if not stated or at >= bucket[4]:
                bucket[3:] = (micros, at)
        if aggregation is Aggregation.LAST and not stated:
            self.arrived.add((hour, dimension, tags))
        if entry is not None:
            self.entries.append(entry)
        if key is not None:
            self.keys.add((hour, dimension, key))
        origin = at // HOUR
        if origin < hour:
            _add(self.late, (hour, dimension, origin), micros)
        _add(self.totals, dimension, summed)

    def write(self, connection: sqlite3.Connection, counts: Bounds) -> None:
        """Write everything that was counted. Raises TooMany, and sqlite3.IntegrityError where a sum leaves 64 bits."""
        if self.readings:
            readings.keep(connection, self.readings)
        if not self.buckets:
            return
        counts.admit(connection, self.buckets, self.keys)
        run = connection.execute
        if self.entries and not self._ids_kept:
            seen_ids.insert(connection, sorted(self.entries))  # all of them are new: `add` has looked
        run(sql("buckets_add"), {"rows": _rows((*key, *value) for key, value in self.buckets.items())})
        if self.arrived:
            run(sql("buckets_last"), {"rows": _rows((*key, *self.buckets[key][3:]) for key in self.arrived)})
        totals = ((name, n, *divmod(micros, MICROS_PER_UNIT)) for name, (n, micros) in self.totals.items())
        run(sql("lifetime_push"), {"rows": _rows(totals)})
        if self.late:
            run(sql("late_add"), {"rows": _rows((*key, *value) for key, value in self.late.items())})
        for hour, dimension, key in self.keys:
            run(sql("unique_keys_add"), {"hour": hour, "dimension": dimension, "key": key})


def apply_group(
    connection: sqlite3.Connection,
    requests: Sequence[PushRequest],
    aggregations: Mapping[str, Aggregation],
    counts: Bounds,
) -> list[PushResult]:
    """Judge and write a group inside the caller's transaction; return one result for each request."""
    now = max(request.now for request in requests)
    open_from, turned_at = _push_state(connection)
    if now - turned_at >= GENERATION_SECONDS or now < turned_at - GENERATION_SECONDS:
        seen_ids.rotate(connection, now, forget=now > turned_at)
    counts.drop_before(open_from)
    connection.execute("SAVEPOINT together")
    results = _all_new(connection, requests, aggregations, open_from, counts)
    if results is not None:
        connection.execute("RELEASE together")
        return results
    connection.execute("ROLLBACK TO together")
    group = PushGroup(open_from, aggregations, known_ids(connection, requests))
    results = [group.add(request) for request in requests]
    try:
        group.write(connection, counts)
    except (TooMany, sqlite3.IntegrityError, OverflowError) as exc:
        _roll_back(connection, "together", exc, counts)
        results = [_alone(connection, request, aggregations, open_from, counts) for request in requests]
    connection.execute("RELEASE together")
    return results


def _all_new(
    connection: sqlite3.Connection,
    requests: Sequence[PushRequest],
    aggregations: Mapping[str, Aggregation],
    open_from: int,
    counts: Bounds,
) -> list[PushResult] | None:
    """Do the common case in one step less: every id is new and nothing is refused. Return None in any other case."""
    entries = sorted(event.entry for request in requests for event in request.events if event.entry is not None)
    if entries and not seen_ids.insert(connection, entries):
        return None
    group = PushGroup(open_from, aggregations, {}, ids_kept=True)
    results = [group.add(request) for request in requests]
    if any(isinstance(result, PushRefused) for result in results):
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


def _push_state(connection: sqlite3.Connection) -> tuple[int, int]:
    open_from, turned_at = connection.execute(sql("push_state")).fetchone()
    return int(open_from), int(turned_at)


def _conflict(index: int) -> PushRefused:
    return PushRefused(
        status=409,
        reason="id_conflict",
        detail=f"Event {index}: id was sent before with other content; an id names one event for ever.",
        index=index,
    )


def _prepared(event: UsageEvent, now: int) -> PreparedEvent:
    return PreparedEvent(
        event.dimension,
        event.micros,
        now if event.at is None else (event.at - EPOCH) // MICROSECOND,
        event.at is not None,
        tags_text(event.tags),
        None if event.id is None else id_digest(event.id) + content_digest(event),
        None if event.key is None else key_digest(event.key),
    )


@lru_cache(maxsize=1024)
def tags_text(tags: Tags) -> str:
    """Return a tag set as it is on disk: one spelling for one set."""
    return json.dumps(tags, separators=(",", ":"), ensure_ascii=False) if tags else "[]"


def tags_of(text: str) -> Tags:
    """Return the tag set of a text that `tags_text` made."""
    return tuple((name, value) for name, value in json.loads(text))


def _rows(rows: Iterable[Sequence[object]]) -> str:
    return json.dumps(list(rows), separators=(",", ":"))


def _add(totals: dict, key: object, micros: int) -> None:  # type: ignore[type-arg]
    entry = totals.get(key)
    if entry is None:
        totals[key] = [1, micros]
    else:
        entry[0] += 1
        entry[1] += micros
