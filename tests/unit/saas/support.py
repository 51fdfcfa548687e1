"""Sealed records of customers, and answers of AWS about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sidecar.metering.batch_call import Answered, RecordAnswer, RecordKey
from sidecar.metering.hours import ONE_HOUR, Hour
from sidecar.metering.quantities import ZERO
from sidecar.metering.rollup import Allocation, Owed
from sidecar.quick_dataclasses import replace
from sidecar.saas.customers import CustomerKey
from sidecar.saas.records import CustomerRecord, sealed_record, wire_record
from sidecar.settings.dimensions import Dimension

HOUR = Hour(datetime(2026, 11, 20, 10, tzinfo=UTC))
NOW = HOUR.end + timedelta(minutes=1)
PRODUCT = "prod1"


def licensed(n: int = 1) -> CustomerKey:
    return CustomerKey(aws_account_id=f"{n:012}", license_arn=f"arn:aws:license-manager::294406891311:license:l-{n}")


def identified(n: int = 1, product: str = PRODUCT) -> CustomerKey:
    return CustomerKey(product_code=product, identifier=f"customer-{n}")


def sealed(
    customer: CustomerKey | None = None,
    *,
    hours_later: int = 0,
    region: str = "us-east-1",
    allocations: tuple[Allocation, ...] = (),
    **usage: Any,
) -> CustomerRecord:
    hour = Hour(HOUR.start + hours_later * ONE_HOUR)
    owed = Owed(quantity=Decimal(7), allocations=allocations, carry=ZERO, merged=0)
    record = sealed_record(customer or licensed(), Dimension(name="requests"), hour, owed, region=region, now=hour.end)
    return record.after(replace(record.usage, **usage))


def key(record: CustomerRecord) -> RecordKey:
    return RecordKey.of(wire_record(record), record.request.timestamp)


def answer(record: CustomerRecord, status: str = "Success", record_id: str = "id-1") -> RecordAnswer:
    return RecordAnswer(key=key(record), status=status, record_id=record_id)


def answers(*results: RecordAnswer, unprocessed: tuple[RecordKey, ...] = ()) -> Answered:
    return Answered(results=results, unprocessed=unprocessed)
