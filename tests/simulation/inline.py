"""Run the ledger's writer in the thread of its caller: everything it does, and no thread.

Invariants:
- What is queued is done before its caller goes on, in the order of the queue: as if the writer were always the faster
  one. Pushes that arrive together are queued together, and are one transaction here too.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from sidecar.ledger.writer import Writer
from sidecar.ledger.writer_queue import WriterQueue


class InlineWriter(Writer):
    """The writer, without a thread of its own."""

    def _start(self) -> threading.Thread:
        self._queue = runner = Runner(self._run_jobs, self._disconnect)
        return runner  # type: ignore[return-value]


class Runner(WriterQueue[Any, Any]):
    """The writer's queue and its thread."""

    def __init__(self, work: Callable[[list[Any]], bool], end: Callable[[], None]) -> None:
        super().__init__()
        self._work, self._end, self._going = work, end, True

    def commit_pending(self) -> None:
        """Do what was pushed."""
        if self._jobs:
            self._going = self._work(self.take())
            if not self._going:
                self._end()

    def run(self, task: Any, *, last: bool = False) -> bool:
        """Do a task."""
        added = super().run(task, last=last)
        self.commit_pending()
        return added

    def is_alive(self) -> bool:
        return self._going

    def join(self) -> None:
        """Wait for nothing: what was queued is done."""
