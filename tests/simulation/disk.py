"""Stand under SQLite and the kept files: disks that are full, read-only or do not sync, and crashes at any step.

Invariants:
- A crash is a BaseException that nothing handles; after it the dead process writes nothing more.
- A transaction that a fault ends is rolled back: what a disk keeps of it all the same is a matter of its bytes, not of
  this simulation.
- Faults and crashes come at a step that is counted, so that a seed finds the same one again.
"""

from __future__ import annotations

import errno
import os
import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sidecar.ledger import seen_ids

FAULTS = ("full", "read_only", "fsync")
SQLITE_ERRORS = {
    "full": (sqlite3.SQLITE_FULL, "database or disk is full"),
    "read_only": (sqlite3.SQLITE_READONLY, "attempt to write a readonly database"),
    "fsync": (sqlite3.SQLITE_IOERR_FSYNC, "disk I/O error"),
}
LOG_PAGES = 40
"""Pages of the log before they are moved to the file: few, so that logs are short and both are met often."""
SYSTEM_ERRORS = {"full": errno.ENOSPC, "read_only": errno.EROFS, "fsync": errno.EIO}


class Crash(BaseException):
    """The container was killed at this step."""


class Disk:
    """One volume, and the process that uses it."""

    def __init__(self) -> None:
        self.fault: str | None = None
        self.often = 1.0
        """How many of the writes fail while there is a fault."""
        self.chance = random.Random(0)
        self.dead = False
        self.operations = 0
        self.versions: Counter[str] = Counter()
        """How often the rows of a file changed, by its path; a change that was taken back counts too."""
        self._left: int | None = None
        self._act: Callable[[], None] = lambda: None

    def arm(self, steps: int, act: Callable[[], None]) -> None:
        """Have `act` called before the step that comes after so many."""
        self._left, self._act = steps, act

    def crash(self) -> None:
        """Kill the process here."""
        self.dead = True
        raise Crash

    def step(self) -> None:
        """Be one step of the process at which it can be killed."""
        if self.dead:
            raise Crash
        self.operations += 1
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                self._left = None
                self._act()

    def revive(self) -> None:
        """Let another process use the volume."""
        self.dead = False

    def fails(self) -> bool:
        """Return whether this write fails."""
        return self.fault is not None and self.chance.random() < self.often

    def fsync(self, _handle: int) -> None:
        """Take the place of fsync(2); syncing memory would prove nothing."""
        self.step()
        if self.fails():
            code = SYSTEM_ERRORS[str(self.fault)]
            raise OSError(code, os.strerror(code))

    def connect(self, *args: Any, **more: Any) -> sqlite3.Connection:
        """Take the place of sqlite3.connect."""
        self.step()
        if self.fault == "read_only" and self.fails():
            raise failure("read_only", sqlite3.SQLITE_CANTOPEN)
        connection: Connection = _connect(*args, **(more | {"factory": Connection}))
        connection.disk, connection.path = self, str(args[0])
        connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        return connection


class Connection(seen_ids.Connection):
    """A connection over a simulated disk."""

    disk: Disk
    path: str
    changes = 0

    def execute(self, statement: str, *args: Any) -> sqlite3.Cursor:
        head = statement[:6]
        if head == "BEGIN " or head == "COMMIT":
            self._before(head)
        done = super().execute(statement, *args)
        self._count_changes()
        if head == "COMMIT":
            self.disk.step()  # killed before anybody heard of the commit
        return done

    def executemany(self, statement: str, *args: Any) -> sqlite3.Cursor:
        done = super().executemany(statement, *args)
        self._count_changes()
        return done

    def _count_changes(self) -> None:
        if self.total_changes != self.changes:
            self.changes = self.total_changes
            self.disk.versions[self.path] += 1

    def _before(self, head: str) -> None:
        disk = self.disk
        disk.step()
        if head == "BEGIN " and disk.fault == "read_only" and disk.fails():
            raise failure("read_only")
        if head == "COMMIT" and disk.fails():
            super().execute("ROLLBACK")
            raise failure(str(disk.fault))


def failure(fault: str, code: int | None = None) -> sqlite3.OperationalError:
    """Return what SQLite raises for a fault."""
    known, text = SQLITE_ERRORS[fault]
    error = sqlite3.OperationalError(text)
    error.sqlite_errorcode = known if code is None else code
    return error


_connect = sqlite3.connect
_fsync = os.fsync
_urandom = os.urandom


@contextmanager
def under(disk: Disk, chance: random.Random) -> Iterator[None]:
    """Have SQLite, fsync and the random numbers of this process be the simulated ones while the block runs."""
    sqlite3.connect, os.fsync, os.urandom = disk.connect, disk.fsync, chance.randbytes  # type: ignore[assignment]
    try:
        yield
    finally:
        sqlite3.connect, os.fsync, os.urandom = _connect, _fsync, _urandom


@contextmanager
def aside() -> Iterator[None]:
    """Let the real SQLite be used while the block runs, as one who looks at the files from outside does."""
    simulated = sqlite3.connect, os.fsync
    sqlite3.connect, os.fsync = _connect, _no_fsync
    try:
        yield
    finally:
        sqlite3.connect, os.fsync = simulated


def _no_fsync(_handle: int) -> None:
    """Sync nothing: a copy that is looked at need not last."""
