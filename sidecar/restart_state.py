"""Keep in memory what a new worker must know of the last one.

If the worker crashes, the supervisor starts another; the gate it had opened must stay open, the workload keep its name,
and the start-up budget must not begin again. The state is an anonymous file that the supervisor holds, so it ends with
the container and touches no disk. A worker that ends the process also leaves its exit code there.

Invariants:
- One JSON object. A new one is written beside it; the head, which is short enough to be written whole or not at all,
  then says where it is. So a worker that is killed while it writes leaves the last one.
- Only the one worker writes, one loop at a time.
- No secrets.
"""

from __future__ import annotations

import json
import os
import threading
from typing import Any, Final

DIGITS: Final = 12
HEAD_BYTES: Final = 2 * DIGITS
"""Where the object begins, and its length."""


class RestartState:
    """The memory shared by the supervisor and each worker it starts."""

    def __init__(self, handle: int | None = None) -> None:
        """`handle`: the file that the supervisor holds; without one it is this process's own."""
        self._handle = os.memfd_create("restart-state", os.MFD_CLOEXEC) if handle is None else handle
        self._lock = threading.RLock()

    def update(self, **facts: object) -> None:
        """Add facts, replacing those of the same name."""
        with self._lock:
            start, length = self._place()
            text = json.dumps(self.read() | facts).encode()
            start = HEAD_BYTES if HEAD_BYTES + len(text) <= start else max(HEAD_BYTES, start + length)
            os.pwrite(self._handle, text, start)
            os.pwrite(self._handle, f"{start:0{DIGITS}d}{len(text):0{DIGITS}d}".encode(), 0)

    def read(self) -> dict[str, Any]:
        """Return every fact."""
        with self._lock:
            start, length = self._place()
            found = json.loads(os.pread(self._handle, length, start)) if length else {}
        return found if isinstance(found, dict) else {}

    def _place(self) -> tuple[int, int]:
        head = os.pread(self._handle, HEAD_BYTES, 0)
        return (int(head[:DIGITS]), int(head[DIGITS:])) if head else (0, 0)

    def log_level(self) -> str:
        """Return the level that the worker logs at."""
        return str(self.read().get("log_level", "info"))

    def kept(self, name: str, made: str) -> str:
        """Return the text of this name that the first worker made; `made`, where this is it."""
        facts = self.read()
        if name not in facts:
            self.update(**{name: made})
        return str(facts.get(name, made))
