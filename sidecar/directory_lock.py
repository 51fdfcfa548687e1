"""Lock a directory while what is in it is judged and replaced.

Invariants:
- The lock is the kernel's: it ends with the process, and leaves no file.
- It is waited for `SECONDS_MAX` at most: every process that can read the directory can hold it for as long as it likes.

Sources: flock(2).
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SECONDS_MAX: Final = 5.0
"""Far longer than a sidecar holds it."""
POLL_SECONDS: Final = 0.02


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold the lock of a directory, after any other process that holds it.

    Raises OSError where there is none, and where another process keeps its lock.
    """
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _wait_for(fd)
        yield
    finally:
        os.close(fd)


def _wait_for(fd: int) -> None:
    until = time.monotonic() + SECONDS_MAX
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() >= until:
                raise OSError(errno.EAGAIN, f"another process has held its lock (flock) for {SECONDS_MAX:g} s") from exc
        time.sleep(POLL_SECONDS)
