"""Keep in memory what a new worker must know of the last one.

If the worker crashes, the arbiter starts another; the gate it had opened must stay open, and the start-up budget must
not begin again. The state is an anonymous file that the arbiter holds, so it ends with the container and touches no
disk. A worker that ends the process also leaves its exit code there.

Invariants:
- One JSON object behind its length, replaced by one write; only the one worker writes, one loop at a time.
- No secrets.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Final

LENGTH_DIGITS: Final = 8


class RestartState:
    """The memory shared by the master and each worker it starts."""

    def __init__(self) -> None:
        self._handle = os.memfd_create("restart-state", os.MFD_CLOEXEC)
        self._writing = threading.Lock()

    def update(self, **facts: object) -> None:
        """Add facts, replacing those of the same name."""
        with self._writing:
            text = json.dumps(self.read() | facts).encode()
            os.pwrite(self._handle, f"{len(text):0{LENGTH_DIGITS}d}".encode() + text, 0)

    def read(self) -> dict[str, Any]:
        """Return every fact."""
        length = os.pread(self._handle, LENGTH_DIGITS, 0)
        found = json.loads(os.pread(self._handle, int(length), LENGTH_DIGITS)) if length else {}
        return found if isinstance(found, dict) else {}
