"""Keep what has been metered for SaaS customers, and print their bill.

Elsewhere: whether a record may be kept (`batch_meter_usage`).

Invariants:
- One record per region called, product or license, customer, dimension and UTC hour; the first one stands for good
  (metering service model, "BatchMeterUsage", "UsageRecordResult"). Quantities of one hour are never added up.
- Amounts are exact: a bill prints decimals as text, without an exponent and without trailing zeros.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from sidecar.clock import iso
from sidecar.emulator.records import AcceptedUsage, added, exact
from sidecar.emulator.usage_request import Allocation


@dataclass(frozen=True, kw_only=True, order=True)
class SaasSlot:
    """What can hold one record."""

    region: str
    product_code: str
    account: str
    license_arn: str
    """Empty where the product code was sent: that is another slot, and another line of the bill."""
    dimension: str
    hour: datetime


@dataclass(frozen=True, kw_only=True)
class SaasRecord(AcceptedUsage):
    """What an hour owes for a customer and dimension."""

    slot: SaasSlot

    def as_json(self) -> dict[str, object]:
        return {"hour": iso(self.slot.hour), **super().as_json()}


@dataclass(frozen=True, kw_only=True)
class SaasBillLine:
    """What a customer owes for one dimension."""

    region: str
    product_code: str
    account: str
    license_arn: str
    dimension: str
    records: tuple[SaasRecord, ...]
    """By hour."""

    @property
    def total(self) -> Decimal:
        return added(each.quantity for each in self.records)

    def as_json(self) -> dict[str, object]:
        return {
            "region": self.region,
            "product": self.product_code,
            "account": self.account,
            "license": self.license_arn or None,
            "dimension": self.dimension,
            "total": exact(self.total),
            "hours": [each.as_json() for each in self.records],
        }


class SaasRecords:
    """The records of all customers. Hold a lock to share it between threads."""

    def __init__(self) -> None:
        self._records: dict[SaasSlot, SaasRecord] = {}

    def at(self, slot: SaasSlot) -> SaasRecord | None:
        """Return the record in that slot."""
        return self._records.get(slot)

    def write(
        self,
        slot: SaasSlot,
        quantity: Decimal,
        allocations: tuple[Allocation, ...],
        timestamp: datetime,
        now: datetime,
    ) -> SaasRecord:
        """Return a new record in an empty slot."""
        self._records[slot] = SaasRecord(
            slot=slot,
            quantity=quantity,
            allocations=allocations,
            timestamp=timestamp,
            record_id=str(uuid.uuid4()),
            at=now,
        )
        return self._records[slot]

    def all(self) -> list[SaasRecord]:
        """Return every record, by region, product, account, license, dimension and hour."""
        return [self._records[slot] for slot in sorted(self._records)]

    def bill(self) -> list[SaasBillLine]:
        """Return a line per region, product, account, license and dimension, in that order."""
        return bill_of(self.all())


def bill_of(records: Iterable[SaasRecord]) -> list[SaasBillLine]:
    """Return the lines of records that are in order."""
    lines: dict[tuple[str, str, str, str, str], list[SaasRecord]] = {}
    for record in records:
        slot = record.slot
        key = (slot.region, slot.product_code, slot.account, slot.license_arn, slot.dimension)
        lines.setdefault(key, []).append(record)
    return [
        SaasBillLine(
            region=region, product_code=product, account=account, license_arn=arn, dimension=dimension,
            records=tuple(found),
        )
        for (region, product, account, arn, dimension), found in lines.items()
    ]  # fmt: skip
