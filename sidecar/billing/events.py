"""Log every step of a usage record, for the operator and the auditor.

Invariants:
- `record.settled` alone proves a billed hour: workload, region, dimension, quantity and AWS's metering record id. It is
  what is left when the volume is gone.
- What waits for a person is an error with the next step; what is retried without help is a warning.
- A fault of the disk is logged when it begins and when it ends, not with every pass.
- Never a request's body, except at the end: what could not be settled is logged whole, so that it can still be billed
  when the volume is deleted with the pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sidecar import log
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
from sidecar.metering.states import Disposition

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
    """Says what happens to usage."""

    product_code: str
    workload: str = ""
    region: str = ""
    left_behind: int = 0
    """Entries of `usage.left_behind`, for `/metrics`."""
    _fault: str = field(default="")
    _postponed_to: Hour | None = field(default=None)
    _unconfigured: Mapping[str, Decimal] = field(default_factory=dict)

    def sealed(self, hour: Hour, records: Sequence[UsageRecord]) -> None:
        """An hour was closed for good."""
        quantities = {record.dimension: plain(record.quantity) for record in records}
        log.event("hour.sealed", workload=self.workload, hour=iso(hour.start), records=quantities)

    def decided(
        self, decision: Decision, kept: UsageRecord, answered: SubmissionResult, earlier: Sequence[Hour]
    ) -> None:
        """A record after AWS's answer, or after its time was up.

        `kept` is how it lies on disk, `earlier` the hours before its own in which some of it was used.
        """
        name, speak = EVENTS[decision.disposition]
        good = decision.disposition is Disposition.SETTLE
        request = kept.request
        speak(
            name,
            workload=self.workload,
            product_code=self.product_code,
            region=self.region,
            account=answered.account or None,
            role=answered.role or None,
            hour=iso(kept.hour.start),
            used_in=[iso(hour.start) for hour in earlier] or None,
            dimension=kept.dimension,
            quantity=plain(kept.quantity),
            timestamp=request.timestamp if request else None,
            metering_record_id=kept.record_id,
            attempts=kept.attempts,
            reason=decision.reason,
            hint=None if good else decision.hint,
            aws_error=None if good else kept.last_error,
            aws_request_id=answered.request_id or None,
            retry_at=iso(kept.retry_at) if kept.retry_at else None,
        )
        if kept.rolled_to:
            self.rolled(kept)

    def rolled(self, record: UsageRecord) -> None:
        """A quantity is counted in a later hour."""
        log.warn(
            "usage.rolled_forward",
            workload=self.workload,
            hour=iso(record.hour.start),
            into_hour=iso(record.rolled_to.start) if record.rolled_to else None,
            dimension=record.dimension,
            quantity=plain(record.quantity),
        )

    def opened(self, path: str, waiting: Mapping[str, int], set_aside: str | None, passed_over: str | None) -> None:
        """Log that the ledger is open, and as errors what had to be set aside for that."""
        log.event("ledger.opened", workload=self.workload, path=path, records=waiting)
        self.set_aside(set_aside)
        if passed_over:
            hint = "A newer version wrote it. It is left untouched; run that version again to settle what is in it."
            log.error("ledger.passed_over", path=passed_over, hint=hint)

    def set_aside(self, path: str | None) -> None:
        """An unreadable file was renamed, and a new one begun."""
        if path:
            hint = "The ledger could not be read. Keep this file for the seller's support; the current hour is closed."
            log.error("ledger.set_aside", path=path, hint=hint)

    def faulted(self, fault: LedgerError | None) -> None:
        """Return whether the ledger keeps what it is given; said when that changes."""
        reason = fault.reason if fault else ""
        if reason == self._fault:
            return
        self._fault = reason
        if fault:
            log.error("ledger.failed", reason=fault.reason, hint=fault.hint)
        else:
            log.event("ledger.recovered", workload=self.workload)

    def leapt(self, leap: timedelta, now: datetime) -> None:
        """The wall clock moved by itself, or the host was suspended."""
        log.warn("clock.jumped", seconds=round(leap.total_seconds(), 1), now=iso(now))

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
        """Usage of dimensions that are not configured waits in our ledger; said when that changes."""
        if quantities and quantities != self._unconfigured:
            orphans.unconfigured(self.workload, path, quantities)
        self._unconfigured = quantities

    def overdue(self, since: datetime, policy: str, hint: str) -> None:
        """Nothing could be reported for too long."""
        log.error("metering.overdue", since=iso(since), policy=policy, hint=hint)

    def recovered(self) -> None:
        log.event("metering.recovered", workload=self.workload)

    def denied(self, policy: str, hint: str) -> None:
        """The first real record was answered "not entitled"."""
        log.error("metering.denied", workload=self.workload, policy=policy, hint=hint)

    def stopping(self, goes_on: bool) -> None:
        log.event("metering.stopped", workload=self.workload, running_hour="open" if goes_on else "sealed")

    def leave_behind(self, entries: Sequence[Mapping[str, object]]) -> None:
        """What is not settled at the end, whole."""
        self.left_behind += len(entries)
        for entry in entries:
            hint = (
                "The next start of this workload settles it, or another on this volume. Where the volume ends with the"
                " task or pod, as on Fargate, this line is what is left of it."
            )
            log.error(
                "usage.left_behind",
                workload=self.workload,
                product_code=self.product_code,
                region=self.region,
                left=entry,
                hint=hint,
            )
