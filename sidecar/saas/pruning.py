"""Delete what nothing waits for any more: ids after a day, settled records and their trail after a month.

Invariants:
- Totals are never deleted, nor a record that is not settled or rolled forward.
- Little is deleted at once: pushes go on in between.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection, delete, select, tuple_

from sidecar.metering.hours import Hour
from sidecar.saas.pushes import IDS_KEPT
from sidecar.saas.record_rows import FINAL
from sidecar.saas.tables import attempt, event_id, hour_count, late, request, rolled, usage_record

RETENTION: Final = timedelta(days=35)
"""A month's bill and some days."""
PAGE: Final = 5000


def prune(connection: Connection, now: datetime) -> bool:
    """Delete a page of each kind; return whether there may be more."""
    old = Hour.at(now - RETENTION).number
    connection.execute(delete(hour_count).where(hour_count.c.hour < old))  # a replica of a version before left them
    counts = (_ids(connection, Hour.at(now - IDS_KEPT)), _records(connection, Hour.at(now - RETENTION)))
    return max(counts) >= PAGE


def _ids(connection: Connection, before: Hour) -> int:
    old = select(event_id.c.id).where(event_id.c.hour < before.number).order_by(event_id.c.hour).limit(PAGE)
    return connection.execute(delete(event_id).where(event_id.c.id.in_(old))).rowcount


def _records(connection: Connection, before: Hour) -> int:
    r = usage_record.c
    final = [state.value for state in FINAL]
    query = select(r.customer, r.dimension, r.hour).where(r.hour < before.number, r.state.in_(final)).order_by(r.hour)
    old = [tuple(row) for row in connection.execute(query.limit(PAGE))]
    if not old:
        return 0
    for table in (usage_record, attempt, request):
        record = tuple_(table.c.customer, table.c.dimension, table.c.hour)
        connection.execute(delete(table).where(record.in_(old)))
    connection.execute(delete(late).where(late.c.hour < before.number))
    connection.execute(delete(rolled).where(rolled.c.into_hour < before.number))
    return len(old)
