"""Run pieces of work in order on one thread, which is started with the first of them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue


class OneThread:
    """A thread and the work that waits for it. `submit` belongs to one thread, the poller's."""

    def __init__(self, name: str, queue_max: int) -> None:
        self._name, self._queue_max = name, queue_max
        self._work: SimpleQueue[Callable[[], object]] = SimpleQueue()
        self._started = False

    def submit(self, work: Callable[[], object]) -> bool:
        """Run this after what was submitted before it. Returns False where too much waits.

        It is to report its failures itself: one that it raises only ends this piece of work.
        """
        if self._work.qsize() >= self._queue_max or not self._start():
            return False
        self._work.put(work)
        return True

    def _start(self) -> bool:
        if not self._started:
            try:
                threading.Thread(target=self._run, name=self._name, daemon=True).start()
            except RuntimeError:  # no thread to be had
                return False
            self._started = True
        return True

    def _run(self) -> None:
        while True:
            work = self._work.get()
            with suppress(BaseException):  # the thread survives whatever the work does
                work()
            del work
