"""Judge a group of pushes in order, and add up what they bring; the caller writes it.

Invariants:
- Each request is judged after those before it in the group, as if it were alone: a bad one is refused
  and leaves no trace; a repeated id counts once, also within a request or a group.
- An id is known by its digest, and its content by another; the same id with other content is a conflict (409).
- A duplicate is one even if its hour was sealed since; only new events need an open hour.
- The last value is the last to arrive of events that do not say when they happened, whatever the clock says meanwhile;
  one that does say replaces nothing newer.

The order of refusals is the contract's: 422 before 409.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import ClassVar, Final, NamedTuple

from sidecar.metering.events import (
    PushAccepted,
    PushRefused,
    Tags,
    UsageEvent,
    content_digest,
    id_digest,
    key_digest,
)
from sidecar.metering.hours import Hour, hour_micros
from sidecar.metering.late_events import hour_for
from sidecar.settings.dimensions import Aggregation

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
SUM: Final = Aggregation.SUM
LAST: Final = Aggregation.LAST
"""Module constants: each event is compared with both, and the attribute look-up takes longer than the comparison."""


class EntryForm(NamedTuple):
    """How many bytes of their digests the entry of an event keeps."""

    id: int
    content: int


WHOLE: Final = EntryForm(id=16, content=16)


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


PushResult = PushAccepted | PushRefused
ONE_NEW: Final = PushAccepted(1, 0)
"""The result of most pushes."""


class PushGroup:
    """What the requests of one transaction add, before it is written."""

    entry_form: ClassVar = WHOLE
    """Of all events that are added."""

    def __init__(
        self,
        open_from: int,
        aggregations: Mapping[str, Aggregation],
        known: dict[bytes, bytes],
    ) -> None:
        """`known`: earlier ids and their contents."""
        self._open_from = open_from
        self._aggregations = aggregations
        self._known = known
        self.entries: list[bytes] = []
        self.buckets: dict[tuple[int, str, str], list[int]] = {}
        self.arrived: set[tuple[int, str, str]] = set()
        """Buckets of last values with an event that did not say when: theirs replaces what is on disk."""
        self.keys: set[tuple[int, str, bytes]] = set()
        self.late: dict[tuple[int, str, int], list[int]] = {}

    @property
    def totals(self) -> dict[str, list[int]]:
        """Return for each dimension how many events count, and the sum of their micros."""
        found: dict[str, list[int]] = {}
        for (_, dimension, _), (events, summed, *_) in self.buckets.items():
            _add(found, dimension, events, summed)
        return found

    def add_events(self, events: Sequence[PreparedEvent]) -> PushResult:
        """Judge the events of one request, and count them if all are good."""
        new: list[tuple[int, PreparedEvent]] = []
        fresh: dict[bytes, bytes] = {}
        conflict: int | None = None
        id_bytes = self.entry_form.id
        for index, event in enumerate(events):
            if event.entry is not None:
                key, content = event.entry[:id_bytes], event.entry[id_bytes:]
                before = fresh.get(key) or self._known.get(key)
                if before is not None:
                    if before != content:
                        hour = self.hour_of(event, index)
                        if isinstance(hour, PushRefused):
                            return hour
                        conflict = index if conflict is None else conflict
                    continue
                fresh[key] = content
            hour = self.hour_of(event, index)
            if isinstance(hour, PushRefused):
                return hour
            new.append((hour, event))
        if conflict is not None:
            return _conflict(conflict)
        result = self._count_all(events, new)
        if isinstance(result, PushAccepted):
            self._known |= fresh
        return result

    def _count_all(self, events: Sequence[PreparedEvent], new: Sequence[tuple[int, PreparedEvent]]) -> PushResult:
        beyond = self.without_room(events, new)
        if beyond is not None:
            return beyond
        for hour, event in new:
            self._count(hour, event.at // hour_micros(), event)
        return PushAccepted(len(new), len(events) - len(new))

    def add_new(self, alike: Iterable[tuple[PreparedEvent, int]]) -> PushAccepted | None:
        """Count the events of one request, of which every id is new, and none comes twice.

        None where one counts in no hour: the group is judged again then, event by event.
        """
        events, length = 0, hour_micros()
        for event, times in alike:
            hour = origin = event.at // length
            if hour < self._open_from:
                found = self.hour_of(event, 0)
                if isinstance(found, PushRefused):
                    return None
                hour = found
            self._count(hour, origin, event, times)
            events += times
        return ONE_NEW if events == 1 else PushAccepted(events, 0)

    def hour_of(self, event: PreparedEvent, index: int) -> int | PushRefused:
        """Return the number of the hour that a new event counts in, or why it counts in none."""
        return hour_in(event, index, self._open_from, self._aggregations[event.dimension])

    def without_room(
        self, events: Sequence[PreparedEvent], new: Sequence[tuple[int, PreparedEvent]]
    ) -> PushRefused | None:
        """Return why the `new` events of a request, each with its hour, have no room: here they always have."""
        return None

    def _count(self, hour: int, origin: int, event: PreparedEvent, times: int = 1) -> None:
        """Count an event in `hour`, or as many as `times` that are equal but for their ids.

        `origin`: the number of the hour it happened in.
        """
        dimension, micros, at, stated, tags, entry, key = event
        aggregation = self._aggregations[dimension]
        summed = micros * times if aggregation is SUM else 0
        bucket = self.buckets.get((hour, dimension, tags))
        if bucket is None:
            self.buckets[hour, dimension, tags] = [times, summed, micros, micros, at]
        else:
            bucket[0] += times
            bucket[1] += summed
            if micros > bucket[2]:
                bucket[2] = micros
            if not stated or at >= bucket[4]:
                bucket[3:] = (micros, at)
        if aggregation is LAST and not stated:
            self.arrived.add((hour, dimension, tags))
        if entry is not None:
            self.entries.append(entry)
        if key is not None:
            self.keys.add((hour, dimension, key))
        if origin < hour:
            _add(self.late, (hour, dimension, origin), times, micros * times)


def hour_in(event: PreparedEvent, index: int, open_from: int, aggregation: Aggregation) -> int | PushRefused:
    """Return the number of the hour that an event counts in, where `open_from` is the first unsealed one's."""
    hour = event.at // hour_micros()
    if hour >= open_from:
        return hour
    if not event.stated and aggregation is not SUM:
        return open_from  # it happens now, whatever a clock that was set back says
    found = hour_for(Hour.numbered(hour), Hour.numbered(open_from), aggregation, index)
    return found if isinstance(found, PushRefused) else found.number


def _conflict(index: int) -> PushRefused:
    return PushRefused(
        status=409,
        reason="id_conflict",
        detail=f"Event {index}: id was sent before with other content; an id names one event for ever.",
        index=index,
    )


def prepared(event: UsageEvent, now: int, form: EntryForm = WHOLE) -> PreparedEvent:
    """Return an event that arrived at `now`, in microseconds since the epoch, with an entry of that form."""
    entry = None if event.id is None else id_digest(event.id)[: form.id] + content_digest(event)[: form.content]
    return _without_id(event, now)._replace(entry=entry)


def prepared_together(
    events: Sequence[UsageEvent], now: int, form: EntryForm
) -> tuple[list[bytes], list[tuple[PreparedEvent, int]]]:
    """Return the entries of events, and the events without their ids: equal ones once, with a count.

    They are in the order in which the last of each came, so that a last value stays the last.
    """
    if len(events) == 1:
        (event,) = events
        entries = [] if event.id is None else [id_digest(event.id)[: form.id] + content_digest(event)[: form.content]]
        return entries, [(_without_id(event, now), 1)]
    entries = []
    alike: dict[object, tuple[PreparedEvent, bytes, int]] = {}
    for event in events:
        dimension, micros, identifier, at, tags, key = event
        same = (dimension, micros, at, tags, key)
        if same in alike:
            one, content, times = alike.pop(same)
        else:
            one, content, times = _without_id(event, now), content_digest(event)[: form.content], 0
        alike[same] = (one, content, times + 1)
        if identifier is not None:
            entries.append(id_digest(identifier)[: form.id] + content)
    return entries, [(one, times) for one, _, times in alike.values()]


def _without_id(event: UsageEvent, now: int) -> PreparedEvent:
    dimension, micros, _, at, tags, key = event
    values = (
        dimension,
        micros,
        now if at is None else (at - EPOCH) // MICROSECOND,
        at is not None,
        tags_text(tags),
        None,
        None if key is None else key_digest(key),
    )
    return tuple.__new__(PreparedEvent, values)  # what `PreparedEvent(*values)` returns, in a third of its time


@lru_cache(maxsize=1024)
def tags_text(tags: Tags) -> str:
    """Return a tag set as it is on disk: one spelling for one set."""
    return json.dumps(tags, separators=(",", ":"), ensure_ascii=False) if tags else "[]"


def tags_of(text: str) -> Tags:
    """Return the tag set of a text that `tags_text` made."""
    return tuple((name, value) for name, value in json.loads(text))


def _add(totals: dict, key: object, times: int, micros: int) -> None:  # type: ignore[type-arg]
    entry = totals.get(key)
    if entry is None:
        totals[key] = [times, micros]
    else:
        entry[0] += times
        entry[1] += micros
