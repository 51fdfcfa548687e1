"""Keep what has been metered and print the bill: records by hour, and the client tokens they came with.

Elsewhere: whether a request may be recorded (`meter_usage`).

Invariants:
- One record per workload, product, dimension and UTC hour; the first one stands for good (metering service
  model, "MeterUsage").
- A client token belongs to the account that sent it. It is remembered with requests that were accepted.
- Amounts are exact: a bill prints decimals as text, without an exponent and without trailing zeros.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Context, Decimal
from typing import Final

from sidecar.clock import iso
from sidecar.emulator.allocations import split
from sidecar.emulator.usage_request import Allocation, UsageRequest

HOUR: Final = timedelta(hours=1)
_EXACT = Context(prec=60)
"""Sums of sixteen digits each, more of them than there will ever be."""


def hour_of(instant: datetime) -> datetime:
    """Return the start of the UTC hour an instant is in."""
    return instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def exact(value: Decimal) -> str:
    """Return an amount as a bill prints it."""
    text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def added(values: Iterable[Decimal]) -> Decimal:
    """Their sum, not rounded."""
    total = Decimal(0)
    for value in values:
        total = _EXACT.add(total, value)
    return total


@dataclass(frozen=True, kw_only=True, order=True)
class Slot:
    """What can hold one record."""

    product_code: str
    dimension: str
    hour: datetime
    workload: str
    token: str = ""
    """The record's client token, where that and not the hour tells records apart."""


@dataclass(frozen=True, kw_only=True)
class AcceptedUsage:
    """What was sent for an hour, as it was first accepted; whose it is, each kind of record knows."""

    quantity: Decimal
    allocations: tuple[Allocation, ...]
    timestamp: datetime
    record_id: str
    at: datetime
    """When it was accepted."""

    def as_json(self) -> dict[str, object]:
        return {
            "quantity": exact(self.quantity),
            "record_id": self.record_id,
            "allocations": [
                {"quantity": exact(each.quantity.value), "tags": dict(each.tags)} for each in self.allocations
            ],
            "timestamp": iso(self.timestamp),
            "at": iso(self.at),
        }


@dataclass(frozen=True, kw_only=True)
class UsageRecord(AcceptedUsage):
    """What an hour owes for a dimension."""

    slot: Slot
    account: str
    is_decimal: bool
    """Whether the quantity came in the decimal field."""

    def as_json(self) -> dict[str, object]:
        return {"hour": iso(self.slot.hour), "workload": self.slot.workload, **super().as_json()}


@dataclass(frozen=True, kw_only=True)
class BillLine:
    """What an account owes for one dimension of a product."""

    product_code: str
    account: str
    dimension: str
    records: tuple[UsageRecord, ...]
    """By hour, then by workload."""

    @property
    def total(self) -> Decimal:
        return added(each.quantity for each in self.records)

    def as_json(self) -> dict[str, object]:
        return {
            "product": self.product_code,
            "account": self.account,
            "dimension": self.dimension,
            "total": exact(self.total),
            "hours": [each.as_json() for each in self.records],
        }


Sent = tuple[str, str, str, datetime, Decimal, object]
"""What has to be the same when a client token comes again: who, and every other parameter by its value."""


class UsageRecords:
    """Records and client tokens. Hold a lock to share it between threads."""

    def __init__(self) -> None:
        self._records: dict[Slot, UsageRecord] = {}
        self._tokens: dict[tuple[str, str], Sent] = {}

    def at(self, slot: Slot) -> UsageRecord | None:
        """Return the record in that slot."""
        return self._records.get(slot)

    def token_conflicts(self, account: str, workload: str, request: UsageRequest) -> bool:
        """Return whether the request's client token was used before with other content."""
        if request.client_token is None:
            return False
        before = self._tokens.get((account, request.client_token))
        return before is not None and before != _sent(workload, request)

    def remember_token(self, account: str, workload: str, request: UsageRequest) -> None:
        """Bind the client token, where there is one, to this request."""
        if request.client_token is not None:
            self._tokens.setdefault((account, request.client_token), _sent(workload, request))

    def write(self, slot: Slot, account: str, request: UsageRequest, now: datetime) -> UsageRecord:
        """Return a new record in an empty slot."""
        self._records[slot] = UsageRecord(
            slot=slot,
            account=account,
            quantity=request.value,
            is_decimal=request.quantity is not None and request.quantity.is_decimal,
            allocations=request.allocations,
            timestamp=request.timestamp,
            record_id=str(uuid.uuid4()),
            at=now,
        )
        return self._records[slot]

    def all(self) -> list[UsageRecord]:
        """Return every record, by product, dimension, hour and workload."""
        return [self._records[slot] for slot in sorted(self._records)]

    def bill(self) -> list[BillLine]:
        """Return a line per product, account and dimension, in that order."""
        lines: dict[tuple[str, str, str], list[UsageRecord]] = {}
        for record in self.all():
            lines.setdefault((record.slot.product_code, record.account, record.slot.dimension), []).append(record)
        return [
            BillLine(product_code=product, account=account, dimension=dimension, records=tuple(records))
            for (product, account, dimension), records in sorted(lines.items())
        ]


def _sent(workload: str, request: UsageRequest) -> Sent:
    parts = split(request.allocations)
    return workload, request.product_code, request.dimension, request.timestamp, request.value, parts
