"""Bound what one open hour takes on disk: its tag sets, and its distinct keys.

A product that tags with a request's id, or counts one as a key, would fill the volume until usage is refused for all.

Invariants:
- At the bound a new tag set or key is refused (422), its whole push with it; one that the hour has is taken as before.
- What is on disk decides. The counts in memory are never below it, so that most pushes need no query for them; where
  they reach a bound, the disk is asked.
- Only pushes are bounded. What is rolled forward or taken over waits elsewhere, and is never refused.

Sources: AWS Marketplace API Reference, MeterUsage, shape UsageAllocations (2 500 in one record; what is above is billed
untagged, see `metering.rollup`).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from sidecar.ledger.statements import sql
from sidecar.metering.events import REASONS, PushRefused
from sidecar.metering.hours import Hour

TAG_SETS_MAX: Final = 10_000
"""Tag sets of one hour and dimension: four times what AWS takes, and read into memory when the hour is sealed."""
KEYS_MAX: Final = 1_000_000
"""Distinct keys of one hour and dimension: 40 to 60 MB on disk."""
SLOTS_KEPT: Final = 64
"""Hours and dimensions whose counts are remembered before those of sealed hours are dropped."""
UNTAGGED: Final = "[]"


class Slot(NamedTuple):
    """What is bounded: the tag sets or the keys of one hour and dimension."""

    kind: str
    hour: int
    dimension: str


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One thing that is bounded."""

    reason: str
    most: Callable[[], int]
    count: str
    """The statement that counts them on disk."""
    what: str
    fix: str


class Count(NamedTuple):
    """How many a slot has at most; `exact`: and no fewer."""

    number: int
    exact: bool


TAG_SETS: Final = "tag_sets"
KEYS: Final = "unique_keys"
KINDS: Final[Mapping[str, Kind]] = {
    TAG_SETS: Kind(
        reason="too_many_tag_sets",
        most=lambda: TAG_SETS_MAX,
        count="tag_sets_count",
        what="tags is another tag set",
        fix="Tag by what the bill is split by, as a tenant, not by what is new with each event.",
    ),
    KEYS: Kind(
        reason="too_many_keys",
        most=lambda: KEYS_MAX,
        count="unique_keys_count",
        what="key is another key",
        fix="Count users or devices, not what is new with each event.",
    ),
}


class TooMany(Exception):
    """A push would take a slot above its bound; `room`: how many new ones it still has room for."""

    def __init__(self, slot: Slot, room: int) -> None:
        super().__init__(slot.kind)
        self.slot, self.room = slot, room

    def refusal(self, index: int) -> PushRefused:
        """Return the refusal of a push that breaks the bound with its event `index`."""
        kind = KINDS[self.slot.kind]
        hour = Hour.numbered(self.slot.hour)
        rule = f"{kind.what}, and {json.dumps(self.slot.dimension)} has {kind.most()} of them in {hour}. {kind.fix}"
        detail = f"Event {index}: {rule}"
        return PushRefused(status=REASONS[kind.reason], reason=kind.reason, detail=detail, index=index)


class Bounds:
    """The counts of the open hours, as one connection knows them."""

    def __init__(self) -> None:
        self._counts: dict[Slot, Count] = {}

    def forget(self) -> None:
        """Forget every count: what was admitted was not written."""
        self._counts.clear()

    def drop_before(self, open_from: int) -> None:
        """Drop the counts of sealed hours, where there are many."""
        if len(self._counts) > SLOTS_KEPT:
            self._counts = {slot: count for slot, count in self._counts.items() if slot.hour >= open_from}

    def admit(
        self,
        connection: sqlite3.Connection,
        buckets: Iterable[tuple[int, str, str]],
        keys: Iterable[tuple[int, str, bytes]],
    ) -> None:
        """Count what is about to be written: (hour, dimension, tags) and (hour, dimension, key). Raises TooMany."""
        wanted: dict[Slot, list[str | bytes]] = {}
        for hour, dimension, tags in buckets:
            if tags != UNTAGGED:
                wanted.setdefault(Slot(TAG_SETS, hour, dimension), []).append(tags)
        for hour, dimension, key in keys:
            wanted.setdefault(Slot(KEYS, hour, dimension), []).append(key)
        if wanted:
            self._counts |= {slot: self._counted(connection, slot, names) for slot, names in wanted.items()}

    def _counted(self, connection: sqlite3.Connection, slot: Slot, names: Sequence[str | bytes]) -> Count:
        most = KINDS[slot.kind].most()
        before = self._counts.get(slot) or Count(_count(connection, slot), exact=True)
        if before.number + len(names) <= most:
            return Count(before.number + len(names), exact=False)
        new = len(names) - present(connection, slot, names)
        if not new:
            return before
        exact = before if before.exact else Count(_count(connection, slot), exact=True)
        if exact.number + new > most:
            self._counts[slot] = exact
            raise TooMany(slot, most - exact.number)
        return Count(exact.number + new, exact=True)


def present(connection: sqlite3.Connection, slot: Slot, names: Collection[str | bytes]) -> int:
    """Return how many of these tag sets, or keys, their hour and dimension has."""
    values: dict[str, object] = {"hour": slot.hour, "dimension": slot.dimension}
    if slot.kind == TAG_SETS:
        values["tags"] = json.dumps(list(map(str, names)))
        return int(connection.execute(sql("tag_sets_known"), values).fetchone()[0])
    values |= {"keys": b"".join(name for name in names if isinstance(name, bytes)), "count": len(names)}
    return int(connection.execute(sql("unique_keys_known"), values).fetchone()[0])


def _count(connection: sqlite3.Connection, slot: Slot) -> int:
    values = {"hour": slot.hour, "dimension": slot.dimension}
    return int(connection.execute(sql(KINDS[slot.kind].count), values).fetchone()[0])
