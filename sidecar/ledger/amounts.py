"""Read and write a dimension's amounts: buckets, rolled amounts and lifetime totals, as values of the core.

Invariants:
- Amounts are exact: decimals as plain text, added up in the core's arithmetic, never SQLite's.
- When an amount moves, the totals of its dimension change in the same transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Final

from sidecar.ledger.decimals import read_amount
from sidecar.ledger.errors import corrupt, decoding
from sidecar.ledger.statements import sql
from sidecar.metering.hour_bounds import TAG_SETS_MAX
from sidecar.metering.push_group import tags_of, tags_text
from sidecar.metering.quantities import Micros, exact_product, micros_to_decimal, plain
from sidecar.metering.rollup import Bucket
from sidecar.metering.shares import Share, amount_of
from sidecar.quick_dataclasses import dataclass, replace
from sidecar.settings.dimensions import Aggregation, Dimension

REMOVED_SINCE: Final = 3
"""The version of the schema that has the table `removed`."""
ACCEPTED_SINCE: Final = 4
"""The version of the schema that has the table `accepted_aws`."""
READINGS_SINCE: Final = 5
"""The version of the schema that has the table `reading`."""
CHECKS: Final = {0: "rows_changed", ACCEPTED_SINCE: "rows_changed_since_4", READINGS_SINCE: "rows_changed_since_5"}
"""Version of the schema → the statement that compares rows it brought."""


@dataclass(kw_only=True, slots=True)
class Totals:
    """One dimension's totals since the ledger began, while a transaction changes them."""

    dimension: str
    sealed: int
    """Micros that left the buckets of sums."""
    accepted: Decimal
    settled: Decimal
    carry: Decimal
    merged: int

    @classmethod
    @decoding()
    def of(cls, connection: sqlite3.Connection, dimension: str) -> Totals:
        """Return them as they are on disk."""
        row = connection.execute(sql("lifetime_amounts"), {"dimension": dimension}).fetchone()
        return cls(
            dimension=dimension,
            sealed=int(row["sealed"]),
            accepted=read_amount(row["accepted"]),
            settled=read_amount(row["settled"]),
            carry=read_amount(row["carry"]),
            merged=row["merged"],
        )

    def save(self, connection: sqlite3.Connection) -> None:
        """Write them back."""
        values = {
            "dimension": self.dimension,
            "sealed": str(self.sealed),
            "accepted": plain(self.accepted),
            "settled": plain(self.settled),
            "carry": plain(self.carry),
            "merged": self.merged,
        }
        connection.execute(sql("lifetime_save"), values)


def check_rows(connection: sqlite3.Connection, version: int = READINGS_SINCE) -> None:
    """Compare every row that is billed from with what was written, in the schema `version`.

    Raises sqlite3.DatabaseError.
    """
    for name in (name for since, name in CHECKS.items() if version >= since):
        changed = connection.execute(sql(name)).fetchone()
        if changed is not None:
            raise corrupt(f"a row of {changed[0]} is not what was written")


@decoding()
def dimension_of(row: sqlite3.Row) -> Dimension:
    """Return a dimension as it was last counted here."""
    return Dimension(
        name=row["dimension"],
        aggregation=Aggregation(row["aggregation"]),
        scale=read_amount(row["scale"]),
        decimals=row["decimals"],
    )


def dimensions_known(connection: sqlite3.Connection) -> dict[str, Dimension]:
    """Return every dimension that was ever counted in this ledger, by name."""
    return {row["dimension"]: dimension_of(row) for row in connection.execute(sql("lifetime_settings"))}


@decoding()
def buckets_of(connection: sqlite3.Connection, dimension: str, hour: int) -> list[Bucket]:
    """Return what came in for one hour, by tags; nothing for an hour without usage.

    Beyond TAG_SETS_MAX tag sets, which an older version may have left, the smallest are in the untagged bucket.
    """
    where = {"hour": hour, "dimension": dimension}
    rows = connection.execute(sql("buckets_of"), {**where, "most": TAG_SETS_MAX + 1}).fetchall()
    (keys,) = connection.execute(sql("unique_keys_count"), where).fetchone() if rows else (0,)
    found = [
        Bucket(tags=tags_of(row["tags"]), sum=row["sum"], max=Micros(row["max"]), last=Micros(row["last"]), unique=keys)
        for row in rows
    ]
    if len(found) > TAG_SETS_MAX:
        found = _merged(found, *micros_of(connection, dimension, hour))
    return sorted(found, key=lambda bucket: bucket.tags)


def _merged(read: list[Bucket], buckets: int, micros: int) -> list[Bucket]:
    """Return the buckets that were read, and all others in the untagged one; `buckets` and `micros` are of all."""
    rest = micros - sum(bucket.sum for bucket in read)
    untagged = next((bucket for bucket in read if not bucket.tags), Bucket())
    tagged = [bucket for bucket in read if bucket.tags]
    return [replace(untagged, sum=untagged.sum + rest, merged=buckets - len(read)), *tagged]


def micros_of(connection: sqlite3.Connection, dimension: str, hour: int) -> tuple[int, int]:
    """Return how many buckets one hour has, and their sum: added up here, where integers have no limit."""
    buckets = micros = 0
    for (one,) in connection.execute(sql("bucket_sums_of"), {"hour": hour, "dimension": dimension}):
        buckets, micros = buckets + 1, micros + one
    return buckets, micros


def open_amount(connection: sqlite3.Connection, dimension: Dimension, hour: int) -> Decimal:
    """Return what an open hour comes to so far, however many tag sets it has."""
    if dimension.aggregation is Aggregation.SUM:
        _, micros = micros_of(connection, dimension.name, hour)
        return exact_product(micros_to_decimal(micros), dimension.scale)
    return amount_of(dimension, buckets_of(connection, dimension.name, hour))


def hours_of(connection: sqlite3.Connection, dimension: str) -> list[int]:
    """Return the numbers of the hours in which a dimension has usage that is not sealed."""
    return [hour for (hour,) in connection.execute(sql("bucket_hours_all"), {"dimension": dimension}).fetchall()]


@decoding()
def waiting_of(connection: sqlite3.Connection, dimension: str) -> list[Share]:
    """Return the amounts of a dimension that wait to be counted in a later hour."""
    rows = connection.execute(sql("rolled_waiting"), {"dimension": dimension}).fetchall()
    return [(tags_of(row["tags"]), read_amount(row["amount"])) for row in rows]


def delete_buckets(connection: sqlite3.Connection, dimension: str, hour: int) -> None:
    """Delete the buckets of an hour whose amount was written elsewhere in this transaction."""
    for name in ("bucket_delete", "unique_keys_delete"):
        connection.execute(sql(name), {"hour": hour, "dimension": dimension})


def roll(
    connection: sqlite3.Connection,
    dimension: str,
    shares: Iterable[Share],
    *,
    from_hour: int,
    origin: str,
    why: str,
    now: datetime,
) -> None:
    """Add amounts to those that wait for the next sealing. Raises sqlite3.IntegrityError for an origin known before."""
    for tags, amount in shares:
        if amount:
            values = {"tags": tags_text(tags), "amount": plain(amount), "from_hour": from_hour, "at": now.isoformat()}
            connection.execute(sql("rolled_add"), {"dimension": dimension, "origin": origin, "why": why, **values})
