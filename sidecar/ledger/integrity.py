"""Check a ledger's tables, rows and values, and raise where one is not what was written.

Invariants:
- The whole file is checked: an index that lost a row would hide a record from the one who bills it, and what is written
  to a page that is free by mistake is written over another.
- A row that is billed from is compared with what it was when it was written, a request with its digest.
- Everything that later passes decode is decoded once, so that what cannot be is met before the file is in use.
- Ids and keys are compared with their sums and checksums: one that changed would count again.

Sources: sqlite.org/pragma.html (integrity_check), sqlite.org/fileformat2.html (the database header).
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from sidecar.ledger import balance, records, seen_ids, unique_keys, unsettled, wal
from sidecar.ledger.amounts import ACCEPTED_SINCE, READINGS_SINCE, REMOVED_SINCE, check_rows
from sidecar.ledger.errors import corrupt
from sidecar.ledger.statements import sql
from sidecar.metering.hours import counts_otherwise

TABLES: Final = (
    *("meta", "bucket", "unique_key", "late", "lifetime", "rolled", "usage_record", "request", "attempt", "handed"),
    *("seen", "seen_before", "seen_log", "ids_given"),
)
"""Tables of every version of the schema."""
SINCE: Final = {
    "removed": REMOVED_SINCE,
    "accepted_aws": ACCEPTED_SINCE,
    "reading": READINGS_SINCE,
    "seen_sum": seen_ids.SUMS_SINCE,
}
"""More of them → the version of the schema that brought each."""
HEADER_BYTES: Final = 100
HEADER_FIXED: Final[Mapping[tuple[int, int], frozenset[bytes]]] = {
    (16, 18): frozenset([b"\x10\x00"]),  # 4096 bytes a page
    (18, 20): frozenset([b"\x01\x01", b"\x02\x02"]),  # rollback journal, at the beginning; WAL
    (20, 24): frozenset([b"\x00\x40\x20\x20"]),
    (44, 48): frozenset([bytes(4), b"\x00\x00\x00\x04"]),  # without and with tables
    (56, 60): frozenset([bytes(4), b"\x00\x00\x00\x01"]),  # UTF-8
}
"""From and to which byte → what ours say; for other values SQLite has meanings such as "read-only", and no error."""
ERROR_CODE: Final = re.compile(r"error code=([0-9]+)")
"""A result code of SQLite in a text of its check."""
ROWS_SINCE: Final = 2
"""The version of the schema whose rows say what they were when they were written."""


def check_header(header: bytes) -> None:
    """Check the first bytes of a file; an empty one is right. Raises sqlite3.DatabaseError."""
    if header and any(header[slice(*part)] not in right for part, right in HEADER_FIXED.items()):
        raise corrupt("the header is not what was written")


def check_header_of(path: Path, handle: int) -> None:
    """Check the header of an open file, undoing a beginning that a power failure interrupted. Raises sqlite3.Error."""
    try:
        check_header(os.pread(handle, HEADER_BYTES, 0))
    except sqlite3.DatabaseError:
        if not _was_beginning(path):
            raise
        with closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as connection:
            connection.execute("PRAGMA schema_version")  # reading has SQLite roll back what its journal holds
        check_header(os.pread(handle, HEADER_BYTES, 0))


def _was_beginning(path: Path) -> bool:
    """Return whether a rollback journal says so: there is one only until the first page is on disk, and no log yet."""
    journal = path.with_name(f"{path.name}-journal")
    return journal.is_file() and not wal.path_of(path).exists()


def check(connection: sqlite3.Connection, version: int) -> None:
    """Check a file with the schema `version`, 0 for an empty one. Raises sqlite3.DatabaseError; changes nothing."""
    try:
        _check(connection, version)
    except sqlite3.OperationalError as exc:
        if getattr(exc, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
            # The statements are right: the schema is not ours.
            raise corrupt(str(exc)) from exc
        raise


def _check(connection: sqlite3.Connection, version: int) -> None:
    if version:
        _check_tables(connection, [*TABLES, *(table for table, since in SINCE.items() if version >= since)])
    if version >= seen_ids.SUMS_SINCE:
        seen_ids.check(connection, version)
    if version >= unique_keys.CHECKSUMS_SINCE:
        unique_keys.check(connection)
    if version >= ROWS_SINCE:
        check_rows(connection, version)
        row = connection.execute(sql("meta")).fetchone()
        # Else its beginning was cut off: nothing is in it. Or its hours have another length: opening refuses it.
        if row is not None and not counts_otherwise(row["open_from"]):
            _decode(connection)
            if version >= ACCEPTED_SINCE:
                balance.differences(connection)


def _check_tables(connection: sqlite3.Connection, tables: Iterable[str]) -> None:
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for table in tables:
        if table not in present:
            raise corrupt(f"there is no table {table}")
    results = [text for (text,) in connection.execute("PRAGMA integrity_check")]
    if results != ["ok"]:
        raise _fault(results)


def _fault(results: Sequence[str]) -> sqlite3.Error:
    """Return the error that SQLite's check tells in its texts: a page that the disk did not read is no damage."""
    codes = [int(code) for text in results for code in ERROR_CODE.findall(text)]
    unread = next((code for code in codes if code & 0xFF == sqlite3.SQLITE_IOERR), None)
    if unread is None:
        return corrupt(results[0])
    error = sqlite3.OperationalError(results[0].strip().splitlines()[0])
    error.sqlite_errorcode = unread
    return error


def _decode(connection: sqlite3.Connection) -> None:
    """Read what a pass reads."""
    unsettled.entries(connection, {})
    records.open_records(connection)
    balance.summary(connection, 0)
    balance.totals(connection, {})
    records.failing_since(connection)
