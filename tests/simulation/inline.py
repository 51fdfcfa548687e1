"""Run the ledger's writer in the thread of its caller: everything it does, and no thread.

Invariants:
- What is queued is done before `put` returns, in the order of the queue: as if the writer were always the faster one.
  Pushes that arrive together are queued together, and are one transaction here too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sidecar.ledger.writer import Writer


class InlineWriter(Writer):
    """The writer, without a thread of its own."""

    def _start(self) -> threading.Thread:
        runner = Runner(self._run_jobs, self._disconnect)
        self._queue = runner  # type: ignore[assignment]
        return runner  # type: ignore[return-value]


class Runner:
    """The writer's queue and its thread."""

    def __init__(self, run: Callable[[list[Any]], bool], end: Callable[[], None]) -> None:
        self._run, self._end, self._going = run, end, True

    def put(self, job: Any) -> None:
        """Do a job."""
        self._going = self._run([job])
        if not self._going:
            self._end()

    def is_alive(self) -> bool:
        return self._going

    def join(self) -> None:
        """Wait for nothing: what was queued is done."""
