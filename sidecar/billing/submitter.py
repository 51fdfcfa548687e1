"""Submit sealed records to AWS, one short-lived child at a time, and store what came of it.

Invariants:
- Each record is marked as sending on disk before its request leaves.
- What came of a record, its meaning and its line in the audit trail are stored in one transaction; then it is logged.
- A record, or an answer to it, that cannot be processed is quarantined and named; the others go on.
- A child takes no longer than its budget, nor than the final flush allows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from sidecar import log
from sidecar.billing.events import BillingEvents
from sidecar.billing.hour_slot import HourSlot
from sidecar.billing.messages import Submission, SubmissionResult, budget_seconds, calls_of, read_results
from sidecar.billing.quantity_kinds import QuantityKinds
from sidecar.billing.quarantine import Quarantine
from sidecar.child.process import CHILD_FAILED, ChildProcess
from sidecar.errors import DATA_ERRORS
from sidecar.ledger.ledger import Ledger
from sidecar.metering.attempts import attempt_outcome
from sidecar.metering.decide import Decision, Policy, decide, decide_if_late
from sidecar.metering.hours import ONE_HOUR, period
from sidecar.metering.outcomes import Refused, Settled
from sidecar.metering.records import UsageRecord
from sidecar.metering.schedule import oldest_first, too_early, unsendable
from sidecar.metering.sealed_request import SealedRequest
from sidecar.metering.states import Disposition, State
from sidecar.settings import OnDispute, Settings

BATCH_MAX: Final = 25
"""Records one child sends."""
RECORD: Final = "record"
"""The kind of what is put aside here."""
ROUNDS_MAX: Final = 6
"""Batches of one pass; repairs and fresh credentials are tried at once, but not again and again."""


class Submitter:
    """Submits one workload's records."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        events: BillingEvents,
        quarantine: Quarantine,
        kinds: QuantityKinds,
        slot: HourSlot,
        *,
        on_wait: Callable[[bool], None],
        on_answers: Callable[[frozenset[str]], None],
        start_child: Callable[[Submission], ChildProcess],
        chance: Callable[[], float],
    ) -> None:
        """Submit from `ledger`, for the workload and region that `events` names. `quarantine`: see its module.

        `on_wait` is called with whether AWS, not the disk, is waited for; `on_answers` after each batch, with the
        dimensions AWS took a record of. `chance` returns a number in [0, 1), new each time.
        """
        roll_forward = settings.on_dispute is OnDispute.ROLL_FORWARD
        self._policy = Policy(
            workload=events.workload,
            roll_forward_disputed=roll_forward,
            repairs=kinds.repairs,
            by_token=period() != ONE_HOUR,
        )
        self._kinds, self._slot = kinds, slot
        self._ledger, self._endpoint_url, self._events = ledger, settings.endpoint_url, events
        self._quarantine = quarantine
        self._on_wait, self._on_answers = on_wait, on_answers
        self._start_child, self._chance = start_child, chance
        self._guard = threading.Lock()
        self._current: ChildProcess | None = None

    def expire_if_late(self, record: UsageRecord, now: datetime) -> bool:
        """Return whether a record is not sent any more; it is then moved on, or put aside. Raises LedgerError."""
        if not unsendable(record, now):
            return False
        self._try(record, lambda: self._expire(record, now))
        return True

    def _expire(self, record: UsageRecord, now: datetime) -> None:
        decision = decide_if_late(record, now)
        if decision is not None:
            self._store(decision, now)

    def submit_due(self, now: datetime, at_once: bool, stopping: Callable[[], bool]) -> None:
        """Submit what is due, oldest first, in batches; with `at_once` also what is held, once. Raises LedgerError."""
        sealed = self._ledger.in_state(State.SEALED) if at_once else ()
        held = [record for record in self.without_quarantined(sealed) if not too_early(record, now)]
        for _ in range(ROUNDS_MAX):
            found = held[:BATCH_MAX] or self.due(now)
            held = held[BATCH_MAX:]
            batch = [record for record in found if not self.expire_if_late(record, now)]
            if batch:
                self.submit(oldest_first(batch), now)
            if not found or stopping():
                return

    def due(self, now: datetime) -> list[UsageRecord]:
        """Return the next batch of records whose time has come, without what is put aside. Raises LedgerError."""
        return self.without_quarantined(self._ledger.due(now, BATCH_MAX + self._quarantine.count(RECORD)))[:BATCH_MAX]

    def submit(self, batch: Sequence[UsageRecord], now: datetime, deadline: float | None = None) -> None:
        """Submit records and store what came of each. `deadline` (monotonic): the end of the process.

        Where a batch cannot be sent for what is in it, each record is sent by itself. Raises LedgerError.
        """
        try:
            results = self._send(batch, deadline)
        except DATA_ERRORS as exc:
            if len(batch) == 1:
                self._quarantine.add(RECORD, _named(batch[0]), exc)
                return
            for record in batch:
                self.submit([record], now, deadline)
            return
        for result in results:
            self._events.attempts.add(attempt_outcome(result.outcome), now)
        pairs = list(zip(batch, results, strict=True))
        for record, result in pairs:
            self._try(record, partial(self._decide, record, result, now))
        self._on_answers(frozenset(record.dimension for record, got in pairs if isinstance(got.outcome, Settled)))

    def _send(self, batch: Sequence[UsageRecord], deadline: float | None) -> Sequence[SubmissionResult]:
        self._ledger.mark_sending(batch)
        self._on_wait(True)
        try:
            return self._run_child(tuple(record.request for record in batch if record.request), deadline)
        finally:
            self._on_wait(False)

    def _decide(self, record: UsageRecord, result: SubmissionResult, now: datetime) -> None:
        if isinstance(result.outcome, Settled):
            self._slot.settled(record, now)
        self._store(decide(record, result.outcome, now, self._policy, self._chance()), now, result)

    def _try(self, record: UsageRecord, work: Callable[[], None]) -> None:
        """Do something for one record; where that record cannot be digested it is put aside, and sent again later.

        What was sent is sent again unchanged, so that AWS counts it once.
        """
        self._quarantine.run(RECORD, _named(record), work)

    def without_quarantined(self, records: Iterable[UsageRecord]) -> list[UsageRecord]:
        """Return the records that are not put aside, or whose pause is over."""
        return [record for record in records if not self._quarantine.waits(RECORD, _named(record))]

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
        until = time.monotonic() + budget_seconds(calls_of(requests))
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
        self._kinds.learn(stored)
        earlier = self._ledger.earlier_hours(stored) if decision.disposition is Disposition.SETTLE else ()
        self._events.decided(decision, stored, result, earlier)


def _named(record: UsageRecord) -> str:
    return f"{record.dimension} in {record.hour}"
