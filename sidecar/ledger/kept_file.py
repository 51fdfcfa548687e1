"""Read and replace the small files of the state directory: kept answers and passes, seats, the spare id.

What they prove is decided in `entitlement.kept_answer`, `kept_pass` and `kept_contract`; seats: `entitlement.seats`.

Invariants:
- A file is replaced whole or not at all: written beside, synced, renamed, directory synced.
- Readable by the owner only: answers and seats hold tokens. A temporary file that another process left is
  removed, never written to: it would keep its mode and its open readers.
- One file per workload, so that a volume with several workloads keeps them apart.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Final

from sidecar.digests import sha256

BYTES_MAX: Final = 65_536
"""A kept answer is about 1 500 bytes; what is larger is not one."""
MODE: Final = 0o600
SPARE_ID: Final = "workload-id"


def answer_path(state_dir: Path, workload: str) -> Path:
    """Return the file of one workload; its name reveals nothing about the workload."""
    return state_dir / f"answer-{workload_digest(workload)}.json"


def pass_path(state_dir: Path, workload: str) -> Path:
    """Return the same for a pass of MeterUsage: beside the answer, so that neither replaces the other."""
    return state_dir / f"pass-{workload_digest(workload)}.json"


def contract_path(state_dir: Path, workload: str) -> Path:
    """Return the same for a pass of License Manager."""
    return state_dir / f"contract-{workload_digest(workload)}.json"


def seats_path(state_dir: Path, workload: str) -> Path:
    """Return the file of the seats that one workload holds."""
    return state_dir / f"seats-{workload_digest(workload)}.json"


def workload_digest(workload: str) -> str:
    """Return what stands for a workload in file names, 128 bits in hex."""
    return sha256(workload.encode()).hexdigest()[:32]


def read(path: Path) -> str | None:
    """Return the file's text; None where there is none. Raises OSError, also for what is no plain file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "is no plain file", str(path))
        return file.read(BYTES_MAX).decode("utf-8", "replace")


def replace(path: Path, text: str) -> None:
    """Replace the file's text; a crash leaves the old or the new, never a mixture. Raises OSError."""
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, MODE)  # a umask, or a default ACL of the directory, may have made it another
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove the file, for good; none is none. Raises OSError.

    The directory is synced where there is no file too: an earlier removal may have failed after its first half, and the
    power could bring the file back.
    """
    path.unlink(missing_ok=True)
    if path.parent.exists():
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make names in a directory durable. Raises OSError."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def spare_workload_id(state_dir: Path) -> str:
    """Return a UUID for a workload without identity, the same after each restart. Raises OSError."""
    import uuid  # here: the resident process does not need it

    path = state_dir / SPARE_ID
    known = (read(path) or "").strip()
    try:
        return str(uuid.UUID(known))
    except ValueError:
        fresh = str(uuid.uuid4())
        replace(path, fresh + "\n")
        return fresh
