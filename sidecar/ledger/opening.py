"""Is this file our ledger, and in the shape we know? Connect, migrate, identify; set aside what cannot be read.

Rules kept here:
- WAL with `synchronous=FULL`: a commit that returned is on disk. `locking_mode=EXCLUSIVE`: no shared memory
  file, and SQLite's own lock stands behind ours.
- A migration and the record of it commit together: a crash leaves the old shape or the new.
- A newer file is read once to learn that it is newer, and left as it is; ours begins beside it.
- After a file was set aside or passed over, the current hour counts as sealed: it may have been sent.

Source: sqlite.org/pragma.html, sqlite.org/wal.html.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from sidecar.ledger import seen_ids, volume
from sidecar.ledger.errors import LedgerError, translated
from sidecar.ledger.statements import migrations, sql
from sidecar.metering.hours import Hour

CACHE_KIB: Final = 1024
WAL_BYTES_KEPT: Final = 8 * 1024 * 1024
"""The log is cut back to this after a checkpoint."""
CHECKED: Final = ("meta", "bucket", "unique_key", "late", "lifetime", "rolled", "usage_record", "request", "handed")
"""Tables checked whole at opening: they are small. A fault among the ids is met when they are read."""
UNREADABLE: Final = frozenset(["ledger_corrupt"])


@dataclass(frozen=True, kw_only=True)
class Owner:
    """Whose ledger it is."""

    workload: str
    product_code: str
    region: str


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A ledger ready for use, and what had to be done for that."""

    connection: sqlite3.Connection = field(repr=False)
    path: Path
    lock: volume.Lock = field(repr=False)
    set_aside: Path | None = None
    """Where the unreadable file is now."""
    passed_over: Path | None = None
    """The newer version's file that lies untouched."""


def open_ledger(path: Path, owner: Owner, now: datetime) -> Opened:
    """The ledger at `path`, or the one begun instead of it. Raises LedgerError."""
    lock = volume.Lock(path)
    try:
        return _open(path, owner, now, lock)
    except LedgerError as exc:
        if exc.reason in UNREADABLE:
            try:
                return replace_unreadable(path, owner, now, lock)
            except BaseException:
                lock.release()
                raise
        lock.release()
        if exc.reason != "ledger_newer_schema":
            raise
    except BaseException:
        lock.release()
        raise
    return _open_beside(path, owner, now)


def _open(path: Path, owner: Owner, now: datetime, lock: volume.Lock) -> Opened:
    connection = connect(path)
    try:
        _ready(connection, path, owner, now)
    except BaseException:
        connection.close()
        raise
    return Opened(connection=connection, path=path, lock=lock)


def replace_unreadable(path: Path, owner: Owner, now: datetime, lock: volume.Lock) -> Opened:
    """Set the file aside and begin a new one, in which the current hour counts as sealed. Raises LedgerError."""
    aside = volume.set_aside(path, now)
    connection = connect(path)
    try:
        _ready(connection, path, owner, now)
    except BaseException:
        connection.close()
        raise
    return Opened(connection=connection, path=path, lock=lock, set_aside=aside)


def _open_beside(path: Path, owner: Owner, now: datetime) -> Opened:
    ours = volume.beside(path, migrations()[-1].version)
    lock = volume.Lock(ours)
    try:
        connection = connect(ours)
        try:
            _ready(connection, ours, owner, now)
        except BaseException:
            connection.close()
            raise
    except BaseException:
        lock.release()
        raise
    return Opened(connection=connection, path=ours, lock=lock, passed_over=path)


def connect(path: Path) -> sqlite3.Connection:
    """A connection that keeps what it commits; nothing of the file is changed yet. Raises LedgerError."""
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, volume.FILE_MODE)
        os.close(handle)
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    except (OSError, sqlite3.Error) as exc:
        raise translated(exc, path) from exc
    connection.row_factory = sqlite3.Row
    return connection


def open_known(path: Path, owner: Owner, now: datetime) -> sqlite3.Connection:
    """Another workload's ledger of the same product and region, in our shape. Raises LedgerError."""
    connection = connect(path)
    try:
        _guarded(lambda: _set_up(connection), path)
        known = version(connection, path)
        if known > migrations()[-1].version:
            raise LedgerError("ledger_newer_schema", f"{path.name} has schema {known}.")
        row = connection.execute(sql("meta")).fetchone() if known else None
        if row is None or (row["product_code"], row["region"]) != (owner.product_code, owner.region):
            raise LedgerError("ledger_of_another", f"{path.name} is of another product or region.")
        _guarded(lambda: _make_durable(connection), path)
        _guarded(lambda: _check(connection), path)
        _guarded(lambda: migrate(connection, now), path)
    except sqlite3.Error as exc:
        connection.close()
        raise translated(exc, path) from exc
    except BaseException:
        connection.close()
        raise
    return connection


def _guarded(step: Callable[[], None], path: Path) -> None:
    try:
        step()
    except (sqlite3.Error, OSError) as exc:
        raise translated(exc, path) from exc


def _ready(connection: sqlite3.Connection, path: Path, owner: Owner, now: datetime) -> None:
    """Bring the file into our shape and see that it is ours."""
    _guarded(lambda: _set_up(connection), path)
    known = version(connection, path)
    if known > migrations()[-1].version:
        raise LedgerError("ledger_newer_schema", f"{path.name} has schema {known}.")
    _guarded(lambda: _make_durable(connection), path)
    if known:
        _guarded(lambda: _check(connection), path)
    _guarded(lambda: migrate(connection, now), path)
    _guarded(lambda: _identify(connection, path, owner, now, first_hour(path, now, begun=known > 0)), path)
    _guarded(lambda: seen_ids.load(connection), path)
    _guarded(lambda: volume.sync_directory(path.parent), path)


def _set_up(connection: sqlite3.Connection) -> None:
    """What holds for this connection alone."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")


def _make_durable(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA page_size = 4096")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"journal_mode is {mode}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")


def _check(connection: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError where a page of the small tables is not what it was."""
    present = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    for table in present.intersection(CHECKED):
        (said,) = connection.execute(f"PRAGMA quick_check('{table}')").fetchone()
        if said != "ok":
            raise corrupt(said)


def corrupt(what: str) -> sqlite3.DatabaseError:
    """The error SQLite would raise if it had met the fault itself."""
    error = sqlite3.DatabaseError(what.strip().splitlines()[0])
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


def version(connection: sqlite3.Connection, path: Path) -> int:
    """The schema of a file, 0 for an empty one. Raises LedgerError."""
    try:
        if not connection.execute(sql("tables_count")).fetchone()[0]:
            return 0
        known = connection.execute(sql("schema_version")).fetchone()[0]
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            raise translated(corrupt("no record of migrations"), path) from exc
        raise translated(exc, path) from exc
    except sqlite3.Error as exc:
        raise translated(exc, path) from exc
    return int(known or 0)


def migrate(connection: sqlite3.Connection, now: datetime) -> None:
    """Take every step the file has not seen; each commits with its record, the first with the table of records."""
    for step in migrations():
        connection.execute("BEGIN IMMEDIATE")
        try:
            if not connection.execute(sql("tables_count")).fetchone()[0]:
                connection.execute(sql("migration_table"))
            if step.version > (connection.execute(sql("schema_version")).fetchone()[0] or 0):
                for statement in step.statements:
                    connection.execute(statement)
                done = {"version": step.version, "name": step.name, "at": now.isoformat()}
                connection.execute(sql("migration_done"), done)
            connection.execute("COMMIT")
        except BaseException:
            rollback(connection)
            raise


def first_hour(path: Path, now: datetime, *, begun: bool) -> Hour:
    """The first hour a new ledger takes usage for: the next one where another may have sealed the current one.

    Another was here if its file lies aside, if ours is the one beside a newer one, or if the beginning was cut off.
    """
    another = begun or any(path.parent.glob(f"{path.name}.corrupt-*")) or path.name.count(".") > 1
    return Hour.at(now).next if another else Hour.at(now)


def _identify(connection: sqlite3.Connection, path: Path, owner: Owner, now: datetime, open_from: Hour) -> None:
    row = connection.execute(sql("meta")).fetchone()
    if row is None:
        first = {
            "ledger": os.urandom(16).hex(),
            "workload": owner.workload,
            "product_code": owner.product_code,
            "region": owner.region,
            "at": now.isoformat(),
            "open_from": open_from.number,
            "turned_at": int(now.timestamp()),
        }
        connection.execute(sql("meta_first"), first)
    elif (row["workload"], row["product_code"], row["region"]) != (owner.workload, owner.product_code, owner.region):
        raise LedgerError("ledger_of_another", f"{path.name} is for {row['product_code']} in {row['region']}.")


def rollback(connection: sqlite3.Connection) -> None:
    """End a transaction that failed, if SQLite has not done so itself."""
    if connection.in_transaction:
        try:
            connection.execute("ROLLBACK")
        except sqlite3.Error:
            pass
