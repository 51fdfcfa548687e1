"""Keep in memory what a new worker must know of the last one.

If the worker crashes, the supervisor starts another; the gate it had opened must stay open, the workload keep its name,
and the start-up budget must not begin again. The state is an anonymous file that the supervisor holds, so it ends with
the container and touches no disk. A worker that ends the process also leaves its exit code there.

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
    """The memory shared by the supervisor and each worker it starts."""

    def __init__(self, handle: int | None = None) -> None:
        """`handle`: the file that the supervisor holds; without one it is this process's own."""
        self._handle = os.memfd_create("restart-state", os.MFD_CLOEXEC) if handle is None else handle
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

    def log_level(self) -> str:
        """Return the level that the worker logs at."""
        return str(self.read().get("log_level", "info"))

    def kept(self, name: str, made: str) -> str:
        """Return the text of this name that the first worker made; `made`, where this is it."""
        facts = self.read()
        if name not in facts:
            self.update(**{name: made})
        return str(facts.get(name, made))
