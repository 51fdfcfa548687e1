"""Open a ledger's file: connect, migrate, check whose it is; set aside what cannot be read.

Invariants:
- WAL with `synchronous=FULL`: a commit that returned is on disk. `locking_mode=EXCLUSIVE`: no shared memory
  file, and SQLite's own lock stands behind ours.
- A migration and the record of it commit together: a crash leaves the old shape or the new. A new ledger is begun in
  one transaction: a crash leaves an empty file, for which the current hour is as open as before.
- A newer file is read once to learn that it is newer, and left as it is; ours begins beside it.
- A file and its log are checked before anything is written to them. Where the end of the log is torn, what is left of
  it is written over before the first commit. The log is written again: after a failed sync it may be in memory only.
- A file is set aside when it was found damaged twice, and the disk read all of it in between: a single read that failed
  can look like damage.
- After a file was set aside or passed over, the current hour counts as sealed: it may have been sent.

Sources: sqlite.org/pragma.html, sqlite.org/wal.html.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Final

from sidecar.ledger import integrity, seen_ids, volume, wal
from sidecar.ledger.errors import FAILURES, LedgerError, as_ledger_error, corrupt, let_go
from sidecar.ledger.kept_file import sync_directory
from sidecar.ledger.statements import Migration, migrations, sql
from sidecar.ledger.transactions import transaction
from sidecar.metering.hours import Hour, counts_as_here
from sidecar.quick_dataclasses import dataclass, field, replace

CACHE_KIB: Final = 512
WAL_BYTES_KEPT: Final = 8 * 1024 * 1024
"""The log is cut back to this after a checkpoint."""

OnDoubt = Callable[[Path], object]
"""A function that is called with a ledger whose last commit is not whole and is left out (`wal`)."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The workload, product and region a ledger belongs to; the region is empty while it is not known."""

    workload: str
    product_code: str
    """What names the product in a ledger that is begun: of one without a product code its product ID."""
    region: str
    product_id: str = ""
    """Of a product sold by contract: what named it in ledgers that were begun before it had a product code here."""

    def is_of(self, product: str) -> bool:
        """Return whether a ledger that names this product is one of this owner's product."""
        return product in [one for one in (self.product_code, self.product_id) if one]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A ledger ready for use, and what was done to get it ready."""

    connection: sqlite3.Connection = field(repr=False)
    path: Path
    lock: volume.Lock = field(repr=False)
    set_aside: Path | None = None
    """Where the unreadable file was put."""
    passed_over: Path | None = None
    """The newer version's file, left untouched."""
    on_doubt: OnDoubt | None = None
    """The function that it was opened with, for when it is opened again."""


def open_ledger(path: Path, owner: Owner, now: datetime, on_doubt: OnDoubt | None = None) -> Opened:
    """Return the ledger at `path`, or the one begun instead of it. Raises LedgerError."""
    lock = volume.Lock(path)
    try:
        return _open(path, owner, now, lock, on_doubt)
    except BaseException as exc:
        lock.release()
        if not isinstance(exc, LedgerError) or exc.reason != "ledger_newer_schema":
            raise
    return _open_beside(path, owner, now, on_doubt)


def _open(path: Path, owner: Owner, now: datetime, lock: volume.Lock, on_doubt: OnDoubt | None) -> Opened:
    volume.finish_setting_aside(path, now)
    for ready in (_ready_connection, open_again):
        try:
            return Opened(connection=ready(path, owner, now, on_doubt), path=path, lock=lock, on_doubt=on_doubt)
        except LedgerError as exc:
            if exc.reason != "ledger_corrupt":
                raise
    return replace(_replace_damaged(path, owner, now, lock), on_doubt=on_doubt)


def open_again(
    path: Path,
    owner: Owner,
    now: datetime,
    on_doubt: OnDoubt | None = None,
    begin: Callable[[sqlite3.Connection], object] | None = None,
) -> sqlite3.Connection:
    """Return a new connection to a ledger that was found damaged once, after `begin`. No other may be open.

    Raises LedgerError: `ledger_io_error` where the disk does not read the file, `ledger_corrupt` where it is damaged.
    """
    try:
        for part in (path, wal.path_of(path)):
            volume.read_through(part)
    except OSError as exc:
        raise as_ledger_error(exc, path) from exc
    connection = _ready_connection(path, owner, now, on_doubt)
    try:
        if begin:
            with transaction(connection):
                begin(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _replace_damaged(path: Path, owner: Owner, now: datetime, lock: volume.Lock) -> Opened:
    """Set the file aside and begin a new one, in which the current hour counts as sealed. Raises LedgerError."""
    aside = volume.set_aside(path, now)
    try:
        return Opened(connection=_ready_connection(path, owner, now), path=path, lock=lock, set_aside=aside)
    except LedgerError as exc:
        exc.set_aside = aside
        raise


def _open_beside(path: Path, owner: Owner, now: datetime, on_doubt: OnDoubt | None) -> Opened:
    ours = volume.beside(path, migrations()[-1].version)
    lock = volume.Lock(ours)
    try:
        connection = _ready_connection(ours, owner, now, on_doubt)
        return Opened(connection=connection, path=ours, lock=lock, passed_over=path, on_doubt=on_doubt)
    except BaseException:
        lock.release()
        raise


def _ready_connection(path: Path, owner: Owner, now: datetime, on_doubt: OnDoubt | None = None) -> sqlite3.Connection:
    """Return a connection to our own ledger at `path`, in the newest shape, begun if there is none."""
    with _opened(path, on_doubt) as (connection, known, log):
        integrity.check(connection, known)
        _make_durable(connection, path, log)
        if known == 0:
            _begin(connection, path, owner, now)
        else:
            migrate(connection, now)
            _identify(connection, path, owner, now, first_hour(path, now, begun=True))
        seen_ids.load(connection)
        sync_directory(path.parent)
    return connection


def open_known(path: Path, owner: Owner, now: datetime, on_doubt: OnDoubt | None = None) -> sqlite3.Connection:
    """Return a connection to another workload's ledger of the same product and region. Raises LedgerError."""
    if not path.exists():
        raise LedgerError("ledger_of_another", f"{path.name} was removed by another process.")
    with _opened(path, on_doubt) as (connection, known, log):
        integrity.check(connection, known)  # first: a changed byte could make it look like another product's
        row = connection.execute(sql("meta")).fetchone() if known else None
        regions = (owner.region, "")  # empty: its workload never knew it, and the volume is in this one
        if row is None or not counts_as_here(row["open_from"]):
            raise LedgerError("ledger_of_another", f"{path.name} has nothing that counts here.")
        if not owner.is_of(row["product_code"]) or row["region"] not in regions:
            raise LedgerError("ledger_of_another", f"{path.name} is of another product or region.")
        _make_durable(connection, path, log)
        migrate(connection, now)
    return connection


def open_copy(path: Path, now: datetime, on_doubt: OnDoubt) -> sqlite3.Connection:
    """Return a connection to a copy of any workload's ledger, in the newest shape. Raises LedgerError."""
    with _opened(path, on_doubt) as (connection, known, log):
        integrity.check(connection, known)
        _make_durable(connection, path, log)
        migrate(connection, now)
    return connection


@contextmanager
def _opened(path: Path, on_doubt: OnDoubt | None) -> Iterator[tuple[sqlite3.Connection, int, wal.Finding]]:
    """Yield a connection, the version of the file's schema and what its log is like; close it where the block fails.

    Raises LedgerError for every failure of SQLite or the system, and for a newer schema.
    """
    connection, log = connect(path, on_doubt)
    try:
        _set_up(connection)
        known = schema_version(connection)
        if known > migrations()[-1].version:
            raise LedgerError("ledger_newer_schema", f"{path.name} has schema {known}.")
        yield connection, known, log
    except BaseException as exc:
        let_go(exc)
        connection.close()
        if isinstance(exc, FAILURES):
            raise as_ledger_error(exc, path) from exc
        raise


def connect(path: Path, on_doubt: OnDoubt | None = None) -> tuple[sqlite3.Connection, wal.Finding]:
    """Return a connection and what the log is like; nothing of the file is changed yet. Raises LedgerError.

    Without `on_doubt`, a ledger whose last commit is in doubt counts as damaged.
    """
    try:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, volume.FILE_MODE)
        try:
            integrity.check_header_of(path, handle)
        finally:
            os.close(handle)
        log = wal.inspect(path)
        if log.damage:
            raise corrupt(f"{wal.path_of(path).name}: {log.damage}")
        if log.in_doubt:  # said before SQLite has the file: it deletes the log when it closes
            if not on_doubt:
                raise corrupt(f"{wal.path_of(path).name}: its last commit is not whole")
            on_doubt(path)
        connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False, factory=seen_ids.Connection
        )
    except (OSError, sqlite3.Error) as exc:
        raise as_ledger_error(exc, path) from exc
    connection.row_factory = sqlite3.Row
    return connection, log


def _set_up(connection: sqlite3.Connection) -> None:
    """Set what holds for this connection alone."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA temp_store = MEMORY")


def _make_durable(connection: sqlite3.Connection, path: Path, log: wal.Finding) -> None:
    if log.torn:
        wal.cut(path)
    wal.renew(path)
    connection.execute("PRAGMA page_size = 4096")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"journal_mode is {mode}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_BYTES_KEPT}")


def schema_version(connection: sqlite3.Connection) -> int:
    """Return the version of a file's schema, 0 for an empty file. Raises sqlite3.Error."""
    try:
        if not connection.execute(sql("tables_count")).fetchone()[0]:
            return 0
        count, version = connection.execute(sql("migrations_seen")).fetchone()
    except sqlite3.OperationalError as exc:
        if exc.sqlite_errorcode == sqlite3.SQLITE_ERROR:
            raise corrupt("no record of migrations") from exc
        raise
    if not 0 < version == count:
        raise corrupt(f"{count} migrations up to {version}")  # each commits with its record, in order
    return int(version)


def migrate(connection: sqlite3.Connection, now: datetime) -> None:
    """Take every step the file has not seen; each commits with its record, the first with the table of records."""
    for step in migrations():
        with transaction(connection):
            _take_step(connection, step, now)


def _begin(connection: sqlite3.Connection, path: Path, owner: Owner, now: datetime) -> None:
    """Make an empty file the ledger of `owner`, or leave it empty."""
    with transaction(connection):
        for step in migrations():
            _take_step(connection, step, now)
        _identify(connection, path, owner, now, first_hour(path, now, begun=False))


def _take_step(connection: sqlite3.Connection, step: Migration, now: datetime) -> None:
    if not connection.execute(sql("tables_count")).fetchone()[0]:
        connection.execute(sql("migration_table"))
    if step.version > (connection.execute(sql("schema_version")).fetchone()[0] or 0):
        for statement in step.statements:
            connection.execute(statement)
        if step.version == seen_ids.CUT_SINCE:
            seen_ids.cut(connection)
        done = {"version": step.version, "name": step.name, "at": now.isoformat()}
        connection.execute(sql("migration_done"), done)


def first_hour(path: Path, now: datetime, *, begun: bool) -> Hour:
    """Return the first hour a new ledger takes usage for: the next one where another may have sealed the current one.

    Another was here if its file was set aside, if ours is beside a newer one, or if the file was `begun` and names no
    owner.
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
        return
    check_periods(row, path)
    if row["workload"] != owner.workload or not owner.is_of(row["product_code"]):
        raise LedgerError("ledger_of_another", f"{path.name} is for {row['product_code']} in {row['region']}.")
    if owner.region:
        set_region(connection, path, owner.region)


def check_periods(row: sqlite3.Row, path: Path) -> None:
    """Check that a ledger counts hours of the length that they have here; `row`: its meta. Raises LedgerError."""
    if not counts_as_here(row["open_from"]):
        raise LedgerError("ledger_of_another", f"{path.name} counts in other periods: SIDECAR_PLATFORM was changed.")


def set_region(connection: sqlite3.Connection, path: Path, region: str) -> None:
    """Note the region of our own ledger, where it was begun before that was known. Raises LedgerError for another."""
    connection.execute(sql("meta_place"), {"region": region})
    found = connection.execute(sql("meta")).fetchone()["region"]
    if found != region:
        raise LedgerError("ledger_of_another", f"{path.name} is for {found}, and this workload runs in {region}.")


def ledger_name(connection: sqlite3.Connection) -> str:
    """Return the random name that tells one ledger from all others."""
    return str(connection.execute(sql("meta")).fetchone()["ledger"])


def write_probe(connection: sqlite3.Connection, now: datetime) -> None:
    """Write one row, to find out whether the disk keeps it."""
    connection.execute(sql("meta_written"), {"at": now.isoformat()})
