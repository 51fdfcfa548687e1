"""Run a command that prints, and handle an stdout that cannot be written: a full disk, a closed pipe, none at all.

Invariants:
- The result is one line on stderr and exit code 1, never a traceback; a closed pipe gets no line.
- `run` does not come here: it prints nothing, and its failures mean something else.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Final

from sidecar.errors import Exit

UNWRITABLE: Final = (errno.EPIPE, errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)


def run_printing(command: Callable[[], int]) -> int:
    """Run a command and flush its output. Returns its exit code, or 1 where stdout cannot be written."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - closed when the process ends
    try:
        code = command()
        sys.stdout.flush()
    except OSError as exc:
        if exc.errno not in UNWRITABLE or exc.filename is not None:
            raise
        discard()
        if exc.errno != errno.EPIPE:
            sys.stderr.write(f"stdout cannot be written: {exc.strerror}\n")
        return int(Exit.FAILED)
    return code


def discard() -> None:
    """Discard what is still buffered; else the interpreter would try to write it again when it exits, and fail."""
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), 1)
