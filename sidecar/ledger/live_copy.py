"""Copy a ledger that another process has open, with its log, so that it can be read beside its writer.

SQLite itself refuses a second process (`locking_mode=EXCLUSIVE`, see `opening`).

Invariants:
- A copy is the ledger as it was after one of its commits. The log is copied after the file: SQLite changes the file
  only from the log, so the log has every page that changed while the file was copied, unless it was begun again
  meanwhile; then its salt is another, and the copy is made again.
- What the copy holds is on disk in the original: its log is synced after it was copied.
- The original is only read. The copy takes a quarter of the free space at most, and is deleted after use.

Sources: sqlite.org/fileformat2.html (the write-ahead log, WAL reset).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sidecar.ledger import volume, wal
from sidecar.ledger.errors import LedgerError, as_ledger_error

SUFFIX: Final = ".neighbour"
TRIES: Final = 5
"""A log is begun again every few megabytes."""
FREE_SHARE: Final = 4
"""A copy takes one part of so many of what is free: that of an older version grows to three times its size when it is
migrated."""
CHUNK: Final = 1024 * 1024


@contextmanager
def copied(path: Path, ours: Path) -> Iterator[Path]:
    """Yield where a copy of the ledger at `path` is, beside ours, until the block ends. Raises LedgerError."""
    with copied_to(path, ours.with_name(ours.name + SUFFIX)) as copy:
        yield copy


@contextmanager
def copied_to(path: Path, copy: Path) -> Iterator[Path]:
    """Yield `copy`, a copy of the ledger at `path`, until the block ends. Raises LedgerError."""
    try:
        _remove(copy)
        _copy(path, copy)
        yield copy
    except OSError as exc:
        raise as_ledger_error(exc, path) from exc
    finally:
        _remove(copy)


def remove(ours: Path) -> None:
    """Delete the copy beside `ours`, if there is one."""
    _remove(ours.with_name(ours.name + SUFFIX))


def _remove(copy: Path) -> None:
    for part in (copy, wal.path_of(copy)):
        part.unlink(missing_ok=True)


def _copy(path: Path, copy: Path) -> None:
    log, log_copy = wal.path_of(path), wal.path_of(copy)
    free = os.statvfs(copy.parent)
    size = sum(part.stat().st_size for part in (path, log) if part.exists())
    if size * FREE_SHARE > free.f_bavail * free.f_frsize:
        raise LedgerError("ledger_full", f"{path.name} has {size} bytes, which is more than a quarter of what is free.")
    for _ in range(TRIES):
        before = _salt(log)
        _copy_file(path, copy)
        log_copy.unlink(missing_ok=True)
        if before:
            _copy_file(log, log_copy)
        if _salt(log) == before:
            return
    raise LedgerError("ledger_locked", f"{path.name} was written to faster than it could be copied.")


def _salt(log: Path) -> bytes:
    """Return the header of a log; empty where there is none."""
    try:
        with log.open("rb", buffering=0) as file:
            return file.read(wal.HEADER.size)
    except FileNotFoundError:
        return b""


def _copy_file(source: Path, target: Path) -> None:
    """Copy a file and sync the source: what was read is on disk, and is not taken back."""
    reading = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)  # for a pipe of that name
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        writing = os.open(target, flags, volume.FILE_MODE)
        try:
            while os.sendfile(writing, reading, None, CHUNK):
                pass
        finally:
            os.close(writing)
        os.fsync(reading)
    finally:
        os.close(reading)
