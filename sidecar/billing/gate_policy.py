"""Decide what metering means for the gate: a denied first record, and usage that is overdue.

Invariants:
- Where only dry runs were sent, the first real record is the first answer about the customer. It is looked up in the
  audit trail: the record may have been throttled since, or rolled forward.
- One accepted record clears both conditions.
- Usage that the ledger cannot store or read, or that counts in a future hour, is as overdue as usage that AWS does not
  take.
- A product whose usage cannot be stored does not start: the gate's first opening waits for the ledger.
- A setting decides what follows; an event is logged in any case.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final, Protocol

from sidecar.billing.events import BillingEvents
from sidecar.entitlement.hold import FIRST_DENIED_AND_ENDS, Hold, Shown
from sidecar.entitlement.status import Status
from sidecar.ledger.balance import LedgerSummary
from sidecar.ledger.ledger import Ledger
from sidecar.metering.dispositions import TABLE
from sidecar.metering.overdue import Reporting
from sidecar.metering.records import UsageRecord
from sidecar.quick_dataclasses import replace
from sidecar.settings import (
    EntitlementCheck,
    OnDenied,
    OnFirstMeterDenied,
    OnLedgerUnusable,
    OnMeteringOverdue,
    Settings,
)

DENIED: Final = tuple(code for code, row in TABLE.items() if row.reason == "customer_not_entitled")
REFUSED_HINT: Final = (
    "See `entitlement-sidecar usage` for AWS's answers; usage is kept and sent when AWS takes it again."
)
FAILING_HINT: Final = (
    "The ledger cannot be written or opened, and usage is refused: see `ledger.failed` in this log, or `ledger` in"
    " `GET /v1/status`, for the reason and the next step."
)
NOT_RUNNING_HINT: Final = (
    "The metering loop does not run: see `ledger.failed` or `loop.stopped` in this log for the reason. Restart the"
    " container, on another node where the disk does not answer; usage that was acknowledged is kept."
)
DENIED_HINT: Final = "AWS says that this account has no subscription; usage is kept and sent again."


class Gate(Protocol):
    """What metering reads of the gate, and may do to it."""

    @property
    def has_opened(self) -> bool:
        """Return whether AWS ever let this workload run."""

    @property
    def hold(self) -> Hold | None:
        """Return why metering holds it shut; an earlier worker may have begun that."""

    def set_hold(self, hold: Hold | None, shown: Shown | None = None) -> None:
        """Shut the gate, or end that. `shown`: status, reason and hint, where the hold does not say enough."""


class GatePolicy:
    """Decides whether metering holds an open gate shut."""

    def __init__(
        self, settings: Settings, gate: Gate, events: BillingEvents, keep_pass: Callable[[frozenset[str]], None]
    ) -> None:
        """`keep_pass` is called with dimensions of which AWS took a record, once for each."""
        self._settings, self._gate, self._events, self._keep_pass = settings, gate, events, keep_pass
        self._hold = gate.hold
        self._reporting = Reporting()
        self._blocked_hint: str | None = None
        self._ledger_fault: Shown | None = None
        self._denial_logged = False
        self._passed: frozenset[str] = frozenset()
        self.overdue_since: datetime | None = None
        self._allowed = timedelta(seconds=settings.metering_overdue_seconds)
        self._guard = threading.Lock()
        """Held while overdue begins or ends: two threads may find that out."""

    @property
    def waits_for_ledger(self) -> bool:
        """Return whether the gate waits for the ledger to be opened."""
        return self._hold is Hold.LEDGER_UNUSABLE

    def wait_for_ledger(self) -> None:
        """Keep a gate that has not opened yet shut until usage can be stored, where that is set."""
        shut = self._settings.on_ledger_unusable is OnLedgerUnusable.SHUT
        if shut and self._hold is None and not self._gate.has_opened:
            self._set_hold(Hold.LEDGER_UNUSABLE)

    def ledger_unusable(self, reason: str, hint: str) -> None:
        """Show why the ledger cannot be opened, where the gate waits for it. Called by any thread."""
        shown = (Status.MISCONFIGURED, reason, hint)
        if self.waits_for_ledger and shown != self._ledger_fault:
            self._ledger_fault = shown
            self._gate.set_hold(Hold.LEDGER_UNUSABLE, shown)

    def ledger_opened(self) -> None:
        """Let the gate open: usage can be stored."""
        if self.waits_for_ledger:
            self._set_hold(None)

    def on_answers(self, ledger: Ledger, settled: frozenset[str]) -> None:
        """Take note that AWS answered some records, and took those of the dimensions `settled`."""
        if not settled:
            self._check_first_denial(ledger)
            return
        self._reporting = self._reporting.settled()
        if not settled <= self._passed:
            self._passed |= settled
            self._keep_pass(settled)
        self._set_hold(None)

    def restore(self, ledger: Ledger) -> None:
        """Read what an earlier process left: since when AWS took nothing, and whether it ever denied a record."""
        self._reporting = replace(self._reporting, failing_since=ledger.failing_since())
        self._check_first_denial(ledger)

    def _check_first_denial(self, ledger: Ledger) -> None:
        """Log that AWS denied the first record, and shut the gate where that is set."""
        held = self._hold is not None and not self.waits_for_ledger
        if self._settings.entitlement_check is not EntitlementCheck.METER_USAGE or held:
            return
        if ledger.summary().ever_settled or not ledger.ever_answered(DENIED):
            return
        policy = self._settings.on_first_meter_denied
        if not self._denial_logged:
            self._denial_logged = True
            self._events.denied(policy.value, DENIED_HINT)
        if policy is OnFirstMeterDenied.SHUT:
            ends = self._settings.on_denied is OnDenied.EXIT
            self._set_hold(Hold.FIRST_METER_DENIED, FIRST_DENIED_AND_ENDS if ends else None)

    def after_pass(self, sealed: tuple[UsageRecord, ...], waiting: LedgerSummary, now: datetime) -> None:
        """Take note of what still waits after a pass that could send."""
        self._reporting = self._reporting.after_pass(sealed, waiting.rolled, waiting.last_settled_at, now)
        self.evaluate_overdue(now)
        if not self.overdue_since and not waiting.rolled:
            self._release()  # also what an earlier worker began; what rolls forward was not reported yet

    def blocked(self, now: datetime, hint: str | None) -> None:
        """Take note, after every pass, of what to do where usage could not even become due; None where it could."""
        self._reporting = self._reporting.blocked(now) if hint else self._reporting.unblocked()
        self._blocked_hint = hint

    def clock_jumped(self, jump: timedelta) -> None:
        """Take note that the wall clock was set, or the host suspended."""
        self._reporting = self._reporting.shifted(jump)

    def evaluate_overdue(self, now: datetime) -> None:
        """Do what is set where reporting became overdue, and end that where it no longer is.

        Called after a pass that could send, or could have, had the ledger not failed.
        """
        with self._guard:
            since = self._reporting.overdue_since(now, self._allowed)
            if since:
                self._begin_overdue(since, self._blocked_hint or REFUSED_HINT)
            elif self.overdue_since:
                self.overdue_since = None
                self._events.recovered()
                self._release()

    def judge(self, now: datetime, failing_since: datetime) -> bool:
        """Do what is set where the loop has not run since `failing_since`, and that made reporting overdue.

        Called by other threads than the loop's; waits for nothing. Returns whether it became overdue now.
        """
        since = self._reporting.blocked(failing_since).overdue_since(now, self._allowed)
        if since is None or self.overdue_since or not self._guard.acquire(blocking=False):
            return False
        try:
            self._begin_overdue(since, NOT_RUNNING_HINT)
        finally:
            self._guard.release()
        return True

    def _begin_overdue(self, since: datetime, hint: str) -> None:
        before, self.overdue_since = self.overdue_since, since
        if before:
            return
        policy = self._settings.on_metering_overdue
        self._events.overdue(since, policy.value, hint)
        if policy is OnMeteringOverdue.SHUT and self._hold is None:
            self._set_hold(Hold.METERING_OVERDUE)

    def _release(self) -> None:
        if self._hold is Hold.METERING_OVERDUE:
            self._set_hold(None)

    def _set_hold(self, hold: Hold | None, shown: Shown | None = None) -> None:
        if hold is not self._hold:
            self._hold = hold
            self._gate.set_hold(hold, shown)
