"""Translate each way a disk, volume or file fails into a `LedgerError` with its reason and the next step.

    SidecarError
    └── LedgerError   the disk, the volume or the file does not keep what was written

Invariants:
- Every failure of SQLite or the system becomes one `LedgerError` with a reason that never changes.
- An unknown failure is a failure: nothing is acknowledged because its name is new.
- A row that cannot be decoded is a damaged page: SQLite checks how a page is built, not what a row says. So is a schema
  that lacks what our statements name, since each of them fits the schema as it was written.

Sources: sqlite.org/rescode.html.
"""

from __future__ import annotations

import errno
import functools
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from sidecar.errors import DATA_ERRORS, SidecarError

P = ParamSpec("P")
T = TypeVar("T")


class LedgerError(SidecarError):
    """A failure to open, read or write the ledger. `reason` is one of REASONS."""

    def __init__(self, reason: str, detail: str = "", set_aside: Path | None = None) -> None:
        self.detail = detail
        self.set_aside = set_aside
        """Where a damaged file was put, if no new one could be begun then: the next opening finds no damage."""
        super().__init__(reason, f"{detail} {REASONS[reason]}".strip())


REASONS: Final[Mapping[str, str]] = {
    "ledger_full": "Free space on the volume of SIDECAR_STATE_DIR or make it larger; "
    "usage is accepted again by itself as soon as there is room.",
    "ledger_read_only": "Mount the volume of SIDECAR_STATE_DIR writable and let this user write there (fsGroup).",
    "ledger_io_error": "The disk under SIDECAR_STATE_DIR does not read or write; look at the node's kernel log.",
    "ledger_corrupt": "The file was set aside, not deleted, and a new one begun; keep it for the seller's support.",
    "ledger_locked": "Run one sidecar for each workload, or give each its own SIDECAR_STATE_DIR.",
    "ledger_on_network_file_system": "Locks and fsync cannot be trusted there: "
    "put SIDECAR_STATE_DIR on a local or block volume (emptyDir, EBS, ECS ephemeral storage).",
    "ledger_newer_schema": "A newer version wrote this ledger and it is left untouched; run that version to settle it.",
    "ledger_of_another": "This ledger belongs to another workload, product or region; "
    "give each its own SIDECAR_STATE_DIR.",
    "ledger_missing_directory": "Create the directory SIDECAR_STATE_DIR names, or mount a volume there.",
    "ledger_closed": "The sidecar is shutting down.",
    "shutting_down": "This workload is ending and takes no more usage; send the same events to the one that follows.",
    "ledger_failed": "An unexpected failure of the ledger; keep the log and tell the seller's support.",
}
"""Reason → what to do next."""

SQLITE: Final[Mapping[int, str]] = {
    sqlite3.SQLITE_FULL: "ledger_full",
    sqlite3.SQLITE_READONLY: "ledger_read_only",
    sqlite3.SQLITE_PERM: "ledger_read_only",
    sqlite3.SQLITE_CANTOPEN: "ledger_read_only",
    sqlite3.SQLITE_IOERR: "ledger_io_error",
    sqlite3.SQLITE_CORRUPT: "ledger_corrupt",
    sqlite3.SQLITE_NOTADB: "ledger_corrupt",
    sqlite3.SQLITE_BUSY: "ledger_locked",
    sqlite3.SQLITE_LOCKED: "ledger_locked",
}
"""Primary result code → reason."""

SYSTEM: Final[Mapping[int, str]] = {
    errno.ENOSPC: "ledger_full",
    errno.EDQUOT: "ledger_full",
    errno.EFBIG: "ledger_full",
    errno.EROFS: "ledger_read_only",
    errno.EACCES: "ledger_read_only",
    errno.EPERM: "ledger_read_only",
    errno.ENOENT: "ledger_missing_directory",
    errno.ENOTDIR: "ledger_missing_directory",
    errno.EEXIST: "ledger_missing_directory",
    errno.EIO: "ledger_io_error",
}
"""errno → reason."""


FAILURES: Final = (sqlite3.Error, OSError, UnicodeDecodeError)
"""What SQLite and the system raise; the last is raised by the sqlite3 module for a name or message that is no text."""
NO_TEXT: Final = "Could not decode to UTF-8"
"""What the sqlite3 module says, without a result code, of a text that is none."""
NOT_OURS: Final = ("no such table: ", "no such column: ", "has no column named ")
"""What SQLite says, with the code of any mistake in a statement, of a name that the schema lacks."""


def as_ledger_error(exc: BaseException, path: Path) -> LedgerError:
    """Return what a failure means for the ledger at `path`."""
    if isinstance(exc, LedgerError):
        return exc
    if isinstance(exc, sqlite3.Error):
        code = getattr(exc, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT if NO_TEXT in str(exc) else 0)
        if code == sqlite3.SQLITE_ERROR and any(part in str(exc) for part in NOT_OURS):
            code = sqlite3.SQLITE_CORRUPT
        return LedgerError(SQLITE.get(code & 0xFF, "ledger_failed"), f"{path.name}: {exc}.")
    if isinstance(exc, UnicodeDecodeError):
        return LedgerError("ledger_corrupt", f"{path.name}: {exc.reason}.")
    if isinstance(exc, OSError):
        return LedgerError(SYSTEM.get(exc.errno or 0, "ledger_failed"), f"{exc.filename or path}: {exc.strerror}.")
    return LedgerError("ledger_failed", f"{path.name}: {type(exc).__name__}: {exc}.")


def corrupt(what: str) -> sqlite3.DatabaseError:
    """Return the error SQLite would raise if it had met the fault itself."""
    error = sqlite3.DatabaseError(what.strip().splitlines()[0])
    error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return error


class decoding:
    """Raise sqlite3.DatabaseError for what the block cannot decode; as a decorator, for what the function cannot.

    Only for code that reads rows: there a value that is none of ours was changed by the disk. A decorator of its own,
    since what reads one row is called so often that a generator for each call would be a large part of it.
    """

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, _kind: object, exc: BaseException | None, _where: object) -> None:
        if isinstance(exc, DATA_ERRORS):
            raise _undecodable(exc) from exc

    def __call__(self, work: Callable[P, T]) -> Callable[P, T]:
        """Return a function that raises for what `work` cannot decode."""

        @functools.wraps(work)
        def decoded(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return work(*args, **kwargs)
            except DATA_ERRORS as exc:
                raise _undecodable(exc) from exc

        return decoded


def _undecodable(exc: BaseException) -> sqlite3.DatabaseError:
    return corrupt(f"a row cannot be decoded ({type(exc).__name__}: {exc})")


def let_go(error: BaseException) -> None:
    """Clear the frames that an error refers to, and with them the statements that were not finished.

    Such a statement keeps the file of a connection open, and locked, after it was closed.
    """
    pending, met = [error], set[int]()
    while pending:
        one = pending.pop()
        if id(one) in met:
            continue
        met.add(id(one))
        trace = one.__traceback__
        while trace:
            with suppress(RuntimeError):  # one that still runs
                trace.tb_frame.clear()
            trace = trace.tb_next
        pending += filter(None, (one.__cause__, one.__context__))
