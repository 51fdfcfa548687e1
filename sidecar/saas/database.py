"""Connect to the database that keeps the SaaS service's state, and say what its failures mean.

Invariants:
- A password is in no error, log line or name: of a URL only host, port and database are shown.
- SQLite: WAL and synchronous=FULL; one process has the file, by a lock that the kernel ends with it.
- PostgreSQL: a commit is on the server's disk before it returns (synchronous_commit), whatever the server's default.
- A host that vanishes holds no lock for longer than half a minute: both ends probe an idle connection, and the server
  ends a transaction that does nothing for 10 seconds. All of it is set for our own connections: the server needs no
  change.
- A transaction that the server refused as a whole (deadlock, serialisation) is tried again; nothing of it was kept.

Sources: PostgreSQL 15, "Connection Settings" (tcp_keepalives_*, tcp_user_timeout), "Client Connection Defaults"
(idle_in_transaction_session_timeout), "Write Ahead Log" (synchronous_commit), "PostgreSQL Error Codes"; SQLite,
"PRAGMA synchronous".
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from sidecar.saas.store import StoreError
from sidecar.saas.url_options import WRONG_VALUE, wrong_option

T = TypeVar("T")

REASONS: Final[Mapping[str, str]] = {
    "database_url_malformed": "SIDECAR_DATABASE_URL is sqlite:///FILE (three slashes before a relative path, four"
    " before an absolute one) or postgresql://USER@HOST:PORT/NAME; what is special in a user or password is"
    " percent-encoded.",
    "database_unreachable": "The database does not answer. Check that it runs, and that SIDECAR_DATABASE_URL names it;"
    " a service that runs accepts usage again by itself as soon as it does.",
    "database_directory_unusable": "Make this directory on a volume that stays, and let the service's user write to it;"
    " or name another one with SIDECAR_STATE_DIR or SIDECAR_DATABASE_URL.",
    "database_refused": "The database refuses this user. Check user, password and rights in SIDECAR_DATABASE_URL.",
    "database_read_only": "The database takes no writes: it is a standby, or its volume is read-only. Name the"
    " primary.",
    "database_full": "Free space for the database; usage is accepted again by itself as soon as there is room.",
    "database_corrupt": "The file cannot be read. Keep it for an audit, and restore a copy.",
    "database_locked": "Another process has this file. Run one replica with SQLite, or several with PostgreSQL.",
    "database_busy": "The database is too slow, or another transaction holds what this one needs. It is tried again.",
    "database_newer_schema": "A newer version of the service wrote this database, and it is left untouched. Run that"
    " version.",
    "database_not_migrated": "Run `entitlement-sidecar saas migrate` (with --from where the database has a schema of a"
    " version before) and have a user with rights to create tables run what it prints.",
    "database_failed": "An unexpected failure of the database; keep the log.",
}
"""Reason → what to do next."""

STATES: Final[Mapping[str, str]] = {
    "08": "database_unreachable",
    "57P": "database_unreachable",
    "28": "database_refused",
    "3D": "database_refused",
    "42501": "database_refused",
    "25006": "database_read_only",
    "53100": "database_full",
    "53": "database_busy",
    "55P03": "database_busy",
    "57014": "database_busy",
    "25P": "database_busy",
    "40": "database_busy",
    "XX001": "database_corrupt",
    "XX002": "database_corrupt",
}
"""Beginning of PostgreSQL's SQLSTATE → reason; the longest that fits counts."""
SQLITE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_FULL: "database_full",
    sqlite3.SQLITE_READONLY: "database_read_only",
    sqlite3.SQLITE_PERM: "database_read_only",
    sqlite3.SQLITE_CANTOPEN: "database_unreachable",
    sqlite3.SQLITE_IOERR: "database_unreachable",
    sqlite3.SQLITE_CORRUPT: "database_corrupt",
    sqlite3.SQLITE_NOTADB: "database_corrupt",
    sqlite3.SQLITE_BUSY: "database_busy",
    sqlite3.SQLITE_LOCKED: "database_busy",
}
"""Primary result code → reason."""
AGAIN: Final = frozenset(("40001", "40P01"))
"""SQLSTATEs of a transaction that another one got in the way of."""
OUT_OF_RANGE: Final = ("22003", 3091)
"""A sum that has left 64 bits: PostgreSQL's code, and SQLITE_CONSTRAINT_DATATYPE."""
TRIES: Final = 5
POOL: Final = 5
BUSY_SECONDS: Final = 30
CONNECT_SECONDS: Final = 5
ALIVE: Final = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
"""Our side: seconds, and milliseconds for the last. 10 + 3 × 5 = 25 seconds until a vanished server is noticed."""
SESSION: Final = """
SELECT set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
  set_config('tcp_keepalives_count', '3', false), set_config('tcp_user_timeout', '25000', false),
  set_config('idle_in_transaction_session_timeout', '10s', false), set_config('statement_timeout', '60s', false),
  set_config('synchronous_commit',
    CASE WHEN current_setting('synchronous_commit') IN ('off', 'local') THEN 'on'
         ELSE current_setting('synchronous_commit') END, false)
"""
"""The server's side, for this session alone: it notices a vanished replica, and keeps what it has committed."""


def store_error(reason: str, detail: str = "") -> StoreError:
    """Return the error for a reason, with what to do next."""
    return StoreError(reason, f"{detail} {REASONS[reason]}".strip())


def read_url(text: str) -> URL:
    """Return the URL of a setting. Raises StoreError, which does not repeat it: there may be a password in it."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise store_error("database_url_malformed") from None
    if url.drivername == "sqlite" and url.database and url.database != ":memory:" and not url.host:
        return _with_options(url)
    if url.drivername in ("postgresql", "postgres") and url.database:
        return _with_options(url.set(drivername="postgresql+psycopg"))
    raise store_error("database_url_malformed", f"It begins with {url.drivername!r}." if url.drivername else "")


def _with_options(url: URL) -> URL:
    if fault := wrong_option(url):
        raise store_error("database_url_malformed", fault)
    return url


def shown(url: URL) -> str:
    """Return what may be shown of a URL: no user, no password, no options."""
    if url.get_backend_name() == "sqlite":
        return f"sqlite:///{url.database}"
    return f"postgresql://{url.host or ''}{f':{url.port}' if url.port else ''}/{url.database}"


class Database:
    """The connections of one replica."""

    def __init__(self, text: str) -> None:
        """Connect to nothing yet. Raises StoreError for a URL that is none, and for a file another process has."""
        self.url = read_url(text)
        self.name = shown(self.url)
        self.postgresql = self.url.get_backend_name() == "postgresql"
        self._lock = None if self.postgresql else _locked(Path(self.url.database or ""))
        self._reading = {"isolation_level": "REPEATABLE READ"} if self.postgresql else {"reading": True}
        self.engine = _postgresql(self.url) if self.postgresql else _sqlite(self.url)

    def run(self, work: Callable[[Connection], T], *, reading: bool = False) -> T:
        """Run `work` in a transaction; what it returns is committed. Raises StoreError, and what `work` raises."""
        for tries in range(1, TRIES + 1):
            try:
                with self.engine.connect() as connection:
                    if reading:
                        connection = connection.execution_options(**self._reading)
                    with connection.begin():
                        return work(connection)
            except DBAPIError as exc:
                if tries == TRIES or sqlstate(exc) not in AGAIN:
                    raise self.error(exc) from exc
            except SQLAlchemyError as exc:
                raise self.error(exc) from exc
        raise AssertionError("unreachable")

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on one snapshot of everything. Raises StoreError."""
        return self.run(lambda connection: work(connection), reading=True)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Raise StoreError for a failure of the database."""
        try:
            yield
        except SQLAlchemyError as exc:
            raise self.error(exc) from exc

    def error(self, exc: SQLAlchemyError) -> StoreError:
        """Return what a failure means, without the statement and its parameters."""
        if isinstance(exc, PoolTimeout):
            return store_error("database_busy", f"{self.name}:")
        said = str(getattr(exc, "orig", None) or type(exc).__name__).strip().splitlines()[0][:200]
        return store_error(_reason(exc), f"{self.name}: {said}.")

    def close(self) -> None:
        """Close the connections, and give the file back."""
        self.engine.dispose()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def sqlstate(exc: SQLAlchemyError) -> str:
    """Return PostgreSQL's code for a failure; empty for any other."""
    return str(getattr(getattr(exc, "orig", None), "sqlstate", None) or "")


def out_of_range(exc: SQLAlchemyError) -> bool:
    """Return whether a number left 64 bits."""
    code = getattr(getattr(exc, "orig", None), "sqlite_errorcode", None)
    return sqlstate(exc) == OUT_OF_RANGE[0] or code == OUT_OF_RANGE[1]


def _reason(exc: SQLAlchemyError) -> str:
    orig = getattr(exc, "orig", None)
    if isinstance(orig, sqlite3.Error):
        return SQLITE.get(getattr(orig, "sqlite_errorcode", 0) & 0xFF, "database_failed")
    state = sqlstate(exc)
    if not state and WRONG_VALUE.search(str(orig)):
        return "database_url_malformed"
    fits = [beginning for beginning in STATES if state.startswith(beginning)]
    if fits:
        return STATES[max(fits, key=len)]
    gone = getattr(exc, "connection_invalidated", False) or type(orig).__name__ in (
        "OperationalError",
        "ConnectionTimeout",
    )
    return "database_unreachable" if gone and not state else "database_failed"


def _locked(path: Path) -> int:
    """Lock a file beside the database for the life of this process; return its descriptor. Raises StoreError."""
    try:
        fd = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise store_error("database_directory_unusable", f"{path.parent}: {exc.strerror}.") from exc
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise store_error("database_locked", f"{path}:") from None
    return fd


def _sqlite(url: URL) -> Engine:
    engine = create_engine(url, pool_size=POOL, max_overflow=0, connect_args={"timeout": BUSY_SECONDS})

    @event.listens_for(engine, "connect")
    def _opened(dbapi: sqlite3.Connection, _: object) -> None:
        dbapi.isolation_level = None  # the driver's own transactions begin too late
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "trusted_schema=OFF"):
            dbapi.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begins(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN" if connection.get_execution_options().get("reading") else "BEGIN IMMEDIATE")

    return engine


def _postgresql(url: URL) -> Engine:
    arguments = {"connect_timeout": CONNECT_SECONDS, "application_name": "entitlement-sidecar", **ALIVE}
    given = {name: value for name, value in arguments.items() if name not in url.query}
    engine = create_engine(
        url, pool_size=POOL, max_overflow=0, pool_pre_ping=True, isolation_level="READ COMMITTED", connect_args=given
    )

    @event.listens_for(engine, "connect")
    def _opened(dbapi: object, _: object) -> None:
        cursor = dbapi.cursor()  # type: ignore[attr-defined]
        cursor.execute(SESSION)
        cursor.close()
        dbapi.commit()  # type: ignore[attr-defined]

    return engine
