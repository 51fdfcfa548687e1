"""Settle what can be settled when the workload ends: closed hours, then the running one, inside the budget.

Invariants:
- Closed hours settle while pushes are still taken; then the running hour is sealed, no push is taken any more, and it
  is submitted. Where only this container ends, the running hour stays open.
- A part of the budget is reserved for the running hour: closed hours may not use it up.
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
RESERVED: Final = 0.4
"""Of the flush budget, for the running hour."""


class FinalFlush:
    """Settles what can be settled, once."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        sealer: Sealer,
        submitter: Submitter | None,
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        sleep_seconds_max: float | None = None,
    ) -> None:
        """Flush `ledger`. `submitter`: None where nothing may be sent. `sleep_seconds_max` is for a fast `now`."""
        self._ledger, self._sealer, self._submitter = ledger, sealer, submitter
        self._now, self._monotonic, self._sleep, self._sleep_seconds_max = now, monotonic, sleep, sleep_seconds_max

    def run(self, began: float, budget_seconds: float, task_keeps_running: bool) -> None:
        """Flush until the budget, which began at `began` (monotonic), is used up. Raises LedgerError."""
        deadline = began + budget_seconds * FLUSHED
        now = self._now()
        self._sealer.seal_closed(now, at_once=True)
        if self._submitter:
            for record in self._ledger.in_state(State.SEALED):
                self._submitter.expire_if_late(record, now)  # so that the running hour takes it along
        self._settle(now, deadline - budget_seconds * RESERVED)
        now = self._now()
        self._sealer.seal_closed(now, at_once=True)  # an hour may have ended meanwhile
        if task_keeps_running:
            self._ledger.stop_pushes()
        else:
            self._sealer.seal_running(now)
        self._settle(now, deadline)

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
