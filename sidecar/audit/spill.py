"""Keep rows in a temporary SQLite file and give them back sorted: memory holds one hour and dimension at a time.

Invariants:
- Rows are appended without an index and sorted once, by SQLite's merge sort, which works in files.
- Nothing here outlives the process, however it ends: the file has no name.

Sources: SQLite, "Temporary Databases", "PRAGMA cache_size", "PRAGMA temp_store".
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from itertools import groupby
from typing import Any, Final

from sidecar.audit.feed import FeedRow
from sidecar.audit.overbilled import Overbilled
from sidecar.audit.rows import Difference, Row

CACHE_KIB: Final = 16 * 1024
TEMPORARY: Final = ""
"""SQLite's name for a file of its own, in TMPDIR, that has no name in the directory and ends with the process."""


class SpillFailed(Exception):
    """Rows cannot be kept. The text names the directory, the fault and the fix."""


@contextmanager
def temporary_spill() -> Iterator[Spill]:
    """Give a place for rows that is removed afterwards. Raises SpillFailed."""
    try:
        with closing(Spill()) as spill:
            yield spill
    except sqlite3.Error as exc:
        fix = "Set TMPDIR to a directory with more room."
        raise SpillFailed(f"rows cannot be kept in a temporary file: {exc}. {fix}") from exc


class Spill:
    """The rows of one comparison, on disk."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(TEMPORARY, isolation_level=None)
        for statement in (
            "PRAGMA temp_store = FILE",
            f"PRAGMA cache_size = -{CACHE_KIB}",
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            _table("line", Row._fields),
            _table("feed", FeedRow._fields),
            _table("revision", FeedRow._fields),
            _table("overbilled", Overbilled._fields),
            "CREATE TABLE difference (number INTEGER PRIMARY KEY, document TEXT)",
            "CREATE TABLE several (record_id TEXT PRIMARY KEY) WITHOUT ROWID",
        ):
            self._connection.execute(statement)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows of ours or of AWS's."""
        self._append("line", len(Row._fields), rows)

    def add_feed(self, rows: Iterable[FeedRow]) -> None:
        """Add lines of the feed."""
        self._append("feed", len(FeedRow._fields), rows)

    def add_newest(self, rows: Iterable[FeedRow]) -> None:
        """Add the newest revisions."""
        self._append("revision", len(FeedRow._fields), rows)

    def add_differences(self, found: Iterable[Difference]) -> None:
        """Add differences, in the order in which they are shown."""
        self._append("difference", 2, ((None, json.dumps(one.as_json())) for one in found))

    def add_overbilled(self, rows: Iterable[Overbilled]) -> None:
        """Add what AWS billed too much; rows that are nothing of the kind are left out."""
        self._append("overbilled", len(Overbilled._fields), (row for row in rows if int(row.micros) > 0))

    def find_several(self) -> None:
        """Find metering record ids that stand in more than one hour or dimension. Before `hours` and `several`."""
        self._connection.execute(
            "INSERT INTO several SELECT record_id FROM line WHERE record_id <> '' GROUP BY record_id"
            " HAVING min(hour) <> max(hour) OR min(dimension) <> max(dimension)"
        )

    def several(self) -> Iterator[list[Row]]:
        """Yield the rows of each such id, of each hour and dimension one."""
        found = self._connection.execute(
            f"SELECT {_columns(Row._fields)} FROM several JOIN line USING (record_id)"
            " GROUP BY record_id, hour, dimension ORDER BY record_id, hour, dimension"
        )
        for _, rows in groupby(map(Row._make, found), key=lambda row: row.record_id):
            yield list(rows)

    def hours(self) -> Iterator[list[Row]]:
        """Yield the rows of each hour and dimension, oldest first."""
        found = self._connection.execute(
            f"SELECT {_columns(Row._fields)} FROM line"
            " WHERE record_id NOT IN (SELECT record_id FROM several) ORDER BY hour, dimension"
        )
        for _, rows in groupby(map(Row._make, found), key=lambda row: (row.hour, row.dimension)):
            yield list(rows)

    def feed_by_usage(self) -> Iterator[FeedRow]:
        """Yield the feed's lines, of each usage the newest revision first."""
        return self._feed("feed", "usage, valid_from DESC, updated DESC")

    def newest_by_day(self) -> Iterator[FeedRow]:
        """Yield the newest revisions by day, Region and dimension."""
        return self._feed("revision", "day, region, dimension, agreement")

    def differences(self, limit: int = -1) -> Iterator[dict[str, Any]]:
        """Yield the differences as JSON values; a negative limit means all."""
        found = self._connection.execute("SELECT document FROM difference ORDER BY number LIMIT ?", (limit,))
        return (json.loads(document) for (document,) in found)

    def overbilled(self) -> Iterator[Overbilled]:
        """Yield what AWS billed too much, by month, account, agreement and currency."""
        order = 'month, account, agreement, currency, "when", dimension'
        statement = f"SELECT {_columns(Overbilled._fields)} FROM overbilled ORDER BY {order}"
        return map(Overbilled._make, self._connection.execute(statement))

    def _feed(self, table: str, order: str) -> Iterator[FeedRow]:
        statement = f"SELECT {_columns(FeedRow._fields)} FROM {table} ORDER BY {order}"
        for row in self._connection.execute(statement):
            found = FeedRow._make(row)
            yield found._replace(quantity=int(found.quantity))

    def _append(self, table: str, width: int, rows: Iterable[tuple[Any, ...]]) -> None:
        statement = f"INSERT INTO {table} VALUES ({', '.join('?' * width)})"
        self._connection.execute("BEGIN")
        self._connection.executemany(statement, rows)
        self._connection.execute("COMMIT")


def _columns(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _table(name: str, columns: Iterable[str]) -> str:
    """Return a table of text, with the numbers that are sorted or added up."""
    numbers = ("hour", "quantity") if name == "line" else ()
    words = (f'"{column}" {"INTEGER" if column in numbers else "TEXT"}' for column in columns)
    return f"CREATE TABLE {name} ({', '.join(words)})"
