"""Settle what can be settled when the workload ends: closed hours, then the running one, inside the budget.

Invariants:
- Closed hours settle while pushes are still taken, and sources are read once more; then the running hour is sealed, no
  push is taken any more, and it is submitted. Where only this container ends, the running hour stays open.
- A part of the budget is reserved for the running hour: closed hours may not use it up.
- Each step runs whatever became of those before it.
- What a try did not settle is counted while the flush still runs, so that a scrape sees it before the process ends.
- What AWS has not answered is sent again while the budget lasts, with a last try just before its end. Once AWS has
  answered everything the flush is over: a long budget costs nothing while AWS answers.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from sidecar.billing.sealer import Sealer
from sidecar.billing.submitter import BATCH_MAX, Submitter
from sidecar.ledger.ledger import Ledger
from sidecar.metering.dispositions import classify
from sidecar.metering.records import UsageRecord
from sidecar.metering.schedule import oldest_first, too_early, unsendable
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass

FLUSHED: Final = 0.85
SPARE_SECONDS_MAX: Final = 2.5
"""Of the flush budget, or all of it but these seconds: after it what is left is logged, and the process ends inside the
budget."""
LAST_WORDS: Final = 0.9
SPARE_SECONDS: Final = 1.0
"""The same for what is logged from memory: after the above, and before the process is killed."""
LAST_TRY: Final = 0.25
LAST_TRY_SECONDS_MAX: Final = 5.0
"""Of the flush budget, for the last try: a child starts, fetches credentials and is answered in it."""
TRY_SECONDS: Final = 10.0
"""A try that has less time before the last one takes its place."""
NOT_ASKED: Final = frozenset({"not_sent", "proxy_malformed", "tls_failed"})
"""Reasons that need a person, and were given by no answer of AWS's."""
PULL: Final = 0.2
PULL_SECONDS_MAX: Final = 2.0
"""Of the flush budget, for sources to be read once more before the running hour is sealed; out of what is reserved."""
RESERVED: Final = 0.4
"""Of the flush budget, for the running hour."""


def last_words(budget_seconds: float) -> float:
    """Return after how many seconds of the budget what is left is logged from memory, if it was not logged before."""
    return max(budget_seconds * LAST_WORDS, budget_seconds - SPARE_SECONDS)


@dataclass
class LastTry:
    """The one try that always stands just before the deadline."""

    at: float
    """Monotonic."""
    made: bool = False


class FinalFlush:
    """Settles what can be settled, once."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        sealer: Sealer,
        submitter: Submitter | None,
        step: Callable[[str, Callable[[], object]], bool],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        sleep_seconds_max: float | None = None,
        on_left: Callable[[int], None] = lambda _number: None,
        last_pushes: Callable[[float], object] = lambda _seconds: None,
    ) -> None:
        """Flush `ledger`. `submitter`: None where nothing may be sent. `sleep_seconds_max` is for a fast `now`.

        `on_left` is called with the number of entries that are not settled, after each try that left some, and at the
        end. `last_pushes` waits so many seconds at most for what others still push. `step` does what it is given, and
        says whether it could be done; it does not raise.
        """
        self._ledger, self._sealer, self._submitter, self._step = ledger, sealer, submitter, step
        self._now, self._monotonic, self._sleep, self._sleep_seconds_max = now, monotonic, sleep, sleep_seconds_max
        self._on_left, self._last_pushes = on_left, last_pushes

    def run(self, began: float, budget_seconds: float, task_keeps_running: bool) -> None:
        """Flush until the budget, which began at `began` (monotonic), is used up."""
        deadline = began + max(budget_seconds * FLUSHED, budget_seconds - SPARE_SECONDS_MAX)
        last_try_at = deadline - min(budget_seconds * LAST_TRY, LAST_TRY_SECONDS_MAX)
        now = self._now()
        self._step("sealing the closed hours", lambda: self._sealer.seal_closed(now, at_once=True))
        self._step("moving on what is too late", lambda: self._expire(now))  # so that the running hour takes it along
        self._step("submitting the closed hours", lambda: self._settle(now, deadline - budget_seconds * RESERVED))
        seconds = min(PULL_SECONDS_MAX, budget_seconds * PULL)
        self._step("reading the sources once more", lambda: self._last_pushes(seconds))
        later = self._now()
        if task_keeps_running:
            self._step("sealing the closed hours", lambda: self._sealer.seal_closed(later, at_once=True))
            self._step("stopping pushes", self._ledger.stop_pushes)
        elif not self._step("sealing the running hour", lambda: self._sealer.seal_running(later)):
            self._step("stopping pushes", self._ledger.stop_pushes)
        self._step("submitting the running hour", lambda: self._settle(later, deadline, last_try_at))
        self._count_left()

    def _count_left(self) -> None:
        self._step("counting what is left", lambda: self._on_left(len(self._ledger.unsettled())))

    def _expire(self, now: datetime) -> None:
        if self._submitter:
            for record in self._ledger.in_state(State.SEALED):
                self._submitter.expire_if_late(record, now)

    def _settle(self, now: datetime, deadline: float, last_try_at: float | None = None) -> None:
        """Submit everything that waits, held or not, and again what AWS has not answered, until `deadline`.

        `last_try_at` (monotonic): when everything is tried once more, whatever its pause.
        """
        last = None if last_try_at is None else LastTry(last_try_at)
        batch = self._sendable(now)
        while batch and self._submitter and self._monotonic() < deadline:
            self._submitter.submit(batch[:BATCH_MAX], now, self._until(deadline, last))
            batch = batch[BATCH_MAX:] or self._wait_for_next(self._submitter, deadline, last)
            now = self._now()

    def _until(self, deadline: float, last: LastTry | None) -> float:
        """Return when a try that begins now is given up: before the last one, where it has time enough until then."""
        has_time = last is not None and not last.made and last.at - self._monotonic() >= TRY_SECONDS
        return last.at if last and has_time else deadline

    def _sendable(self, now: datetime) -> list[UsageRecord]:
        sealed = self._ledger.in_state(State.SEALED)
        return oldest_first(one for one in sealed if not (unsendable(one, now) or too_early(one, now)))

    def _wait_for_next(self, submitter: Submitter, deadline: float, last: LastTry | None) -> list[UsageRecord]:
        """Wait until something may be sent again before `deadline`, and return it; nothing where nothing may."""
        if self._sendable(self._now()):
            self._count_left()
        while True:
            now, clock = self._now(), self._monotonic()
            waiting = [one for one in submitter.without_quarantined(self._sendable(now)) if not answered(one, now)]
            if not waiting or clock >= deadline:
                return []
            if last and not last.made and clock >= last.at:
                last.made = True
                return waiting
            due = [one for one in waiting if one.retry_at is None or one.retry_at <= now]
            if due:
                return due
            seconds = min((one.retry_at - now).total_seconds() for one in waiting if one.retry_at)
            if self._sleep_seconds_max is not None:
                seconds = min(seconds, self._sleep_seconds_max)
            if last and not last.made:
                seconds = min(seconds, last.at - clock)
            if clock + seconds >= deadline:
                return []
            self._sleep(seconds)


def answered(record: UsageRecord, now: datetime) -> bool:
    """Return whether AWS has answered that a person must change something first: nothing changes that in a minute.

    Expired credentials are asked about once more with fresh ones, which is due at once.
    """
    row = classify(record.last_error or "")
    if row.once_more and record.retry_at is not None and record.retry_at <= now:
        return False
    return row.slow and row.definite and row.reason not in NOT_ASKED
