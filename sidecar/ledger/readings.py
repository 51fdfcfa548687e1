"""Read and write what sources of usage that is pulled were last read to be.

Invariants:
- Readings are written with the push that counts what they grew by, in its transaction (`pushes`), and only there.
- A series is kept for as long as the ledger is: one that comes back is not counted again from zero.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from sidecar.ledger.decimals import read_amount
from sidecar.ledger.errors import decoding
from sidecar.ledger.statements import sql
from sidecar.metering.quantities import plain
from sidecar.metering.readings import Reading

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)

Row = tuple[str, str, str, str, int, str]


def rows(source: str, readings: Iterable[Reading]) -> tuple[Row, ...]:
    """Return the readings of a source as they are on disk."""
    return tuple(
        (source, one.series, plain(one.value), plain(one.rest), (one.at - EPOCH) // MICROSECOND, one.note)
        for one in readings
    )


def keep(connection: sqlite3.Connection, of: Sequence[Row]) -> None:
    """Write rows, inside the caller's transaction."""
    connection.execute(sql("readings_keep"), {"rows": json.dumps(of, separators=(",", ":"))})


@decoding()
def of_source(connection: sqlite3.Connection, source: str) -> dict[str, Reading]:
    """Return what each series of a source was last read to be. Raises sqlite3.DatabaseError."""
    return {row["series"]: _reading(row) for row in connection.execute(sql("readings_of"), {"source": source})}


def _reading(row: sqlite3.Row) -> Reading:
    return Reading(
        series=row["series"],
        value=read_amount(row["value"]),
        rest=read_amount(row["rest"]),
        at=EPOCH + row["at"] * MICROSECOND,
        note=row["note"],
    )
