"""Have one thread commit the pushes that wait together, so that they share a transaction and its wait for the disk.

Invariants:
- A caller gets its result after the commit that holds its events has returned, never before.
- A group that fails is refused whole (503), unless one of its requests is at fault: then each is committed alone.
- After `stop` every push is refused (503 `shutting_down`); what came before is committed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import Empty, SimpleQueue
from typing import Final, Generic, TypeVar

R = TypeVar("R")
S = TypeVar("S")
GROUP_REQUESTS_MAX: Final = 256


class _Job(Generic[R, S]):
    def __init__(self, request: R) -> None:
        self.request = request
        self.done = threading.Event()
        self.result: S
        self.error: BaseException | None = None


class PushWriter(Generic[R, S]):
    """The one thread that commits."""

    def __init__(self, commit: Callable[[Sequence[R]], Sequence[S]]) -> None:
        """Start the thread. `commit` returns one result for each request, once they are committed."""
        self._commit = commit
        self._queue: SimpleQueue[_Job[R, S] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="saas-writer", daemon=True)
        self._thread.start()

    def push(self, request: R) -> S | None:
        """Return the result of a request once it is committed; None after `stop`. Raises what `commit` raises."""
        job: _Job[R, S] = _Job(request)
        with self._lock:
            if self._stopped:
                return None
            self._queue.put(job)
        job.done.wait()
        if job.error is not None:
            raise job.error
        return job.result

    def stop(self) -> None:
        """Commit what waits, then end the thread. Calling it twice does no harm."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            jobs: list[_Job[R, S]] = []
            first = self._queue.get()
            going = first is not None
            if first is not None:
                jobs.append(first)
            while going and len(jobs) < GROUP_REQUESTS_MAX:
                try:
                    job = self._queue.get_nowait()
                except Empty:
                    break
                if job is None:
                    going = False
                else:
                    jobs.append(job)
            if jobs:
                self._commit_jobs(jobs)

    def _commit_jobs(self, jobs: Sequence[_Job[R, S]]) -> None:
        try:
            for job, result in zip(jobs, self._commit([job.request for job in jobs]), strict=True):
                job.result = result
        except BaseException as exc:  # raised in the threads that wait; this one goes on
            for job in jobs:
                job.error = exc
        for job in jobs:
            job.done.set()
