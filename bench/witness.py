"""Reads a ledger after its server was killed: what it holds, whether it is sound, how big it is.

Nothing of a server's own reading is used: plain SQL on the file that is left, its log included. Only the
digest by which the sidecar remembers an id is the sidecar's own function.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Final

from lib import Server

from sidecar.ledger.volume import MOUNTINFO, file_system

MICROS: Final = 1_000_000
APPEND: Final = b"\0" * 4096
APPENDS: Final = 200


def ledger_file(server: Server) -> Path:
    """The one ledger of this server."""
    pattern = "ledger.db" if server.side == "baseline" else "ledger-*.sqlite3*"
    found = [path for path in Path(server.home).glob(pattern) if not path.name.endswith(("-wal", "-shm", ".lock"))]
    if len(found) != 1:
        raise SystemExit(f"{server.side}: expected one ledger, found {[path.name for path in found]}")
    return found[0]


def total(server: Server) -> int:
    """The sum of all quantities in the ledger; every event here is worth 1."""
    with closing(sqlite3.connect(ledger_file(server))) as connection:
        if server.side == "baseline":
            return int(connection.execute("SELECT coalesce(sum(quantity), 0) FROM usage").fetchone()[0])
        rows = connection.execute("SELECT events, pushed_units, pushed_micros, sealed FROM lifetime").fetchall()
        events, units, micros = (sum(row[column] for row in rows) for column in range(3))
        counted = sum(int(sealed) for *_, sealed in rows)
        counted += sum(one for (one,) in connection.execute("SELECT sum FROM bucket"))
        if counted != units * MICROS + micros or events != units:
            raise SystemExit(f"the ledger disagrees with itself: {events} events, {units} pushed, {counted} micros")
        return counted // MICROS


def missing(server: Server, ids: Iterable[str]) -> int:
    """How many of these ids the ledger does not know."""
    with closing(sqlite3.connect(ledger_file(server))) as connection:
        if server.side == "baseline":
            known = {one for (one,) in connection.execute("SELECT id FROM usage")}
            return sum(one not in known for one in ids)
        from sidecar.ledger.id_memory import ENTRY, ID
        from sidecar.metering.events import id_digest

        known = {one for (one,) in connection.execute("SELECT id FROM seen UNION ALL SELECT id FROM seen_before")}
        for (log,) in connection.execute("SELECT entries FROM seen_log"):
            known.update(log[at : at + ID] for at in range(0, len(log), ENTRY))
        return sum(id_digest(one)[:ID] not in known for one in ids)


def sound(server: Server) -> str:
    """What `PRAGMA integrity_check` says; "ok" when all is well."""
    with closing(sqlite3.connect(ledger_file(server))) as connection:
        return "; ".join(one for (one,) in connection.execute("PRAGMA integrity_check"))


def size(server: Server) -> int:
    """Bytes of the ledger with its log written back; of a copy, while there are no pushes, as the server lives on."""
    path = ledger_file(server)
    with tempfile.TemporaryDirectory(prefix="entitlement-bench-") as directory:
        copy = Path(directory) / path.name
        shutil.copy(path, copy)
        log = path.with_name(path.name + "-wal")
        if log.exists():
            shutil.copy(log, directory)
        with closing(sqlite3.connect(copy)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return copy.stat().st_size


def disk() -> tuple[float, str]:
    """Median milliseconds of 4 KiB appended and fdatasync'ed where the ledgers of a run are, and the file system."""
    with tempfile.TemporaryDirectory(prefix="entitlement-bench-") as directory:
        kind = file_system(Path(directory).resolve(), MOUNTINFO.read_text("utf-8", "replace"))
        handle = os.open(Path(directory) / "append", os.O_WRONLY | os.O_CREAT)
        took = []
        for _ in range(APPENDS):
            os.write(handle, APPEND)
            began = time.perf_counter_ns()
            os.fdatasync(handle)
            took.append((time.perf_counter_ns() - began) / 1e6)
        os.close(handle)
    return median(took), kind
