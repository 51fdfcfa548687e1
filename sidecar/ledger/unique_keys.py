"""Keep the keys that hours count, each with a checksum: one that the disk changed would count again.

Every opening checks them all, a million of one hour at most: so SQLite joins them, and Python does nothing for each.
"""

from __future__ import annotations

import sqlite3
import struct
import zlib
from collections.abc import Iterable
from itertools import chain, repeat
from typing import Final

from sidecar.ledger.errors import corrupt, decoding
from sidecar.ledger.statements import sql

CHECKSUMS_SINCE: Final = 7
"""The version of the schema whose keys have checksums."""
KEY: Final = "16s"
"""A key, as bytes."""


def add(connection: sqlite3.Connection, keys: Iterable[tuple[int, str, bytes]]) -> None:
    """Count each (hour, dimension, key) once."""
    for hour, dimension, key in keys:
        values = {"hour": hour, "dimension": dimension, "key": key, "checksum": checksum(hour, dimension, key)}
        connection.execute(sql("unique_keys_add"), values)


def checksum(hour: int, dimension: str, key: bytes) -> int:
    """Return the CRC-32 of a row."""
    return zlib.crc32(key, _begin(hour, dimension))


def _begin(hour: int, dimension: str) -> int:
    return zlib.crc32(f"{hour}|{dimension}".encode())


@decoding()
def check(connection: sqlite3.Connection) -> None:
    """Compare every key with its checksum, once SQLite has checked their length. Raises sqlite3.DatabaseError."""
    part = sql("unique_keys_part")
    for hour, dimension in connection.execute(sql("unique_keys_slots")).fetchall():
        begin = _begin(hour, dimension)
        for first in range(256):  # a part is all keys with one first byte
            which = {"first": bytes([first]), "last": bytes([first]) + b"\xff" * 15}
            keys, written = connection.execute(part, {"hour": hour, "dimension": dimension, **which}).fetchone()
            if keys and (len(keys) % struct.calcsize(KEY) or _checksums(keys, begin) != written):
                raise corrupt("a unique key is not what was written")


def _checksums(keys: bytes, begin: int) -> str:
    """Return the checksums of many keys of one hour and dimension, as SQLite joins those that were written."""
    return ",".join(map(str, map(zlib.crc32, chain.from_iterable(struct.iter_unpack(KEY, keys)), repeat(begin))))
