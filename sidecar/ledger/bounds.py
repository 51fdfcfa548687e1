"""Count what the open hours of the ledger have on disk, so that no push takes one above its bound.

What is bounded, and how far: `metering.hour_bounds`.

Invariants:
- What is on disk decides. The counts in memory are never below it, so that most pushes need no query for them; where
  they reach a bound, the disk is asked, and counted again where that spares many pushes the question.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from sidecar.ledger.statements import sql
from sidecar.metering.events import PushRefused
from sidecar.metering.hour_bounds import KEYS, KINDS, TAG_SETS, UNTAGGED, refusal

SLOTS_KEPT: Final = 64
"""Hours and dimensions whose counts are remembered before those of sealed hours are dropped."""
COUNTS: Final[Mapping[str, str]] = {TAG_SETS: "tag_sets_count", KEYS: "unique_keys_count"}
"""The statements that count on disk."""


class Slot(NamedTuple):
    """What is bounded: the tag sets or the keys of one hour and dimension."""

    kind: str
    hour: int
    dimension: str


class Count(NamedTuple):
    """How many a slot has at most, and how many it had when the disk was last asked, with what is being written."""

    most: int
    counted: int


class TooMany(Exception):
    """A push would take a slot above its bound; `room`: how many new ones it still has room for."""

    def __init__(self, slot: Slot, room: int) -> None:
        super().__init__(slot.kind)
        self.slot, self.room = slot, room

    def refusal(self, index: int) -> PushRefused:
        """Return the refusal of a push that breaks the bound with its event `index`."""
        return refusal(self.slot.kind, self.slot.dimension, self.slot.hour, index)


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
        wanted: dict[tuple[str, int, str], list[str | bytes]] = {}
        for hour, dimension, tags in buckets:
            if tags != UNTAGGED:
                wanted.setdefault((TAG_SETS, hour, dimension), []).append(tags)
        for hour, dimension, key in keys:
            wanted.setdefault((KEYS, hour, dimension), []).append(key)
        if wanted:
            slots = [(Slot(*named), names) for named, names in wanted.items()]
            self._counts |= {slot: self._counted(connection, slot, names) for slot, names in slots}

    def _counted(self, connection: sqlite3.Connection, slot: Slot, names: Sequence[str | bytes]) -> Count:
        bound = KINDS[slot.kind].most()
        before = self._counts.get(slot) or _count(connection, slot)
        if before.most + len(names) <= bound:
            return Count(before.most + len(names), before.counted)
        new = len(names) - present(connection, slot, names)
        if not new and before.most - before.counted < bound // 2:
            return before
        exact = before if before.most == before.counted else _count(connection, slot)
        if new and exact.most + new > bound:
            self._counts[slot] = exact
            raise TooMany(slot, bound - exact.most)
        return Count(exact.most + new, exact.most + new)


def present(connection: sqlite3.Connection, slot: Slot, names: Collection[str | bytes]) -> int:
    """Return how many of these tag sets, or keys, their hour and dimension has."""
    values: dict[str, object] = {"hour": slot.hour, "dimension": slot.dimension}
    if slot.kind == TAG_SETS:
        values["tags"] = json.dumps(list(map(str, names)))
        return int(connection.execute(sql("tag_sets_known"), values).fetchone()[0])
    values |= {"keys": b"".join(name for name in names if isinstance(name, bytes)), "count": len(names)}
    return int(connection.execute(sql("unique_keys_known"), values).fetchone()[0])


def _count(connection: sqlite3.Connection, slot: Slot) -> Count:
    values = {"hour": slot.hour, "dimension": slot.dimension}
    (found,) = connection.execute(sql(COUNTS[slot.kind]), values).fetchone()
    return Count(found, found)
