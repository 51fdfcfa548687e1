"""Run work that may wait on a few threads, behind a bounded queue.

Invariants:
- `submit` never blocks: it returns False when the threads and the queue are full.
- Results come back through a queue and an eventfd, so the poller sleeps until there is one.
- A thread that made something big waits until the poller has taken it: finished responses do not pile up.
- Threads start when they are first needed, wait without a timeout, and end with the process: a route that hangs holds
  one of them and nothing else.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Generic, TypeVar

Key = TypeVar("Key")
Result = TypeVar("Result")


class Pool(Generic[Key, Result]):
    """Runs work elsewhere and hands each result back with the key it was submitted under.

    `submit` and `results` belong to one thread, the poller's. Work must not raise.
    """

    def __init__(self, threads_max: int, queue_max: int, is_big: Callable[[Result], bool]) -> None:
        self._is_big = is_big
        self._threads_max = threads_max
        self._in_hand_max = threads_max + queue_max
        self._in_hand = 0
        self._threads = 0
        self._work: SimpleQueue[tuple[Key, Callable[[], Result]]] = SimpleQueue()
        self._done: SimpleQueue[tuple[Key, Result, threading.Lock | None]] = SimpleQueue()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return a descriptor that is readable when there are results."""
        return self._wake

    def submit(self, key: Key, work: Callable[[], Result]) -> bool:
        """Run this on a thread, or return False: the pool is full."""
        if self._in_hand >= self._in_hand_max or not self._has_thread():
            return False
        self._in_hand += 1
        self._work.put((key, work))
        return True

    def results(self) -> Iterator[tuple[Key, Result]]:
        """Yield what has finished since the last call."""
        try:
            os.eventfd_read(self._wake)
        except BlockingIOError:
            return
        while True:
            try:
                key, result, taken = self._done.get_nowait()
            except Empty:
                return
            self._in_hand -= 1
            yield key, result
            if taken is not None:
                taken.release()

    def _has_thread(self) -> bool:
        if self._in_hand >= self._threads and self._threads < self._threads_max:
            thread = threading.Thread(target=self._run, name=f"pool-{self._threads}", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no thread to be had: those that run take the work
                return self._threads > 0
            self._threads += 1
        return True

    def _run(self) -> None:
        while True:
            self._hand_back(*self._work.get())

    def _hand_back(self, key: Key, work: Callable[[], Result]) -> None:
        result = work()
        taken = threading.Lock() if self._is_big(result) else None
        if taken is not None:
            taken.acquire()
        self._done.put((key, result, taken))
        del result  # the poller's from here on
        os.eventfd_write(self._wake, 1)
        if taken is not None:
            taken.acquire()
