"""Let one child at a time use the seats of a workload.

A check that a person asked for may run beside an extension: two that extend one token at once could end with a second
seat.

Invariants:
- The lock is the kernel's: it ends with the process, or with the file object that stands for it.
- Where the state directory cannot hold a file there is no seats' file either, and nothing is locked.

Sources: flock(2).
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO, Final

SECONDS_MAX: Final = 20.0
"""One call to AWS ends within 15 seconds."""
POLL_SECONDS: Final = 0.05
MODE: Final = 0o600


def take(seats_path: Path) -> IO[bytes] | None:
    """Return what holds the lock until it is closed; None where there can be none. Raises TimeoutError."""
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        file = os.fdopen(os.open(seats_path.with_suffix(".lock"), flags, MODE), "r+b")
    except OSError:
        return None
    until = time.monotonic() + SECONDS_MAX
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return file
        except BlockingIOError:
            if time.monotonic() >= until:
                file.close()
                raise TimeoutError(f"another process uses {seats_path.name}") from None
        except OSError:  # a file system without locks
            file.close()
            return None
        time.sleep(POLL_SECONDS)
