"""Find the event at which a push breaks a bound, once writing it has failed.

Invariants:
- Events that are duplicates break nothing.
- This reads the disk event by event: only a push that is refused pays for it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

from sidecar.ledger import bounds, seen_ids
from sidecar.ledger.bounds import Slot, TooMany
from sidecar.ledger.id_memory import ID
from sidecar.ledger.statements import sql
from sidecar.metering.events import PushRefused
from sidecar.metering.hour_bounds import TAG_SETS, UNTAGGED
from sidecar.metering.hours import hour_micros
from sidecar.metering.quantities import MICROS_PER_UNIT
from sidecar.settings.dimensions import Aggregation

if TYPE_CHECKING:
    from sidecar.ledger.pushes import PushRequest

SUM_MAX: Final = 2**63 - 1
"""Micros one hour, dimension and tag set can hold: SQLite's integer."""


def known_ids(connection: sqlite3.Connection, requests: Iterable[PushRequest]) -> dict[bytes, bytes]:
    """Return which ids of some requests are known, each with the content it was first sent with."""
    entries = (event.entry for request in requests for event in request.events if event.entry is not None)
    return seen_ids.lookup(connection, entries)


def sum_out_of_range(
    connection: sqlite3.Connection, request: PushRequest, aggregations: Mapping[str, Aggregation], open_from: int
) -> PushRefused | None:
    """Return a refusal for the first event at which a sum leaves 64 bits; None where none does."""
    sums: dict[tuple[int, str, str], int] = {}
    known = known_ids(connection, [request])
    for index, event in enumerate(request.events):
        if aggregations[event.dimension] is not Aggregation.SUM:
            continue
        if event.entry is not None and known.setdefault(event.entry[:ID], event.entry) is not event.entry:
            continue
        bucket = (max(event.at // hour_micros(), open_from), event.dimension, event.tags)
        if bucket not in sums:
            values = dict(zip(("hour", "dimension", "tags"), bucket, strict=True))
            row = connection.execute(sql("bucket_sum"), values).fetchone()
            sums[bucket] = row["sum"] if row else 0
        sums[bucket] += event.micros
        if sums[bucket] > SUM_MAX:
            rule = f"quantity takes the hour's sum of {json.dumps(event.dimension)} above {SUM_MAX // MICROS_PER_UNIT}."
            return PushRefused(status=422, reason="quantity_out_of_range", detail=f"Event {index}: {rule}", index=index)
    return None


def first_beyond(connection: sqlite3.Connection, request: PushRequest, open_from: int, found: TooMany) -> int:
    """Return the first event whose tag set, or key, its hour has no room for."""
    known, new = known_ids(connection, [request]), set()
    for index, event in enumerate(request.events):
        name = event.tags if found.slot.kind == TAG_SETS else event.key
        slot = Slot(found.slot.kind, max(event.at // hour_micros(), open_from), event.dimension)
        if slot != found.slot or name is None or name == UNTAGGED:
            continue
        if event.entry is not None and known.setdefault(event.entry[:ID], event.entry) is not event.entry:
            continue
        if not bounds.present(connection, slot, [name]):
            new.add(name)
        if len(new) > found.room:
            return index
    return len(request.events) - 1
