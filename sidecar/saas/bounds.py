"""Count the tag sets and keys of each customer's open hours, so that no push takes one above its bound.

What is bounded, and how far: `metering.hour_bounds`.

Invariants:
- The count changes in the transaction that writes the new tag sets and keys. Its row is locked until that one ends, so
  several replicas together stay at the bound too.
- A push that brings nothing new writes no count, and no push counts rows: what it has written says what was new.
- `Room` is read only after a group broke a bound: it finds which of its requests did, and with which event. What it
  reads is a forecast; the count that is written decides.
- A replica of a version before the counts adds none: while one still runs, an hour may have more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, select, tuple_, update

from sidecar.metering.events import PushRefused
from sidecar.metering.hour_bounds import KEYS, KINDS, TAG_SETS, UNTAGGED, refusal
from sidecar.metering.push_group import PreparedEvent
from sidecar.saas.instants import tag_set
from sidecar.saas.tables import bucket, hour_count, unique_key
from sidecar.saas.upserts import added, upsert
from sidecar.settings.dimensions import Aggregation


class Place(NamedTuple):
    """One hour of a customer's dimension."""

    customer: int
    dimension: str
    hour: int


class Slot(NamedTuple):
    """What is bounded: the tag sets or the keys of one place."""

    place: Place
    kind: str


Event = tuple[int, PreparedEvent]
"""An event and the number of the hour that it counts in; its dimension is a series, see `pushes.CustomerPush`."""
COLUMNS: Final = (TAG_SETS, KEYS)


class TooMany(Exception):
    """A group of pushes takes a slot above its bound; nothing of it may be kept."""


def count(connection: Connection, new: Mapping[Slot, int]) -> None:
    """Add the new rows of a transaction to the counts. Raises TooMany."""
    places = sorted({slot.place for slot in new})
    if not places:
        return
    rows = [place._asdict() | {kind: new.get(Slot(place, kind), 0) for kind in COLUMNS} for place in places]
    for row in upsert(connection, hour_count, rows, added(hour_count, COLUMNS), hour_count.c):
        place = Place(row.customer, row.dimension, row.hour)
        for kind in COLUMNS:
            if Slot(place, kind) in new and getattr(row, kind) > KINDS[kind].most():
                raise TooMany(kind)


def forget(connection: Connection, hour: int, slots: Collection[tuple[int, str]], *, later: bool) -> None:
    """Delete the counts of an hour that is sealed; of `later` hours, whose sums went along, count what is left."""
    c = hour_count.c
    mine = tuple_(c.customer, c.dimension).in_(list(slots))
    connection.execute(delete(hour_count).where(mine, c.hour == hour))
    if later:
        here = (bucket.c.customer == c.customer, bucket.c.dimension == c.dimension, bucket.c.hour == c.hour)
        left = select(func.count()).select_from(bucket).where(*here, bucket.c.tags != UNTAGGED).scalar_subquery()
        connection.execute(update(hour_count).where(mine, c.hour > hour).values({TAG_SETS: left}))


class Room:
    """What the hours of one group's events have room for."""

    def __init__(self, connection: Connection, aggregations: Mapping[str, Aggregation]) -> None:
        """Read nothing yet."""
        self._connection, self._aggregations = connection, aggregations
        self._counts: dict[Slot, int] = {}
        self._there: defaultdict[Slot, set[bytes]] = defaultdict(set)

    def refusal(self, events: Collection[PreparedEvent], new: Iterable[Event]) -> PushRefused | None:
        """Return why a request is refused whose `events` count `new` ones; None where there is room, and take it."""
        named = [(event, slot, name) for hour, event in new for slot, name in _named(hour, event)]
        self._read(named)
        more: defaultdict[Slot, set[bytes]] = defaultdict(set)
        for event, slot, name in named:
            if name in self._there[slot]:
                continue
            more[slot].add(name)
            if self._counts[slot] + len(more[slot]) > KINDS[slot.kind].most():
                return refusal(slot.kind, slot.place.dimension, slot.place.hour, list(events).index(event))
        for slot, names in more.items():
            self._there[slot] |= names
            self._counts[slot] += len(names)
        return None

    def _read(self, named: Iterable[tuple[PreparedEvent, Slot, bytes]]) -> None:
        """Read what is counted of some slots, and which of these names they have."""
        asked: dict[Slot, set[bytes]] = {}
        series: dict[Slot, str] = {}
        for event, slot, name in named:
            series[slot] = event.dimension
            if name not in self._there[slot]:
                asked.setdefault(slot, set()).add(name)
        for slot, names in asked.items():
            if slot not in self._counts:
                self._counts[slot] = self._counted(slot)
            self._there[slot] |= self._present(slot, names, self._aggregations[series[slot]])

    def _counted(self, slot: Slot) -> int:
        query = select(hour_count.c[slot.kind]).where(_at(hour_count, slot.place))
        return int(self._connection.execute(query).scalar() or 0)

    def _present(self, slot: Slot, names: Collection[bytes], aggregation: Aggregation) -> set[bytes]:
        table, column = (bucket, bucket.c.tag_set) if slot.kind == TAG_SETS else (unique_key, unique_key.c.key)
        query = select(column).where(_at(table, slot.place), column.in_(sorted(names)))
        if table is bucket:
            query = query.where(bucket.c.aggregation == aggregation.value)
        return {bytes(one) for one in self._connection.execute(query).scalars()}


def _at(table: Table, place: Place) -> ColumnElement[bool]:
    c = table.c
    return and_(c.customer == place.customer, c.dimension == place.dimension, c.hour == place.hour)


def _named(hour: int, event: PreparedEvent) -> Iterator[tuple[Slot, bytes]]:
    """Yield what an event needs room for, where its hour has it not yet."""
    number, _, dimension = event.dimension.partition(":")
    place = Place(int(number), dimension, hour)
    if event.tags != UNTAGGED:
        yield Slot(place, TAG_SETS), tag_set(event.tags)
    if event.key is not None:
        yield Slot(place, KEYS), event.key


def new_tag_sets(
    rows: Iterable[Mapping[str, object]], written: Iterable[tuple[int, str, int, bytes, int]]
) -> Counter[Slot]:
    """Return how many tag sets are new, of the rows sent and what was written of each: place, digest and events.

    A row that was there had an event, and has more events now than were sent: nothing takes events from a row.
    """
    sent = {
        (row["customer"], row["dimension"], row["hour"], row["tag_set"]): row["events"]
        for row in rows
        if row["tags"] != UNTAGGED
    }
    return Counter(
        Slot(Place(number, dimension, hour), TAG_SETS)
        for number, dimension, hour, digest, events in written
        if sent.get((number, dimension, hour, bytes(digest))) == events
    )


def new_keys(written: Iterable[tuple[int, str, int]]) -> Counter[Slot]:
    """Return how many keys are new, of the places of those that were written."""
    return Counter(Slot(Place(*one), KEYS) for one in written)
