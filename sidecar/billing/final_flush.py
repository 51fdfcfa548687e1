"""Settle what can be settled when the workload ends: closed hours, then the running one, inside the budget.

Invariants:
- Closed hours settle while pushes are still taken; then the running hour is sealed, no push is taken any more, and it
  is submitted. Where only this container ends, the running hour stays open.
- A part of the budget is reserved for the running hour: closed hours may not use it up.
- Each step runs whatever became of those before it.
- What AWS could not take is retried while the budget lasts.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from sidecar.billing.sealer import Sealer
from sidecar.billing.submitter import BATCH_MAX, Submitter
from sidecar.ledger.ledger import Ledger
from sidecar.metering.records import UsageRecord
from sidecar.metering.schedule import oldest_first, too_early, too_late
from sidecar.metering.states import State

FLUSHED: Final = 0.85
"""Of the flush budget: after it what is left is logged, and the process ends inside the budget."""
LAST_WORDS: Final = 0.9
"""Of the flush budget: behind FLUSHED, and before the process is killed."""
RESERVED: Final = 0.4
"""Of the flush budget, for the running hour."""


def last_words(budget_seconds: float) -> float:
    """Return after how many seconds of the budget what is left is logged from memory, if it was not logged before."""
    return max(budget_seconds * LAST_WORDS, budget_seconds - 1)


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
    ) -> None:
        """Flush `ledger`. `submitter`: None where nothing may be sent. `sleep_seconds_max` is for a fast `now`.

        `step` does what it is given, and says whether it could be done; it does not raise.
        """
        self._ledger, self._sealer, self._submitter, self._step = ledger, sealer, submitter, step
        self._now, self._monotonic, self._sleep, self._sleep_seconds_max = now, monotonic, sleep, sleep_seconds_max

    def run(self, began: float, budget_seconds: float, task_keeps_running: bool) -> None:
        """Flush until the budget, which began at `began` (monotonic), is used up."""
        deadline = began + budget_seconds * FLUSHED
        now = self._now()
        self._step("sealing the closed hours", lambda: self._sealer.seal_closed(now, at_once=True))
        self._step("moving on what is too late", lambda: self._expire(now))  # so that the running hour takes it along
        self._step("submitting the closed hours", lambda: self._settle(now, deadline - budget_seconds * RESERVED))
        later = self._now()
        if task_keeps_running:
            self._step("sealing the closed hours", lambda: self._sealer.seal_closed(later, at_once=True))
            self._step("stopping pushes", self._ledger.stop_pushes)
        elif not self._step("sealing the running hour", lambda: self._sealer.seal_running(later)):
            self._step("stopping pushes", self._ledger.stop_pushes)
        self._step("submitting the running hour", lambda: self._settle(later, deadline))

    def _expire(self, now: datetime) -> None:
        if self._submitter:
            for record in self._ledger.in_state(State.SEALED):
                self._submitter.expire_if_late(record, now)

    def _settle(self, now: datetime, deadline: float) -> None:
        """Submit everything that waits, held or not, and again what AWS could not take, until `deadline`."""
        batch = self._sendable(now)
        while batch and self._submitter and self._monotonic() < deadline:
            self._submitter.submit(batch[:BATCH_MAX], now, deadline)
            batch = batch[BATCH_MAX:]
            if not batch:
                now = self._wait_for_due(deadline)
                batch = oldest_first(self._submitter.due(now))

    def _sendable(self, now: datetime) -> list[UsageRecord]:
        sealed = self._ledger.in_state(State.SEALED)
        return oldest_first(one for one in sealed if not (too_late(one.hour, now) or too_early(one, now)))

    def _wait_for_due(self, deadline: float) -> datetime:
        """Return the instant at which something may be sent again, where that is before `deadline`; else now."""
        while True:
            now = self._now()
            due = [record.retry_at for record in self._sendable(now) if record.retry_at]
            if not due or min(due) <= now:
                return now
            seconds = (min(due) - now).total_seconds()
            if self._sleep_seconds_max is not None:
                seconds = min(seconds, self._sleep_seconds_max)
            if self._monotonic() + seconds >= deadline:
                return now
            self._sleep(seconds)
