"""Log every step of a usage record, for the operator and the auditor.

Invariants:
- `record.settled` alone proves a billed hour: workload, region, dimension, quantity and AWS's metering record id. It is
  what is left when the volume is gone.
- What waits for a person is an error with the next step; what is retried without help is a warning.
- A fault of the disk is logged when it begins and when it ends, not with every pass.
- A request's body is logged only at the end: what could not be settled is logged whole, so that it can still be billed
  when the volume is deleted with the pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Final

from sidecar import log
from sidecar.attempts import Attempts
from sidecar.billing import orphans
from sidecar.billing.messages import SubmissionResult
from sidecar.clock import iso
from sidecar.ledger.errors import LedgerError
from sidecar.metering import postponed
from sidecar.metering.decide import Decision
from sidecar.metering.hours import Hour
from sidecar.metering.postponed import Postponed
from sidecar.metering.quantities import plain
from sidecar.metering.records import UsageRecord
from sidecar.metering.resolution import Resolution
from sidecar.metering.sealed_request import SealedRequest
from sidecar.metering.states import Disposition, State
from sidecar.quick_dataclasses import dataclass, field

EVENTS: Final[Mapping[Disposition, tuple[str, log.Speak]]] = {
    Disposition.SETTLE: ("record.settled", log.event),
    Disposition.HOLD: ("record.held", log.warn),
    Disposition.REPAIR: ("record.repaired", log.warn),
    Disposition.DISPUTE: ("record.disputed", log.error),
    Disposition.EXPIRE: ("record.expired", log.error),
    Disposition.REJECT: ("record.rejected", log.error),
}


@dataclass(kw_only=True)
class BillingEvents:
    """Logs what happens to one workload's usage."""

    product_code: str
    workload: str = ""
    region: str = ""
    left_behind: int = 0
    """Number of entries that the final flush has tried and not settled; at the end, of `usage.left_behind` logged."""
    dispositions: dict[str, int] = field(default_factory=lambda: {one.value: 0 for one in Disposition})
    """Decisions logged, by disposition."""
    attempts: Attempts = field(default_factory=Attempts)
    """Records submitted, by what came of each."""
    _fault: str = ""
    _postponed_to: Hour | None = None
    _unconfigured: Mapping[str, Decimal] = field(default_factory=dict)

    def sealed(self, hour: Hour, records: Sequence[UsageRecord]) -> None:
        """Log that an hour was sealed, where it made records."""
        if records:
            quantities = {record.dimension: plain(record.quantity) for record in records}
            log.event("hour.sealed", workload=self.workload, hour=iso(hour.start), records=quantities)

    def decided(
        self, decision: Decision, stored: UsageRecord, result: SubmissionResult | None, earlier: Sequence[Hour]
    ) -> None:
        """Log what became of a record; `result` is None where it was too late to send it.

        `stored` is the record as it is on disk, `earlier` the hours before its own in which some of it was used.
        """
        self.dispositions[decision.disposition.value] += 1
        name, write = EVENTS[decision.disposition]
        write = log.error if decision.loud else write
        settled = decision.disposition is Disposition.SETTLE
        request = stored.request
        write(
            name,
            workload=self.workload,
            product_code=self.product_code,
            region=self.region,
            account=(result and result.account) or None,
            role=(result and result.role) or None,
            hour=iso(stored.hour.start),
            used_in=[iso(hour.start) for hour in earlier] or None,
            dimension=stored.dimension,
            quantity=plain(stored.quantity),
            timestamp=request.timestamp if request else None,
            license=_license(request),
            metering_record_id=stored.record_id,
            attempts=stored.attempts,
            reason=decision.reason,
            hint=None if settled else decision.hint,
            aws_error=None if settled else stored.last_error,
            aws_request_id=(result and result.request_id) or None,
            retry_at=iso(stored.retry_at) if stored.retry_at else None,
        )
        if stored.rolled_to:
            log.warn(
                "usage.rolled_forward",
                workload=self.workload,
                hour=iso(stored.hour.start),
                into_hour=iso(stored.rolled_to.start),
                dimension=stored.dimension,
                quantity=plain(stored.quantity),
            )

    def resolved(self, resolution: Resolution, records: Sequence[UsageRecord]) -> None:
        """Log what a person decided, for each record it applied to as it is now."""
        for record in records:
            billed = None if record.aws_quantity is None else plain(record.aws_quantity)
            log.warn(
                "record.resolved",
                workload=resolution.workload or self.workload,
                act=resolution.action.value,
                hour=iso(record.hour.start),
                dimension=record.dimension,
                state=record.state.value,
                quantity=plain(record.quantity),
                aws_quantity=billed,
                metering_record_id=record.record_id,
                license=_license(record.request),
            )

    def opened(self, path: Path, states: Mapping[State, int]) -> None:
        """Log that the ledger is open, and the number of its records by state."""
        records = {state.value: count for state, count in states.items()}
        log.event("ledger.opened", workload=self.workload, path=str(path), records=records)

    def set_aside(self, path: Path | None) -> None:
        """Log that an unreadable file was renamed, and a new one begun."""
        if path:
            hint = "The ledger could not be read. Keep this file for the seller's support; the current hour is closed."
            log.error("ledger.set_aside", path=str(path), hint=hint)

    def passed_over(self, path: Path | None) -> None:
        """Log that a file of a newer version was left alone, and a new one begun beside it."""
        if path:
            hint = "A newer version wrote it. It is left untouched; run that version again to settle what is in it."
            log.error("ledger.passed_over", path=str(path), hint=hint)

    def ledger_fault(self, fault: LedgerError | None) -> None:
        """Log that the ledger fails, or works again, where that has changed."""
        reason = fault.reason if fault else ""
        if reason == self._fault:
            return
        self._fault = reason
        if fault:
            log.error("ledger.failed", reason=fault.reason, hint=fault.hint)
        else:
            log.event("ledger.recovered", workload=self.workload)

    def ledger_stuck(self, reason: str, hint: str) -> None:
        """Log that the disk does not answer, once until it does. Called by other threads than the loop's."""
        if self._fault != reason:
            self._fault = reason
            log.error("ledger.failed", reason=reason, hint=hint)

    def clock_jumped(self, jump: timedelta, now: datetime) -> None:
        """Log that the wall clock was set, or the host suspended."""
        log.warn("clock.jumped", seconds=round(jump.total_seconds(), 1), now=iso(now))

    def postponed(self, found: Postponed | None, now: datetime) -> None:
        """Log usage that waits for a future hour: when that begins, and for each such hour."""
        hour = found.open_hour if found else None
        if found and hour != self._postponed_to:
            log.error(
                "usage.postponed",
                workload=self.workload,
                open_hour=iso(found.open_hour.start),
                now=iso(now),
                quantities={name: plain(quantity) for name, quantity in found.quantities.items()},
                hint=postponed.HINT,
            )
        self._postponed_to = hour

    def unconfigured(self, path: str, quantities: Mapping[str, Decimal]) -> None:
        """Log usage in this workload's ledger of dimensions that are not configured, where it has changed."""
        if quantities and quantities != self._unconfigured:
            orphans.unconfigured(self.workload, path, quantities)
        self._unconfigured = quantities

    def overdue(self, since: datetime, policy: str, hint: str) -> None:
        """Log that nothing could be reported for too long."""
        log.error("metering.overdue", since=iso(since), policy=policy, hint=hint)

    def recovered(self) -> None:
        """Log that usage is no longer overdue."""
        log.event("metering.recovered", workload=self.workload)

    def denied(self, policy: str, hint: str) -> None:
        """Log that AWS answered the first real record with "not entitled"."""
        log.error("metering.denied", workload=self.workload, policy=policy, hint=hint)

    def stopped(self, task_keeps_running: bool) -> None:
        """Log that metering has stopped, and whether the running hour was sealed."""
        log.event("metering.stopped", workload=self.workload, running_hour="open" if task_keeps_running else "sealed")

    def outstanding(self, entries: Sequence[Mapping[str, object]]) -> None:
        """Log what is not settled when the final flush begins, whole: the process may be killed before it ends."""
        for entry in entries:
            log.event("usage.outstanding", **self._entry(entry))

    def _entry(self, entry: Mapping[str, object]) -> dict[str, object]:
        return {"workload": self.workload, "product_code": self.product_code, "region": self.region, "left": entry}

    def count_left(self, number: int) -> None:
        """Take note of how much the final flush has not settled so far."""
        self.left_behind = number

    def unsettled(self, entries: Sequence[Mapping[str, object]]) -> None:
        """Log what is not settled at the end, whole."""
        self.left_behind = len(entries)
        for entry in entries:
            hint = (
                "The next start of this workload settles it, or another on this volume. Where the volume ends with the"
                " task or pod, as on Fargate, this line is what is left of it."
            )
            log.error("usage.left_behind", **self._entry(entry), hint=hint)


def _license(request: SealedRequest | None) -> str | None:
    """Return the license that a quantity is drawn from; None where it is metered."""
    return request.drawdown.name if request and request.drawdown else None
