"""Define the usage record of a customer: what it owes for one hour and dimension, whichever replica took the usage.

States, requests, repairs and decisions are those of `metering`; a customer and a region are added.

Invariants:
- One record for a customer, dimension and hour: AWS's key for BatchMeterUsage. A second one would be a duplicate.
- AWS's key holds for the region that is called: the region is frozen with the request.
- A record never carries ProductCode beside LicenseArn: AWS refuses that, or bills twice.
- The request's client token names it here; BatchMeterUsage has no such field, and nothing of it is sent.

Sources: AWS Marketplace Metering API Reference, BatchMeterUsage and UsageRecord (24 hours; the month before until day
1, 06:00 UTC).
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from sidecar.metering.decide import Decision
from sidecar.metering.events import UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Owed
from sidecar.metering.schedule import MARGIN
from sidecar.metering.sealed_request import QuantityKind, SealedRequest, seal_request
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, replace
from sidecar.saas.customers import CustomerKey
from sidecar.settings.dimensions import Dimension

LATENESS: Final = timedelta(hours=24)
MONTH_GRACE: Final = timedelta(hours=6)
"""From the beginning of a month, how long AWS takes usage of the month before."""


class CustomerEvent(NamedTuple):
    """One usage event, and whose it is."""

    customer: CustomerKey
    event: UsageEvent


@dataclass(frozen=True, kw_only=True, slots=True)
class CustomerRecord:
    """A usage record of one customer."""

    customer: CustomerKey
    region: str
    """The region it is sent to, every time; empty while the hour is open."""
    usage: UsageRecord

    @property
    def request(self) -> SealedRequest:
        """Return the request in force. Raises ValueError while the hour is open."""
        if self.usage.request is None:
            raise ValueError(f"{self.usage.dimension} in {self.usage.hour} is not sealed.")
        return self.usage.request

    @property
    def name(self) -> tuple[str, str, int]:
        """Return customer, dimension and hour, which no other record has."""
        return self.customer.text, self.usage.dimension, self.usage.hour.number

    def frozen(self) -> str:
        """Return the frozen text: one line, always the same for the same record."""
        body = {"customer": self.customer.text, "region": self.region, "request": self.request.as_json()}
        return json.dumps(body, sort_keys=True, separators=(",", ":"))

    @property
    def digest(self) -> str:
        """SHA-256 of the frozen text, in hex: an auditor compares it."""
        return hashlib.sha256(self.frozen().encode()).hexdigest()

    def after(self, usage: UsageRecord) -> CustomerRecord:
        """Return the same customer's record in another state."""
        return replace(self, usage=usage)


class CustomerDecision(NamedTuple):
    """What an outcome means for a customer's record: `decision.record` is its next state."""

    record: CustomerRecord
    """As it was sent."""
    decision: Decision


def sealed_record(
    customer: CustomerKey,
    dimension: Dimension,
    hour: Hour,
    owed: Owed,
    *,
    region: str,
    now: datetime,
    kind: QuantityKind = QuantityKind.DECIMAL,
) -> CustomerRecord:
    """Return the record of an hour that closes, to be frozen before it is sent; it is due at once."""
    request = seal_request(
        customer.text, customer.product_code, dimension.name, dimension.decimals, hour, owed, now, kind
    )
    usage = UsageRecord(
        hour=hour,
        dimension=dimension.name,
        state=State.SEALED,
        quantity=owed.quantity,
        request=request,
        retry_at=now,
    )
    return CustomerRecord(customer=customer, region=region, usage=usage)


def request_of(frozen: str) -> tuple[CustomerKey, str, SealedRequest]:
    """Return customer, region and request of a text that `frozen` made. Raises ValueError, KeyError or TypeError."""
    body = json.loads(frozen)
    return CustomerKey.of_text(body["customer"]), str(body["region"]), SealedRequest.from_json(body["request"])


def wire_record(record: CustomerRecord) -> dict[str, object]:
    """Return one entry of BatchMeterUsage's UsageRecords; the request's ProductCode is `record.customer.product_code`.

    An empty product code means that the request has none.
    """
    request, customer = record.request, record.customer
    wire = request.as_wire(decimal_fields=True)
    found: dict[str, object] = {"Timestamp": wire["Timestamp"], "Dimension": wire["UsageDimension"]}
    for mine, meter in (("Quantity", "UsageQuantity"), ("QuantityAsDecimal", "UsageQuantityAsDecimal")):
        if meter in wire:
            found[mine] = wire[meter]
    if "UsageAllocations" in wire:
        found["UsageAllocations"] = wire["UsageAllocations"]
    whom = {
        "CustomerAWSAccountId": customer.aws_account_id,
        "LicenseArn": customer.license_arn,
        "CustomerIdentifier": customer.identifier,
    }
    return {**found, **{field: value for field, value in whom.items() if value}}


def deadline(hour: Hour) -> datetime:
    """Return the instant from which a record of the hour is not sent any more.

    Both limits hold: 24 hours, and six hours into the next month. Counted from the hour's start, the strictest reading.
    """
    start = hour.start
    next_month = (start.replace(day=1, hour=0) + timedelta(days=32)).replace(day=1)
    return min(start + LATENESS, next_month + MONTH_GRACE) - MARGIN


def too_late(hour: Hour, now: datetime) -> bool:
    """Return whether a record of the hour is not sent any more."""
    return now >= deadline(hour)


class CustomerBalance(NamedTuple):
    """One customer's and dimension's totals for ever, scaled: accepted = settled + waiting."""

    customer: CustomerKey
    dimension: str
    accepted: Decimal
    settled: Decimal
    waiting: Decimal
    events: int
    balanced: bool
    """Whether nothing was lost and nothing counted twice, what was acknowledged included."""
