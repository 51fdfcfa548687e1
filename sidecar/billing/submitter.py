"""Submit sealed records to AWS, one short-lived child at a time, and store what came of it.

Invariants:
- Nothing is sent before the disk says that it is about to be sent.
- An answer, its meaning and its line in the audit trail are stored in one transaction; then it is logged.
- A child takes no longer than its budget, nor than the final flush allows.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Final

from sidecar import log
from sidecar.billing.events import BillingEvents
from sidecar.billing.messages import Submission, SubmissionResult, budget_seconds, read_results
from sidecar.child import process
from sidecar.child.process import CHILD_FAILED, ChildProcess
from sidecar.ledger.ledger import Ledger
from sidecar.metering.decide import Decision, Policy, decide, decide_if_late
from sidecar.metering.outcomes import Refused, Settled
from sidecar.metering.records import UsageRecord
from sidecar.metering.sealed_request import SealedRequest
from sidecar.metering.states import Disposition

BATCH_MAX: Final = 25
"""Records one child sends."""
NOT_STARTED: Final = Refused(code=CHILD_FAILED, sent=False)


class Submitter:
    """Sends one workload's records. `waits` is called with whether AWS, not the disk, is waited for."""

    def __init__(
        self,
        *,
        policy: Policy,
        region: str,
        endpoint_url: str | None,
        accounts: BillingEvents,
        waits: Callable[[bool], None],
        start_child: Callable[[Submission], ChildProcess] = process.spawn,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._policy, self._region, self._endpoint_url = policy, region, endpoint_url
        self._accounts, self._waits, self._start_child, self._chance = accounts, waits, start_child, chance
        self._guard = threading.Lock()
        self._under_way: ChildProcess | None = None
        self.answers: dict[str, int] = {one.value: 0 for one in Disposition}
        """What became of records, by what it meant for them."""

    def expire_if_late(self, ledger: Ledger, record: UsageRecord, now: datetime) -> bool:
        """Return whether it was too late for a record, and it was moved on."""
        decision = decide_if_late(record, now)
        if decision is not None:
            self._keep(ledger, decision, now, SubmissionResult(outcome=Refused(code=decision.code, sent=False)))
        return decision is not None

    def send(
        self, ledger: Ledger, batch: Sequence[UsageRecord], now: datetime, deadline: float | None = None
    ) -> frozenset[str]:
        """Send these requests, keep what became of each; the dimensions AWS took a record of.

        `deadline` (monotonic): the end of the process. Raises LedgerError.
        """
        ledger.mark_sending(batch)
        self._waits(True)
        answers = self._ask(tuple(record.request for record in batch if record.request), deadline)
        self._waits(False)
        for record, answered in zip(batch, answers, strict=True):
            self._keep(ledger, decide(record, answered.outcome, now, self._policy, self._chance()), now, answered)
        pairs = zip(batch, answers, strict=True)
        return frozenset(record.dimension for record, got in pairs if isinstance(got.outcome, Settled))

    def abort_current(self) -> None:
        """End the child that is under way, unless it was sent for the end: it has had its share of the budget."""
        with self._guard:
            if self._under_way:
                self._under_way.kill()

    def _ask(self, requests: tuple[SealedRequest, ...], deadline: float | None) -> Sequence[SubmissionResult]:
        question = Submission(
            requests=requests,
            region=self._region,
            endpoint_url=self._endpoint_url,
            workload=self._policy.workload,
        )
        until = time.monotonic() + budget_seconds(len(requests))
        try:
            current = self._start_child(question)
        except OSError as exc:
            log.error("child.failed", code=CHILD_FAILED, crash=type(exc).__name__)
            return [SubmissionResult(outcome=NOT_STARTED)] * len(requests)
        with self._guard:
            self._under_way = current if deadline is None else None
        try:
            return read_results(current, question, until if deadline is None else min(until, deadline))
        finally:
            with self._guard:
                self._under_way = None

    def _keep(self, ledger: Ledger, decision: Decision, now: datetime, answered: SubmissionResult) -> None:
        kept = ledger.save(
            decision.record, now, outcome=decision.code, detail=answered.request_id, roll_forward=decision.roll_forward
        )
        self.answers[decision.disposition.value] += 1
        earlier = ledger.earlier_hours(kept) if decision.disposition is Disposition.SETTLE else ()
        self._accounts.decided(decision, kept, answered, earlier)
