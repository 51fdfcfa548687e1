"""Where does the last good answer lie, and under which name is a nameless workload known?

Small files in the state directory. Leaves to `entitlement.kept` and `entitlement.kept_pass` what they prove.

Rules kept here:
- A file is replaced whole or not at all: written beside, synced, renamed, directory synced.
- Readable by the owner only: the answer holds a token.
- One file per workload, so that a volume with several workloads keeps them apart.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Final

BYTES_MAX: Final = 65_536
"""A kept answer is about 1 500 bytes; what is larger is not one."""
NAMELESS: Final = "workload-id"


def answer_path(state_dir: Path, workload: str) -> Path:
    """The file of one workload; its name tells nothing but equality."""
    return state_dir / f"answer-{_named_after(workload)}.json"


def pass_path(state_dir: Path, workload: str) -> Path:
    """The same for a pass of MeterUsage: beside the answer, so that neither takes the other's place."""
    return state_dir / f"pass-{_named_after(workload)}.json"


def _named_after(workload: str) -> str:
    return hashlib.sha256(workload.encode()).hexdigest()[:32]


def read(path: Path) -> str | None:
    """The file's text; None where there is none. Raises OSError, also for what is no plain file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "is no plain file", str(path))
        return file.read(BYTES_MAX).decode("utf-8", "replace")


def replace(path: Path, text: str) -> None:
    """Put `text` there so that a crash leaves the old or the new, never a mixture. Raises OSError."""
    beside = path.with_name(f"{path.name}.new")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def nameless_id(state_dir: Path) -> str:
    """A UUID that stands for a workload without identity, the same after each restart. Raises OSError."""
    import uuid  # here: the process that stays has no use for it

    path = state_dir / NAMELESS
    known = (read(path) or "").strip()
    try:
        return str(uuid.UUID(known))
    except ValueError:
        fresh = str(uuid.uuid4())
        replace(path, fresh + "\n")
        return fresh
