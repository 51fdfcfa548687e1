"""Submit sealed records to AWS, one short-lived child at a time, and store what came of it.

Invariants:
- Nothing is sent before the disk says that it is about to be sent.
- What came of a record, its meaning and its line in the audit trail are stored in one transaction; then it is logged.
- A child takes no longer than its budget, nor than the final flush allows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from sidecar import log
from sidecar.billing.events import BillingEvents
from sidecar.billing.messages import Submission, SubmissionResult, budget_seconds, read_results
from sidecar.child.process import CHILD_FAILED, ChildProcess
from sidecar.ledger.ledger import Ledger
from sidecar.metering.decide import Decision, Policy, decide, decide_if_late
from sidecar.metering.outcomes import Refused, Settled
from sidecar.metering.records import UsageRecord
from sidecar.metering.schedule import oldest_first, too_early
from sidecar.metering.sealed_request import SealedRequest
from sidecar.metering.states import Disposition, State
from sidecar.settings import OnDispute, Settings

BATCH_MAX: Final = 25
"""Records one child sends."""
ROUNDS_MAX: Final = 6
"""Batches of one pass; repairs and fresh credentials are tried at once, but not again and again."""


class Submitter:
    """Submits one workload's records."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        events: BillingEvents,
        *,
        on_wait: Callable[[bool], None],
        on_answers: Callable[[frozenset[str]], None],
        start_child: Callable[[Submission], ChildProcess],
        chance: Callable[[], float],
    ) -> None:
        """Submit from `ledger`, for the workload and region that `events` names.

        `on_wait` is called with whether AWS, not the disk, is waited for; `on_answers` after each batch, with the
        dimensions AWS took a record of. `chance` returns a number in [0, 1), new each time.
        """
        roll_forward = settings.on_dispute is OnDispute.ROLL_FORWARD
        self._policy = Policy(workload=events.workload, roll_forward_disputed=roll_forward)
        self._ledger, self._endpoint_url, self._events = ledger, settings.endpoint_url, events
        self._on_wait, self._on_answers = on_wait, on_answers
        self._start_child, self._chance = start_child, chance
        self._guard = threading.Lock()
        self._current: ChildProcess | None = None

    def expire_if_late(self, record: UsageRecord, now: datetime) -> bool:
        """Return whether it was too late for a record, and it was moved on. Raises LedgerError."""
        decision = decide_if_late(record, now)
        if decision is not None:
            self._store(decision, now)
        return decision is not None

    def submit_due(self, now: datetime, at_once: bool, stopping: Callable[[], bool]) -> None:
        """Submit what is due, oldest first, in batches; with `at_once` also what is held, once. Raises LedgerError."""
        sealed = self._ledger.in_state(State.SEALED) if at_once else ()
        held = [record for record in sealed if not too_early(record, now)]
        for _ in range(ROUNDS_MAX):
            found = held[:BATCH_MAX] or list(self._ledger.due(now, BATCH_MAX))
            held = held[BATCH_MAX:]
            batch = [record for record in found if not self.expire_if_late(record, now)]
            if batch:
                self.submit(oldest_first(batch), now)
            if not found or stopping():
                return

    def submit(self, batch: Sequence[UsageRecord], now: datetime, deadline: float | None = None) -> None:
        """Submit records and store what came of each. `deadline` (monotonic): the end of the process.

        Raises LedgerError.
        """
        self._ledger.mark_sending(batch)
        self._on_wait(True)
        results = self._run_child(tuple(record.request for record in batch if record.request), deadline)
        self._on_wait(False)
        for record, result in zip(batch, results, strict=True):
            self._store(decide(record, result.outcome, now, self._policy, self._chance()), now, result)
        pairs = zip(batch, results, strict=True)
        self._on_answers(frozenset(record.dimension for record, got in pairs if isinstance(got.outcome, Settled)))

    def abort_current(self) -> None:
        """Kill the child that runs now, unless the final flush started it: the others have had their share of time."""
        with self._guard:
            if self._current:
                self._current.kill()

    def _run_child(self, requests: tuple[SealedRequest, ...], deadline: float | None) -> Sequence[SubmissionResult]:
        submission = Submission(
            requests=requests,
            region=self._events.region,
            endpoint_url=self._endpoint_url,
            workload=self._policy.workload,
        )
        until = time.monotonic() + budget_seconds(len(requests))
        try:
            child = self._start_child(submission)
        except OSError as exc:
            log.error("child.failed", code=CHILD_FAILED, crash=type(exc).__name__)
            return [SubmissionResult(outcome=Refused(code=CHILD_FAILED, sent=False))] * len(requests)
        with self._guard:
            self._current = child if deadline is None else None
        try:
            return read_results(child, submission, until if deadline is None else min(until, deadline))
        finally:
            with self._guard:
                self._current = None

    def _store(self, decision: Decision, now: datetime, result: SubmissionResult | None = None) -> None:
        """Store a decision and log it; `result` is None where nothing was sent."""
        stored = self._ledger.save(
            decision.record,
            now,
            outcome=decision.code,
            detail=result.request_id if result else "",
            roll_forward=decision.roll_forward,
        )
        earlier = self._ledger.earlier_hours(stored) if decision.disposition is Disposition.SETTLE else ()
        self._events.decided(decision, stored, result, earlier)
