"""A sealed request is frozen: what is sent for a record is the same every time."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from decimal import Decimal

import botocore.session
import pytest
from botocore.validate import ParamValidator
from hypothesis import given
from hypothesis import strategies as st

from sidecar.metering.hours import EPOCH, Hour
from sidecar.metering.rollup import Allocation, Owed
from sidecar.metering.sealed_request import (
    TOKEN_NAMESPACE,
    DecimalsUnsupported,
    SealedRequest,
    client_token,
    seal_request,
    seal_timestamp,
)

HOUR = Hour.numbered(498_658)
SPLIT = (Allocation(tags=(), quantity=Decimal(2)), Allocation(tags=(("tenant", "a"),), quantity=Decimal(5)))
OWED = Owed(quantity=Decimal(7), allocations=SPLIT, carry=Decimal(0), merged=0)
REQUEST = seal_request("pod-1", "code", "requests", 0, HOUR, OWED, HOUR.end)


def test_a_closed_hour_is_stamped_with_its_last_second() -> None:
    assert seal_timestamp(HOUR, HOUR.end) == seal_timestamp(HOUR, HOUR.end + timedelta(days=1))
    assert seal_timestamp(HOUR, HOUR.end) == HOUR.number * 3600 + 3599


def test_a_running_hour_is_stamped_now() -> None:
    now = HOUR.start + timedelta(minutes=20, microseconds=999_999)
    assert seal_timestamp(HOUR, now) == HOUR.number * 3600 + 1200
    assert seal_timestamp(HOUR, HOUR.start) == HOUR.number * 3600


def test_an_hour_that_has_not_begun_is_not_stamped() -> None:
    with pytest.raises(ValueError):
        seal_timestamp(HOUR, HOUR.start - timedelta(microseconds=1))


@given(st.integers(0, 10**6), st.integers(0, 10**11))
def test_a_timestamp_lies_in_its_hour_and_never_in_the_future(number: int, since_start: int) -> None:
    hour = Hour.numbered(number)
    now = hour.start + timedelta(microseconds=since_start)
    stamp = EPOCH + timedelta(seconds=seal_timestamp(hour, now))
    assert Hour.at(stamp) == hour
    assert stamp <= now


def test_a_client_token_is_the_uuid_of_what_it_names() -> None:
    name = json.dumps(["pod-1", "code", "requests", HOUR.number, 0], separators=(",", ":"))
    assert client_token("pod-1", "code", "requests", HOUR, 0) == str(uuid.uuid5(uuid.UUID(bytes=TOKEN_NAMESPACE), name))


def test_the_same_record_has_the_same_token_and_any_other_another() -> None:
    tokens = [
        client_token("pod-1", "code", "requests", HOUR, 0),
        client_token("pod-2", "code", "requests", HOUR, 0),
        client_token("pod-1", "edoc", "requests", HOUR, 0),
        client_token("pod-1", "code", "users", HOUR, 0),
        client_token("pod-1", "code", "requests", HOUR.next, 0),
        client_token("pod-1", "code", "requests", HOUR, 1),
        client_token('pod-1","code', "", "requests", HOUR, 0),
    ]
    assert len(set(tokens)) == len(tokens)
    assert client_token("pod-1", "code", "requests", HOUR, 0) == tokens[0]


def test_a_client_token_never_changes_with_a_release() -> None:
    assert client_token("pod-1", "code", "requests", Hour.numbered(1), 0) == "6e2528a6-1f00-5626-a7df-b8fa283fd3f0"


def test_integers_go_into_the_integer_fields() -> None:
    assert REQUEST.as_wire(decimal_fields=True) == {
        "ProductCode": "code",
        "Timestamp": HOUR.number * 3600 + 3599,
        "UsageDimension": "requests",
        "UsageQuantity": 7,
        "UsageAllocations": [
            {"AllocatedUsageQuantity": 2},
            {"AllocatedUsageQuantity": 5, "Tags": [{"Key": "tenant", "Value": "a"}]},
        ],
        "ClientToken": REQUEST.client_token,
    }
    assert REQUEST.as_wire(decimal_fields=False) == REQUEST.as_wire(decimal_fields=True)


def decimals(quantity: str, split: tuple[Allocation, ...] = ()) -> SealedRequest:
    owed = Owed(quantity=Decimal(quantity), allocations=split, carry=Decimal(0), merged=0)
    return seal_request("pod-1", "code", "gb", 2, HOUR, owed, HOUR.end)


def test_decimals_go_into_the_decimal_fields_and_kinds_are_not_mixed() -> None:
    split = (Allocation(tags=(), quantity=Decimal("0.50")), Allocation(tags=(("t", "a"),), quantity=Decimal("1E+1")))
    wire = decimals("10.50", split).as_wire(decimal_fields=True)
    assert wire["UsageQuantityAsDecimal"] == "10.5"
    assert "UsageQuantity" not in wire
    assert wire["UsageAllocations"] == [
        {"AllocatedUsageQuantityAsDecimal": "0.5"},
        {"AllocatedUsageQuantityAsDecimal": "10", "Tags": [{"Key": "t", "Value": "a"}]},
    ]


def test_decimals_are_not_squeezed_into_an_sdk_that_knows_none() -> None:
    with pytest.raises(DecimalsUnsupported):
        decimals("10.5").as_wire(decimal_fields=False)


def test_a_record_without_a_split_sends_no_allocations() -> None:
    assert "UsageAllocations" not in decimals("1").as_wire(decimal_fields=True)


@pytest.mark.parametrize("request_", [REQUEST, decimals("10.50"), decimals("0")])
def test_the_sdk_takes_what_is_sent(request_: SealedRequest) -> None:
    model = botocore.session.get_session().get_service_model("meteringmarketplace")
    shape = model.operation_model("MeterUsage").input_shape
    assert not ParamValidator().validate(request_.as_wire(decimal_fields=True), shape).has_errors()


def test_a_request_survives_the_disk_to_the_byte() -> None:
    for one in (REQUEST, decimals("10.50", SPLIT)):
        kept = SealedRequest.from_json(one.as_json())
        assert kept == one
        assert kept.as_json() == one.as_json()
        assert kept.digest == one.digest
        assert kept.as_wire(True) == one.as_wire(True)


def test_a_request_that_differs_has_another_digest() -> None:
    assert len({REQUEST.digest, decimals("1").digest, decimals("2").digest}) == 3


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"allocations": [], "x": 1}'])
def test_what_is_no_request_is_not_read_as_one(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        SealedRequest.from_json(text)
