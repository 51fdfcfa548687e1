"""Log every step of a customer's record, for the seller and the auditor, and count it for metrics.

Invariants:
- `record.settled` alone proves a billed hour: customer, region, dimension, quantity and AWS's metering record id.
- What waits for a person is an error with the next step; what is retried without help is a warning.
- No registration token, no password, no message of AWS.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from sidecar import log
from sidecar.clock import iso
from sidecar.metering.decide import Decision
from sidecar.metering.quantities import plain
from sidecar.metering.states import Disposition
from sidecar.saas.customers import CustomerKey
from sidecar.saas.records import CustomerRecord

EVENTS: Final[Mapping[Disposition, tuple[str, log.Speak]]] = {
    Disposition.SETTLE: ("record.settled", log.event),
    Disposition.HOLD: ("record.held", log.warn),
    Disposition.REPAIR: ("record.repaired", log.warn),
    Disposition.DISPUTE: ("record.disputed", log.error),
    Disposition.EXPIRE: ("record.expired", log.error),
    Disposition.REJECT: ("record.rejected", log.error),
}


class SaasEvents:
    """Logs and counts. Any thread may call it."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self.dispositions: Counter[str] = Counter({one.value: 0 for one in Disposition})
        """Decisions, by disposition."""
        self.halvings = 0
        """Calls that AWS refused for one record."""

    def sealed(self, records: Sequence[CustomerRecord]) -> None:
        """Log that hours were sealed, where that made records."""
        for hour in sorted({record.usage.hour for record in records}):
            found = [record for record in records if record.usage.hour == hour]
            customers = len({record.customer for record in found})
            log.event("hour.sealed", hour=iso(hour.start), records=len(found), customers=customers)

    def halved(self, records: int, code: str) -> None:
        """Log that AWS refused a batch for one record of it."""
        self.halvings += 1
        log.warn("batch.halved", records=records, aws_error=code)

    def decided(self, record: CustomerRecord, decision: Decision, request_id: str) -> None:
        """Log what became of a record."""
        with self._guard:
            self.dispositions[decision.disposition.value] += 1
        name, write = EVENTS[decision.disposition]
        usage = decision.record
        settled = decision.disposition is Disposition.SETTLE
        write(
            name,
            **customer_fields(record.customer),
            region=record.region,
            hour=iso(usage.hour.start),
            dimension=usage.dimension,
            quantity=plain(usage.quantity),
            metering_record_id=usage.record_id,
            aws_request_id=request_id or None,
            reason=None if settled else decision.reason,
            aws_error=usage.last_error,
            attempts=usage.attempts,
            retry_at=iso(usage.retry_at) if usage.retry_at else None,
            hint=None if settled else decision.hint,
        )


def customer_fields(customer: CustomerKey) -> dict[str, str | None]:
    """Return how a customer stands in logs and answers; None for what it has not."""
    return {
        "aws_account_id": customer.aws_account_id or None,
        "license_arn": customer.license_arn or None,
        "customer_identifier": customer.identifier or None,
        "product_code": customer.product_code or None,
    }
