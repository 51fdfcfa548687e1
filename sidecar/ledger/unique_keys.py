"""Keep the keys that hours count, each with a checksum: one that the disk changed would count again."""

from __future__ import annotations

import sqlite3
import zlib
from collections.abc import Iterable
from typing import Final

from sidecar.ledger.errors import corrupt, decoding
from sidecar.ledger.statements import sql

CHECKSUMS_SINCE: Final = 7
"""The version of the schema whose keys have checksums."""


def add(connection: sqlite3.Connection, keys: Iterable[tuple[int, str, bytes]]) -> None:
    """Count each (hour, dimension, key) once."""
    for hour, dimension, key in keys:
        values = {"hour": hour, "dimension": dimension, "key": key, "checksum": checksum(hour, dimension, key)}
        connection.execute(sql("unique_keys_add"), values)


def checksum(hour: int, dimension: str, key: bytes) -> int:
    """Return the CRC-32 of a row."""
    return zlib.crc32(key, zlib.crc32(f"{hour}|{dimension}".encode()))


@decoding()
def check(connection: sqlite3.Connection) -> None:
    """Compare every key with its checksum. Raises sqlite3.DatabaseError."""
    for hour, dimension, key, written in connection.execute(sql("unique_keys_all")):
        if written not in (None, checksum(hour, dimension, key)):  # None: an older version counted it
            raise corrupt("a unique key is not what was written")
