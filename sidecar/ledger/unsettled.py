"""List what the ledger still holds when its workload ends, for a log that outlives the volume.

Invariants:
- Everything that waits is listed once: what is listed for a dimension adds up to its waiting amount.
- Whole: a record comes with the request in force to the byte and its digest, so that it can be sent or
  billed by hand; an amount comes with its tags and the hour it was used in.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from decimal import Decimal

from sidecar.ledger.amounts import buckets_of, dimension_of, hours_of
from sidecar.ledger.decimals import read_amount
from sidecar.ledger.errors import decoding
from sidecar.ledger.records import in_state
from sidecar.ledger.statements import sql
from sidecar.metering.events import Tags
from sidecar.metering.hours import Hour
from sidecar.metering.push_group import tags_of
from sidecar.metering.quantities import plain
from sidecar.metering.records import UsageRecord
from sidecar.metering.shares import shares_of
from sidecar.metering.states import State
from sidecar.settings.dimensions import Dimension

UNSETTLED = (State.SEALED, State.DISPUTED, State.EXPIRED, State.REJECTED)

Entry = dict[str, object]
"""What waits, as JSON values; `left` says what kind it is."""


@decoding()
def entries(connection: sqlite3.Connection, configured: Mapping[str, Dimension]) -> list[Entry]:
    """Return all of it: records first, then amounts by dimension."""
    left = [record_entry(record) for state in UNSETTLED for record in in_state(connection, state)]
    for row in connection.execute(sql("lifetimes")).fetchall():
        dimension = configured.get(row["dimension"]) or dimension_of(row)
        left += _open(connection, dimension)
        if carry := read_amount(row["carry"]):
            left.append(amount_entry("carried", dimension.name, carry))
        left += _rolled(connection, dimension.name)
    return left + [_linked_amount("handed", row) for row in connection.execute(sql("handed_waiting")).fetchall()]


def record_entry(record: UsageRecord) -> Entry:
    """Return a record, whole."""
    if record.request is None:
        raise ValueError(f"{record.dimension} in {record.hour} has no request.")
    return {
        "left": "record",
        "hour": record.hour.start.isoformat(),
        "dimension": record.dimension,
        "state": record.state.value,
        "quantity": plain(record.quantity),
        "request": json.loads(record.request.as_json()),
        "digest": record.request.digest,
        "attempts": record.attempts,
        "definite": record.definite,
        "last_error": record.last_error,
    }


def _open(connection: sqlite3.Connection, dimension: Dimension) -> Iterator[Entry]:
    for number in hours_of(connection, dimension.name):
        for tags, share in shares_of(dimension, buckets_of(connection, dimension.name, number)):
            hour = Hour.numbered(number).start.isoformat()
            yield {**amount_entry("open", dimension.name, share, tags), "hour": hour}


def _rolled(connection: sqlite3.Connection, dimension: str) -> Iterator[Entry]:
    for row in connection.execute(sql("rolled_waiting"), {"dimension": dimension}).fetchall():
        yield {**_linked_amount("rolled_forward", {**row, "dimension": dimension}), "origin": row["origin"]}


def _linked_amount(left: str, row: Mapping[str, object] | sqlite3.Row) -> Entry:
    entry = amount_entry(left, str(row["dimension"]), read_amount(str(row["amount"])), tags_of(str(row["tags"])))
    return {**entry, "from_hour": Hour.numbered(int(str(row["from_hour"]))).start.isoformat()}


def amount_entry(left: str, dimension: str, quantity: Decimal, tags: Tags = ()) -> Entry:
    """Return an amount that waits; `left` says how."""
    return {"left": left, "dimension": dimension, "quantity": plain(quantity), "tags": dict(tags)}
