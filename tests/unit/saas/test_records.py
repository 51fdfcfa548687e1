"""A customer's record is frozen with customer and region, and says what BatchMeterUsage may carry."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from sidecar.metering.hours import Hour
from sidecar.metering.quantities import ZERO
from sidecar.metering.rollup import Allocation, Owed
from sidecar.quick_dataclasses import replace
from sidecar.saas.customers import CustomerKey
from sidecar.saas.records import CustomerRecord, deadline, request_of, sealed_record, too_late, wire_record
from sidecar.settings.dimensions import Dimension

HOUR = Hour(datetime(2026, 11, 20, 10, tzinfo=UTC))
NEW = CustomerKey(license_arn="arn:l-1", aws_account_id="111111111111")
OLD = CustomerKey(product_code="prod", identifier="cust-1")


def record(customer: CustomerKey = NEW, quantity: str = "7", decimals: int = 0) -> CustomerRecord:
    owed = Owed(quantity=Decimal(quantity), allocations=(), carry=ZERO, merged=0)
    dimension = Dimension(name="requests", decimals=decimals)
    return sealed_record(customer, dimension, HOUR, owed, region="us-east-1", now=HOUR.end + timedelta(seconds=5))


def test_the_frozen_text_has_everything_that_is_sent() -> None:
    one = record()
    assert request_of(one.frozen()) == (NEW, "us-east-1", one.request)
    assert one.digest != replace(one, region="eu-west-1").digest
    assert one.digest == record().digest


def test_customers_of_one_dimension_and_hour_have_other_tokens() -> None:
    assert record(NEW).request.client_token != record(OLD).request.client_token


def test_a_license_is_sent_with_its_account_and_without_product_code() -> None:
    wire = wire_record(record(NEW))
    assert (wire["CustomerAWSAccountId"], wire["LicenseArn"]) == ("111111111111", "arn:l-1")
    assert not {"ProductCode", "CustomerIdentifier", "ClientToken"} & wire.keys()


def test_an_identifier_is_sent_alone() -> None:
    wire = wire_record(record(OLD))
    assert wire["CustomerIdentifier"] == "cust-1"
    assert not {"CustomerAWSAccountId", "LicenseArn"} & wire.keys()


def test_a_quantity_is_sent_in_one_field() -> None:
    for one in (record(), record(quantity="7.5", decimals=3)):
        assert len({"Quantity", "QuantityAsDecimal"} & wire_record(one).keys()) == 1
    assert wire_record(record(quantity="7.5", decimals=3))["QuantityAsDecimal"] == "7.5"


def test_allocations_are_sent_as_they_were_sealed() -> None:
    one = record()
    shares = (Allocation(tags=(("team", "a"),), quantity=Decimal(7)),)
    request = replace(one.request, allocations=shares)
    assert wire_record(one.after(replace(one.usage, request=request)))["UsageAllocations"]


@pytest.mark.parametrize(
    ("start", "until"),
    [
        ("2026-11-20T10:00", "2026-11-21T09:45"),
        ("2026-11-30T04:00", "2026-12-01T03:45"),
        ("2026-11-30T06:00", "2026-12-01T05:45"),
        ("2026-11-30T23:00", "2026-12-01T05:45"),
        ("2026-12-31T23:00", "2027-01-01T05:45"),
        ("2026-12-01T00:00", "2026-12-01T23:45"),
    ],
)
def test_a_record_is_sent_for_a_day_and_until_six_in_the_next_month(start: str, until: str) -> None:
    hour = Hour(datetime.fromisoformat(start).replace(tzinfo=UTC))
    end = datetime.fromisoformat(until).replace(tzinfo=UTC)
    assert deadline(hour) == end
    assert too_late(hour, end)
    assert not too_late(hour, end - timedelta(seconds=1))
