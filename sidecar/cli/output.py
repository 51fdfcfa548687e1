"""What becomes of a command whose words nobody takes? A full disk, a pipe whose reader has gone, no stdout at all.

Rules kept here:
- It is one line on stderr and 1, never a traceback; a reader that only wanted the beginning is told nothing.
- `run` is not asked here: it prints nothing, and its failures mean something else.
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
    """Run a command that prints, and see that what it said is out."""
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115 - closed by whoever called
    try:
        code = command()
        sys.stdout.flush()
    except OSError as exc:
        if exc.errno not in UNWRITABLE or exc.filename is not None:
            raise
        silence()
        if exc.errno != errno.EPIPE:
            sys.stderr.write(f"stdout cannot be written: {exc.strerror}\n")
        return int(Exit.FAILED)
    return code


def silence() -> None:
    """What is still in the buffer goes nowhere; else the interpreter would try again, and fail, on its way out."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
