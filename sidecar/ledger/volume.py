"""Check a ledger's directory and file system, name and lock its file, and set unreadable files aside.

Invariants:
- One owner: flock on a sibling file, held while the process lives; the kernel releases it when the process dies. A lock
  counts only on the file that has the name: two could hold locks on different files of one name.
- No ledger on a network file system: its locks and its fsync may report success without effect.
- A file that cannot be read is renamed, never deleted, and never over another one.

Sources: flock(2), proc_pid_mountinfo(5), proc_locks(5), sqlite.org/wal.html ("does not work over a network
filesystem").
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Final

from sidecar.ledger import wal
from sidecar.ledger.errors import LedgerError, as_ledger_error
from sidecar.ledger.kept_file import sync_directory, workload_digest

MOUNTINFO: Final = Path("/proc/self/mountinfo")
LOCKS: Final = Path("/proc/locks")
NETWORK: Final = frozenset(
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "ocfs2", "gfs2"]
)
"""File systems that other machines write to."""
LOCAL_FUSE: Final = frozenset(["fuse.fuse-overlayfs", "fuse.lxcfs"])
"""FUSE file systems on a local disk (rootless containers). The others are a bucket or another machine."""
FILE_MODE: Final = 0o600
BESIDE: Final = ("-wal", "-shm")
"""What SQLite adds to a ledger's name for the files beside it."""
ASIDE: Final = re.compile(r"\.corrupt-([0-9]{8}T[0-9]{6}Z)(?:-([0-9]+))?")
"""What is added to the name of a ledger that is set aside: when, and where that name is taken a number."""
CHUNK: Final = 64 * 1024
"""Bytes that are read at once."""


def ledger_path(state_dir: Path, workload: str) -> Path:
    """Return the file of one workload; its name reveals nothing about the workload."""
    return state_dir / f"ledger-{workload_digest(workload)}.sqlite3"


def beside(path: Path, version: int) -> Path:
    """Return the file an older version uses while a newer version's is at `path`."""
    return path.with_name(f"{path.stem}.v{version}{path.suffix}")


def other_ledgers(path: Path) -> Iterator[Path]:
    """Yield every other ledger on this volume, in the order of their names. Raises LedgerError."""
    try:
        found = sorted(path.parent.glob("ledger-*.sqlite3"))
        others = [other for other in found if other != path and not other.is_symlink()]
    except OSError as exc:
        raise as_ledger_error(exc, path.parent) from exc
    yield from others


def prepare(state_dir: Path, mountinfo: Path = MOUNTINFO) -> None:
    """Create `state_dir` and check that a ledger may be there. Raises LedgerError."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        kind = file_system(state_dir.resolve(), mountinfo.read_text("utf-8", "replace") if mountinfo.exists() else "")
    except OSError as exc:
        raise as_ledger_error(exc, state_dir) from exc
    if is_network(kind):
        raise LedgerError("ledger_on_network_file_system", f"{state_dir} is on {kind}.")


def is_network(kind: str) -> bool:
    """Return whether a type of file system is another machine's, so that no ledger may be there."""
    return kind in NETWORK or (kind.startswith("fuse.") and kind not in LOCAL_FUSE)


def was_opened(state_dir: Path, workload: str) -> bool:
    """Return whether an earlier process had this workload's ledger open."""
    try:
        return ledger_path(state_dir, workload).stat().st_size > 0
    except OSError:
        return False


def ownership(state_dir: Path) -> str:
    """Return whose the directory is, and as whom we run: the first thing to look at where it cannot be written."""
    found = next((one for one in (state_dir, *state_dir.parents) if os.path.exists(one)), Path("/"))
    try:
        stat = found.stat()
    except OSError as exc:
        return f"{found}: {exc.strerror}."
    groups = ", ".join(str(group) for group in sorted({os.getegid(), *os.getgroups()}))
    return (
        f"{found} belongs to user {stat.st_uid} and group {stat.st_gid} (mode {stat.st_mode & 0o7777:03o}); the sidecar"
        f" runs as user {os.geteuid()} with groups {groups}."
    )


def file_system(directory: Path, mountinfo: str) -> str:
    """Return the type of the file system a resolved directory is on; empty where `mountinfo` does not tell.

    Of several mounts on one directory the later line is on top.
    """
    deepest, kind = -1, ""
    for line in mountinfo.splitlines():
        before, _, after = line.partition(" - ")
        fields, named = before.split(), after.split()
        if len(fields) < 5 or not named:
            continue
        point = Path(re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4]))
        if directory.is_relative_to(point) and len(point.parts) >= deepest:
            deepest, kind = len(point.parts), named[0]
    return kind


class Lock:
    """The exclusive right to one ledger, until it is released or this process ends."""

    def __init__(self, path: Path) -> None:
        """Take the lock. Raises LedgerError: `ledger_locked` names the holder, where that is known."""
        self._path = path.with_name(f"{path.name}.lock")
        try:
            self._handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, FILE_MODE)
        except OSError as exc:
            raise as_ledger_error(exc, self._path) from exc
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = self._holder()
            os.close(self._handle)
            raise LedgerError("ledger_locked", f"{path.name} is held by {holder or 'another process'}.") from exc
        try:
            named = self._has_its_name()
        except OSError as exc:
            self.release()
            raise as_ledger_error(exc, self._path) from exc
        if not named:
            self.release()
            raise LedgerError("ledger_locked", f"{path.name} is being removed by another process.")
        self._write_holder()

    def _has_its_name(self) -> bool:
        """Return whether the file that is locked is still the one another process would lock. Raises OSError."""
        try:
            return os.path.samestat(os.fstat(self._handle), os.stat(self._path, follow_symlinks=False))
        except FileNotFoundError:
            return False

    def _holder(self) -> str:
        """Return what the file says of the process that holds the lock; empty where it cannot be read."""
        try:
            return os.pread(self._handle, 200, 0).decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def _write_holder(self) -> None:
        """Write the holder into the file. On a full disk the name is missing; the lock holds nevertheless."""
        try:
            os.ftruncate(self._handle, 0)
            os.pwrite(self._handle, f"process {os.getpid()} on {os.uname().nodename}\n".encode(), 0)
        except OSError:
            pass

    def release(self) -> None:
        """Release the lock. The file stays."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def remove(self) -> None:
        """Delete the file, with its ledger gone, and release the lock. Raises OSError."""
        self._path.unlink(missing_ok=True)
        self.release()


def written_lately(path: Path, seconds: float) -> bool:
    """Return whether the ledger at `path`, or its log, was written to within this time, by this machine's clock."""
    for one in (path, wal.path_of(path)):
        try:
            if one.stat().st_mtime > time.time() - seconds:
                return True
        except FileNotFoundError:
            continue
        except OSError:
            return True  # not known: it is looked at
    return False


def is_free(path: Path) -> bool:
    """Return whether no process has the ledger at `path` open."""
    try:
        Lock(path).release()
    except LedgerError:
        return False
    return True


def holder(path: Path, locks: Path = LOCKS) -> str:
    """Return the process that holds the lock of the ledger at `path`, by the kernel's list of locks.

    Takes no lock. Empty where none holds it; a process of another container is not in that list.
    """
    lock = path.with_name(f"{path.name}.lock")
    try:
        inode = lock.stat().st_ino
        rows = [line.split() for line in locks.read_text("ascii", "replace").splitlines()]
        held = any("FLOCK" in row and any(field.endswith(f":{inode}") for field in row) for row in rows)
        return lock.read_text("utf-8", "replace").strip()[:200] or "a process" if held else ""
    except OSError:
        return ""


def read_through(path: Path) -> None:
    """Read a whole file, if there is one, to find out whether the disk does. Raises OSError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        while os.read(handle, CHUNK):
            pass
    finally:
        os.close(handle)


def set_aside(path: Path, now: datetime) -> Path:
    """Rename an unreadable ledger with its log, and return where it is now.

    Raises LedgerError; its `set_aside` tells that the file was renamed.
    """
    aside = _begun_aside(path) or _new_aside(path, now)
    try:
        _rename(path, aside)
    except OSError as exc:
        error = as_ledger_error(exc, path)
        raise LedgerError(error.reason, error.detail, aside if os.path.lexists(aside) else None) from exc
    return aside


def finish_setting_aside(path: Path, now: datetime) -> None:
    """Rename what is left of a ledger whose setting aside was cut off. Raises LedgerError.

    A log that cannot be of the last one that was set aside, since that has its own, gets a name by itself.
    """
    try:
        if not os.path.lexists(path) and wal.path_of(path).exists() and _asides(path):
            _rename(path, _begun_aside(path) or _new_aside(path, now))
    except OSError as exc:
        raise as_ledger_error(exc, path) from exc


def _asides(path: Path) -> list[Path]:
    """Return the names that this ledger was set aside under, the newest last."""
    found = ((one, ASIDE.fullmatch(one.name.removeprefix(path.name))) for one in path.parent.glob(f"{path.name}.*"))
    return [one for *_, one in sorted((named[1], int(named[2] or 0), one) for one, named in found if named)]


def _begun_aside(path: Path) -> Path | None:
    """Return the newest name that this ledger was set aside under, if nothing has its own name, and the rest fits."""
    if os.path.lexists(path) or not (asides := _asides(path)):
        return None
    pairs = zip(_parts(path), _parts(asides[-1]), strict=True)
    return None if any(os.path.lexists(part) and os.path.lexists(taken) for part, taken in pairs) else asides[-1]


def _new_aside(path: Path, now: datetime) -> Path:
    """Return a name under which there is nothing yet, neither a file nor a log."""
    stamp = f"{path.name}.corrupt-{now:%Y%m%dT%H%M%SZ}"
    names = (path.with_name(f"{stamp}-{number}" if number else stamp) for number in count())
    return next(name for name in names if not any(map(os.path.lexists, _parts(name))))


def _parts(path: Path) -> list[Path]:
    """Return the names of a ledger's file and of those beside it.

    The file comes before its log: without the log it would look whole, and lack what the log has.
    """
    return [path.with_name(path.name + suffix) for suffix in ("", *BESIDE)]


def _rename(path: Path, aside: Path) -> None:
    for part, name in zip(_parts(path), _parts(aside), strict=True):
        if part.exists():
            part.rename(name)
    sync_directory(path.parent)
