"""Write to the ledger: one thread that owns the one connection, and commits for many callers at once.

Invariants:
- A caller gets its result after the commit that holds its events has returned, never before.
- Pushes that wait together (`writer_queue`) share one transaction and one fsync. A caller that has several calls
  `commit_pending` after the last.
- A failed transaction is rolled back whole and refused (503); the next one tries the disk again, so the
  ledger recovers when the disk does. A commit that the disk did not sync is in the log all the same, and a crash
  would bring it back: it is written over, and that is synced, before another transaction begins. Behind a later commit
  what is left of it would look like damage.
- A file is damaged when the same work finds it so on a second connection, too: a single read that failed can look like
  damage, to SQLite and to us. Nothing of the first try was committed: a commit that fails is not tried again.
- After the last task every push is refused (503 `shutting_down`), in the order of the queue: what was asked
  before it is in, what was asked after it is not. A last task that fails stops nothing.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Generic, NamedTuple, TypeVar

from sidecar.ledger import wal
from sidecar.ledger.bounds import Bounds
from sidecar.ledger.errors import FAILURES, LedgerError, as_ledger_error, let_go
from sidecar.ledger.pushes import PushRequest, apply_group
from sidecar.ledger.statements import sql
from sidecar.ledger.transactions import rollback, transaction
from sidecar.ledger.writer_queue import WriterQueue
from sidecar.metering.events import PushAccepted, PushRefused
from sidecar.metering.push_group import PushResult
from sidecar.quick_dataclasses import dataclass
from sidecar.settings.dimensions import Aggregation

T = TypeVar("T")
COMMIT_SHARE: Final = 0.5
"""The writer waits for more where COMMIT took at least this share of the time that the work before it took. Where
batches are written it took less: then it is better to write while the next ones are read."""
GROUP_EVENTS_MAX: Final = 8000
"""Events in one transaction, beyond the first request: bounds how long the last one waits."""


@dataclass(kw_only=True, slots=True)
class Counters:
    """Counts of what the writer did since it started; written by its thread only."""

    commits: int = 0
    """Transactions of pushes: each is one fsync."""
    commit_seconds: float = 0.0
    accepted: int = 0
    duplicates: int = 0
    failures: int = 0


class _Push(NamedTuple):
    request: PushRequest
    on_result: Callable[[PushResult], None]


class _Task(Generic[T]):
    """One piece of work, done in a transaction by itself."""

    def __init__(self, work: Callable[[sqlite3.Connection], T], last: bool = False) -> None:
        self.work = work
        self.last = last
        self.done = threading.Lock()
        self.done.acquire()
        self.result: T
        self.error: BaseException | None = None


class _Stop:
    """A request to take no more pushes; needs no disk."""

    def __init__(self) -> None:
        self.done = threading.Lock()
        self.done.acquire()


class _End:
    """A request to end the thread."""


_Job = _Push | _Task[object] | _Stop | _End


class Writer:
    """The one thread that writes. Callbacks are called on it: they must be quick and not raise."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        aggregations: Mapping[str, Aggregation],
        open_again: Callable[[], sqlite3.Connection],
        set_aside: Callable[[], None],
    ) -> None:
        """Start the thread. `open_again` returns a new connection where the disk reads the whole file, or begins one.

        `set_aside` gives a damaged file another name.
        """
        self.counters = Counters()
        self.fault: LedgerError | None = None
        self._connection: sqlite3.Connection | None = connection
        self._path = path
        self._aggregations = aggregations
        self._bounds = Bounds()
        self._open_again, self._set_aside = open_again, set_aside
        self._damaged = False
        """The file is to be set aside, and could not be."""
        self._to_undo = False
        """The log may end in a commit that failed."""
        self._queue: WriterQueue[_Push, _Task[object] | _Stop | _End] = WriterQueue()
        self._stopped = False
        self._thread = self._start()

    def _start(self) -> threading.Thread:
        thread = threading.Thread(target=self._run, name="ledger-writer", daemon=True)
        thread.start()
        return thread

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def push(self, request: PushRequest, on_result: Callable[[PushResult], None]) -> None:
        """Take a request for the next `commit_pending`; call `on_result` on the writer's thread once disk has it."""
        if not self._queue.push(_Push(request, on_result)):
            on_result(unavailable(LedgerError("shutting_down")))

    def commit_pending(self) -> None:
        """Have the thread write what was pushed."""
        self._queue.commit_pending()

    def run(self, work: Callable[[sqlite3.Connection], T], *, last: bool = False) -> T:
        """Run `work` in a transaction and wait for it; after the `last` one no push is taken.

        Raises LedgerError, and what `work` raises itself.
        """
        task = _Task(work, last)
        if not self._queue.run(task):  # type: ignore[arg-type]  # the queue does not look at the result
            raise LedgerError("ledger_closed")
        task.done.acquire()
        if task.error is not None:
            raise task.error
        return task.result

    def stop_pushes(self) -> None:
        """Take no more pushes; return when every earlier one has its result. Calling it twice does no harm."""
        stop = _Stop()
        if self._queue.run(stop):
            stop.done.acquire()

    def close(self) -> None:
        """Finish what is queued, then end the thread and the connection. Calling it twice does no harm."""
        self._queue.run(_End(), last=True)
        self._thread.join()

    def _run(self) -> None:
        jobs = self._queue.take()
        while True:
            started, committed = time.perf_counter(), self.counters.commit_seconds
            if not self._run_jobs(jobs):
                break
            commit = self.counters.commit_seconds - committed
            work = time.perf_counter() - started - commit
            pushes = sum(type(job) is _Push for job in jobs)
            jobs = self._queue.take(pushes if commit >= work * COMMIT_SHARE else 1, commit)
        self._disconnect()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        try:
            if connection:
                connection.close()
        except sqlite3.Error:
            pass  # everything acknowledged is in the log, which the next opening reads

    def _run_jobs(self, jobs: Sequence[_Job]) -> bool:
        """Run everything in order; return False after `close`."""
        group: list[_Push] = []
        events = 0
        for job in jobs:
            if isinstance(job, _Push):
                if group and events + len(job.request.sent) > GROUP_EVENTS_MAX:
                    self._commit(group)
                    group, events = [], 0
                group.append(job)
                events += len(job.request.sent)
                continue
            if group:
                self._commit(group)
                group, events = [], 0
            if isinstance(job, _End):
                return False
            if isinstance(job, _Stop):
                self._stopped = True
                job.done.release()
                continue
            self._run_task(job)
        if group:
            self._commit(group)
        return True

    def _commit(self, group: Sequence[_Push]) -> None:
        results = self._apply(group)
        for result in results:
            if isinstance(result, PushAccepted):
                self.counters.accepted += result.accepted
                self.counters.duplicates += result.duplicates
        for push, result in zip(group, results, strict=True):
            try:
                push.on_result(result)
            except Exception:  # noqa: S110 - the client's trouble: the others are answered, and the thread goes on
                pass

    def _apply(self, group: Sequence[_Push]) -> Sequence[PushResult]:
        if self._stopped:
            return [unavailable(LedgerError("shutting_down"))] * len(group)
        try:
            return self._transact(
                lambda connection: apply_group(
                    connection, [push.request for push in group], self._aggregations, self._bounds
                )
            )
        except BaseException as exc:  # the thread goes on; every push of the group has an answer
            self._bounds.forget()
            return [unavailable(self._failed(exc))] * len(group)

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`; when this returns, it is on disk."""
        try:
            connection, result = self._begin(work)
        except (*FAILURES, LedgerError) as exc:
            if as_ledger_error(exc, self._path).reason != "ledger_corrupt":
                raise
            let_go(exc)
            self._disconnect()
            connection, result = self._begin(work)
        started = time.perf_counter()
        try:
            connection.execute("COMMIT")
        except BaseException as exc:
            rollback(connection)
            if getattr(exc, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_FULL:  # full: the end was not written
                self._to_undo = True
                with contextlib.suppress(*FAILURES):  # the next transaction tries it again
                    self._undo_commit(connection)
            raise
        self.counters.commit_seconds += time.perf_counter() - started
        self.counters.commits += 1
        self.fault = None
        return result

    def _connect(self) -> sqlite3.Connection:
        if self._damaged:
            self._set_aside()
            self._damaged = False
        connection = self._open_again()  # which writes the log again
        self._bounds.forget()
        self._to_undo = False
        return connection

    def _begin(self, work: Callable[[sqlite3.Connection], T]) -> tuple[sqlite3.Connection, T]:
        """Begin a transaction, run `work` in it, and return its connection as well."""
        connection = self._connection = self._connection or self._connect()
        if self._to_undo:
            self._undo_commit(connection)
        connection.execute("BEGIN IMMEDIATE")
        try:
            return connection, work(connection)
        except BaseException:
            rollback(connection)
            raise

    def _undo_commit(self, connection: sqlite3.Connection) -> None:
        """Write over what a failed commit left in the log, where it looks like one that succeeded. Raises FAILURES.

        Each step is tried, whatever became of the one before: it takes away some of it.
        """
        faults: list[BaseException] = []
        for step in (partial(_overwrite, connection), partial(wal.cut, self._path), partial(wal.renew, self._path)):
            try:
                step()
            except FAILURES as exc:
                faults.append(exc)
        if faults:
            raise faults[0]
        self._to_undo = False

    def _run_task(self, task: _Task[object]) -> None:
        try:
            task.result = self._transact(task.work)
            self._stopped = self._stopped or task.last
        except (*FAILURES, LedgerError) as exc:
            task.error = self._failed(exc)
        except BaseException as exc:  # raised in the thread that waits for the task
            task.error = exc
        task.done.release()

    def _failed(self, exc: BaseException) -> LedgerError:
        """Remember why; where the file cannot be read, continue with a new one."""
        error = self.fault = as_ledger_error(exc, self._path)
        self.counters.failures += 1
        if error.reason == "ledger_corrupt" and not self._damaged:
            self._disconnect()
            self._damaged = True
            try:
                self._connection = self._connect()
            except (*FAILURES, LedgerError) as second:
                self.fault = as_ledger_error(second, self._path)  # tried again by the next transaction
        return error


def _overwrite(connection: sqlite3.Connection) -> None:
    """Commit something short over the start of a commit that failed."""
    with transaction(connection):
        connection.execute(sql("meta_overwritten"))


def unavailable(error: LedgerError) -> PushRefused:
    """Return the result of a push that the ledger cannot keep."""
    return PushRefused(status=503, reason=error.reason, detail=error.hint)
