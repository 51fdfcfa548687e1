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
    QuantityKind,
    Repair,
    SealedRequest,
    client_token,
    seal_request,
    seal_timestamp,
)
from sidecar.quick_dataclasses import replace

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


COMMON = {"ProductCode": "code", "Timestamp": HOUR.number * 3600 + 3599, "UsageDimension": "requests"}
INTEGERS = seal_request("pod-1", "code", "requests", 0, HOUR, OWED, HOUR.end, QuantityKind.INTEGER)


def test_whole_numbers_go_into_the_decimal_fields_without_a_point() -> None:
    assert REQUEST.as_wire(decimal_fields=True) == COMMON | {
        "UsageQuantityAsDecimal": "7",
        "UsageAllocations": [
            {"AllocatedUsageQuantityAsDecimal": "2"},
            {"AllocatedUsageQuantityAsDecimal": "5", "Tags": [{"Key": "tenant", "Value": "a"}]},
        ],
        "ClientToken": REQUEST.client_token,
    }
    zeros = replace(OWED, quantity=Decimal("7.0"))
    padded = seal_request("pod-1", "code", "requests", 0, HOUR, zeros, HOUR.end)
    assert padded.as_wire(True)["UsageQuantityAsDecimal"] == "7"


def test_what_is_sealed_for_the_integer_fields_is_sent_in_them() -> None:
    assert INTEGERS.as_wire(decimal_fields=True) == COMMON | {
        "UsageQuantity": 7,
        "UsageAllocations": [
            {"AllocatedUsageQuantity": 2},
            {"AllocatedUsageQuantity": 5, "Tags": [{"Key": "tenant", "Value": "a"}]},
        ],
        "ClientToken": REQUEST.client_token,
    }
    assert INTEGERS.as_wire(decimal_fields=False) == INTEGERS.as_wire(decimal_fields=True)


BEFORE = (
    '{"allocations":[[[],"2"],[[["tenant","a"]],"5"]],"client_token":"t","decimals":%s,"dimension":"requests",'
    '"product_code":"code","quantity":"7","timestamp":1795172399}'
)
"""A request as versions before the decimal default stored it."""


@pytest.mark.parametrize(("decimals", "field", "sent"), [(0, "UsageQuantity", 7), (3, "UsageQuantityAsDecimal", "7")])
def test_a_request_sealed_before_is_sent_as_it_was(decimals: int, field: str, sent: object) -> None:
    kept = SealedRequest.from_json(BEFORE % decimals)
    wire = kept.as_wire(decimal_fields=True)
    assert [value for name, value in wire.items() if name.startswith("UsageQuantity")] == [sent]
    assert wire[field] == sent
    assert kept.as_json() == BEFORE % decimals, "to the byte"


@pytest.mark.parametrize("kind", ["float", "", 1])
def test_a_kind_that_is_none_is_not_guessed(kind: object) -> None:
    written = json.loads(REQUEST.as_json()) | {"quantity_kind": kind}
    with pytest.raises(ValueError):
        SealedRequest.from_json(json.dumps(written))


def test_the_integer_field_takes_over_quantity_shares_and_instant() -> None:
    assert REQUEST.changed_by(Repair.INTEGER_FIELD)
    assert REQUEST.repaired(Repair.INTEGER_FIELD, REQUEST.client_token) == INTEGERS


@pytest.mark.parametrize(
    "request_",
    [
        INTEGERS,
        SealedRequest.from_json(BEFORE % 0),
        replace(REQUEST, quantity="7.5"),
        replace(REQUEST, quantity="2147483648", allocations=()),
        replace(REQUEST, allocations=(Allocation(tags=(), quantity=Decimal("0.5")),) * 2, quantity="1"),
    ],
    ids=["integers", "before", "fraction", "too_many", "shares"],
)
def test_what_the_integer_field_cannot_carry_is_not_moved_there(request_: SealedRequest) -> None:
    assert not request_.changed_by(Repair.INTEGER_FIELD)


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
    for one in (decimals("10.5"), decimals("10"), REQUEST):
        with pytest.raises(DecimalsUnsupported):
            one.as_wire(decimal_fields=False)


def test_a_record_without_a_split_sends_no_allocations() -> None:
    assert "UsageAllocations" not in decimals("1").as_wire(decimal_fields=True)


@pytest.mark.parametrize("request_", [REQUEST, INTEGERS, decimals("10.50"), decimals("0")])
def test_the_sdk_takes_what_is_sent(request_: SealedRequest) -> None:
    model = botocore.session.get_session().get_service_model("meteringmarketplace")
    shape = model.operation_model("MeterUsage").input_shape
    assert not ParamValidator().validate(request_.as_wire(decimal_fields=True), shape).has_errors()


def test_a_request_survives_the_disk_to_the_byte() -> None:
    for one in (REQUEST, INTEGERS, decimals("10.50", SPLIT)):
        kept = SealedRequest.from_json(one.as_json())
        assert kept == one
        assert kept.as_json() == one.as_json()
        assert kept.digest == one.digest
        assert kept.as_wire(True) == one.as_wire(True)


def test_a_request_that_differs_has_another_digest() -> None:
    assert len({REQUEST.digest, INTEGERS.digest, decimals("1").digest, decimals("2").digest}) == 4


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"allocations": [], "x": 1}'])
def test_what_is_no_request_is_not_read_as_one(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        SealedRequest.from_json(text)
