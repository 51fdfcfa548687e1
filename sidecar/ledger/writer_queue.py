"""Hold what waits for the ledger's writer, in order, and wake the writer when there is enough for a commit.

Invariants:
- After several pushes in one commit the writer waits for as many: clients that push one after another push again once
  they are answered, and one fsync serves all. It waits as long as COMMIT took, within bounds. A task is taken at once,
  and so is a push where the last commit had one push, or is longer ago than that.
- A busy writer is not woken: it takes what has come when it is done.
- Where nothing is expected it waits without a timeout: an idle pod is not woken.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Final, Generic, TypeVar

Push = TypeVar("Push")
Task = TypeVar("Task")

GRACE_SECONDS_MIN: Final = 0.001
GRACE_SECONDS_MAX: Final = 0.02
"""How long the writer may wait for pushes that are expected, after a commit."""
NEVER: Final = sys.maxsize


class WriterQueue(Generic[Push, Task]):
    """What waits, between the threads that push and the one that writes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: list[Push | Task] = []
        self._tasks = False
        """Whether a task is among the jobs."""
        self._wanted = NEVER
        """How many jobs wake the writer; NEVER while it is busy."""
        self._wake = threading.Lock()
        """Held while there is no need to wake the writer."""
        self._wake.acquire()
        self._closed = False

    def push(self, push: Push) -> bool:
        """Add a push for the next `commit_pending`. Returns False where it is closed."""
        with self._lock:
            if not self._closed:
                self._jobs.append(push)
            return not self._closed

    def commit_pending(self) -> None:
        """Wake the writer, if it waits and this is enough for it."""
        with self._lock:
            self._wake_if(len(self._jobs) >= self._wanted)

    def run(self, task: Task, *, last: bool = False) -> bool:
        """Add a task, which wakes the writer. Returns False where it is closed. `last`: then it is."""
        with self._lock:
            if self._closed:
                return False
            self._closed = last
            self._jobs.append(task)
            self._tasks = True
            self._wake_if(self._wanted < NEVER)
            return True

    def _wake_if(self, enough: bool) -> None:
        if enough and self._wake.locked():
            self._wake.release()

    def take(self, expected: int = 1, seconds: float = 0.0) -> list[Push | Task]:
        """Return everything that waits, once something does. For the writer's thread alone.

        `expected`: pushes that are worth waiting for, about so many `seconds`.
        """
        grace = min(max(seconds, GRACE_SECONDS_MIN), GRACE_SECONDS_MAX) if expected > 1 else 0.0
        until, enough = time.perf_counter() + grace, max(expected, 1)
        while True:
            with self._lock:
                left = until - time.perf_counter()
                if self._tasks or len(self._jobs) >= enough or (self._jobs and left <= 0):
                    jobs, self._jobs, self._tasks, self._wanted = self._jobs, [], False, NEVER
                    return jobs
                self._wanted = enough if left > 0 else 1
            # It may have been released for jobs that were taken since: then the loop runs once more, and waits again.
            self._wake.acquire(timeout=left if left > 0 else -1)
