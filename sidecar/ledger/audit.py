"""Write the audit copy: each record as a line of JSON with its requests, answers and links, then the totals.

Invariants:
- A line of a record says whose it is: lines of many ledgers can be read together.
- A page ends at a record and names it; the next page begins behind that one, whatever was added meanwhile.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Mapping
from typing import Final

from sidecar.ledger import records
from sidecar.ledger.balance import Balance
from sidecar.ledger.errors import decoding
from sidecar.ledger.statements import sql
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import plain
from sidecar.metering.records import UsageRecord, kind

PAGE_END: Final = re.compile(r"([0-9]{1,12}):(.+)", re.DOTALL)
"""The record a page ends with, as its link says it: the number of its hour, and its dimension."""


def page(connection: sqlite3.Connection, after: str) -> tuple[list[str], str]:
    """Return the lines of the records behind `after` ("" for the first page) and the record they end with.

    ([], "") behind the last record. Raises ValueError for an `after` that no page gave.
    """
    found = records.page(connection, _page_end(after) if after else records.START)
    following = f"{found[-1].hour.number}:{found[-1].dimension}" if found else ""
    owner = connection.execute(sql("meta")).fetchone()
    return [_line(connection, owner, record) for record in found], following


def total(balance: Balance) -> str:
    """Return one dimension's totals as a line of JSON."""
    return json.dumps(
        {
            "record": "total",
            "dimension": balance.dimension,
            "accepted": plain(balance.accepted),
            "settled": plain(balance.settled),
            "waiting": plain(balance.waiting),
            "written_off": plain(balance.written_off),
            "over_billed": plain(balance.over_billed),
            "events": balance.events,
            "balanced": balance.balanced,
        }
    )


def removed(row: Mapping[str, object]) -> str:
    """Return what a removed ledger came to, of one dimension, as a line of JSON."""
    return json.dumps({"record": "removed", **row})


def _page_end(text: str) -> tuple[int, str]:
    found = PAGE_END.fullmatch(text)
    if found is None:
        raise ValueError("no page ended there.")
    return int(found[1]), found[2]


@decoding()
def _line(connection: sqlite3.Connection, owner: sqlite3.Row, record: UsageRecord) -> str:
    key = {"hour": record.hour.number, "dimension": record.dimension}
    fields: dict[str, object] = {
        "record": "usage",
        "workload": owner["workload"],
        "product_code": owner["product_code"],
        "region": owner["region"],
        "hour": record.hour.start.isoformat(),
        "dimension": record.dimension,
        "state": record.state.value,
        "quantity": plain(record.quantity),
        "aws_quantity": None if record.aws_quantity is None else plain(record.aws_quantity),
        "metering_record_id": record.record_id,
        "last_error": record.last_error,
        "attempts": record.attempts,
        "rolled_to": record.rolled_to and record.rolled_to.start.isoformat(),
        "kind": kind(record),
        "requests": [_request(row) for row in connection.execute(sql("requests_of"), key)],
        "answers": [dict(row) for row in connection.execute(sql("attempts_of"), key)],
        "rolled_from": [_link(row) for row in connection.execute(sql("rolled_into"), key)],
        "late_from": [_link(row) for row in connection.execute(sql("late_into"), key)],
    }
    return json.dumps(fields)


def _request(row: sqlite3.Row) -> dict[str, object]:
    return {**dict(row), "body": json.loads(row["body"])}


def _link(row: sqlite3.Row) -> dict[str, object]:
    """Return a link with its hour as people write it."""
    return {**dict(row), "from_hour": Hour.numbered(row["from_hour"]).start.isoformat()}
