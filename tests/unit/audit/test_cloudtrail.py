"""CloudTrail events: what was billed, and what was not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.audit.cloudtrail import parse_event
from sidecar.audit.input_files import Unreadable
from sidecar.audit.rows import BILLED, Row
from sidecar.strict_json import parse
from tests.unit.audit.support import HOUR

REQUEST: dict[str, Any] = {
    "timestamp": "Nov 24, 2025 4:59:59 PM",
    "usageQuantity": 7,
    "usageDimension": "requests",
    "productCode": "product",
}
EVENT: dict[str, Any] = {
    "eventVersion": "1.05",
    "eventTime": "2025-11-24T17:00:03Z",
    "eventSource": "metering-marketplace.amazonaws.com",
    "eventName": "MeterUsage",
    "awsRegion": "us-east-1",
    "requestParameters": REQUEST,
    "responseElements": {"meteringRecordId": "r-1"},
    "recipientAccountId": "123456789012",
}


def event(**changes: Any) -> Any:
    """Return an event as the stream gives it."""
    return parse(json.dumps({**EVENT, **changes}))


def asked(**changes: Any) -> Any:
    return event(requestParameters={**REQUEST, **changes})


def read(value: Any) -> Row:
    found = parse_event(value, "trail#1")
    assert isinstance(found, Row)
    return found


def test_an_event_is_read_as_aws_documents_it() -> None:
    assert read(event()) == Row(
        hour=HOUR,
        dimension="requests",
        state=BILLED,
        quantity=7_000_000,
        record_id="r-1",
        product="product",
        region="us-east-1",
        account="123456789012",
        origin="trail#1",
    )


@pytest.mark.parametrize(
    ("words", "hours"),
    [
        ("Nov 24, 2025 12:00:00 AM", -16),
        ("Nov 24, 2025 12:59:59 PM", -4),
        ("Nov 24, 2025 11:00:00\u202fPM", 7),
        ("Nov 24, 2025, 1:35:44 AM", -15),
        ("2025-11-24T16:59:59Z", 0),
        (1764003599, 0),
    ],
)
def test_each_form_of_a_timestamp_is_read_in_utc(words: object, hours: int) -> None:
    assert read(asked(timestamp=words)).hour == HOUR + hours


def test_a_decimal_quantity_is_exact() -> None:
    assert read(asked(usageQuantity=None, usageQuantityAsDecimal="0.000001")).quantity == 1


def test_a_quantity_that_is_missing_is_zero() -> None:
    assert read(asked(usageQuantity=None)).quantity == 0


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (asked(dryRun=True), "dry_run"),
        (event(errorCode="DryRunOperation"), "dry_run"),
        (event(errorCode="ThrottlingException", responseElements=None), "refused_by_aws"),
        (event(eventName="RegisterUsage"), "register_usage"),
        (event(eventName="BatchMeterUsage"), "other_operation"),
        (event(eventSource="s3.amazonaws.com"), "other_service"),
    ],
    ids=["dry run", "dry run's answer", "refused", "registration", "batch", "service"],
)
def test_what_billed_nothing_is_ignored_with_a_reason(value: Any, reason: str) -> None:
    assert parse_event(value, "trail#1") == reason


def test_an_event_that_says_it_is_no_dry_run_counts() -> None:
    assert read(asked(dryRun=False)).quantity == 7_000_000


def test_events_of_lookup_events_and_of_eventbridge_are_unpacked() -> None:
    assert read({"CloudTrailEvent": json.dumps(EVENT)}).record_id == "r-1"
    assert read({"detail-type": "AWS API Call via CloudTrail", "detail": event()}).record_id == "r-1"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("text", "no eventName"),
        ({"CloudTrailEvent": "{"}, "CloudTrailEvent is not JSON"),
        (event(requestParameters=None), "requestParameters is null"),
        (asked(timestamp="Foo 24, 2025 4:59:59 PM"), "Foo 24"),
        (asked(timestamp="Nov 24, 2025 14:59:59 PM"), "14:59"),
        (asked(timestamp=None), "timestamp is null"),
        (asked(usageDimension=None), "usageDimension"),
        (asked(usageQuantity=-1), "negative"),
        (asked(usageQuantity=0.1234567), "decimal places"),
    ],
)
def test_an_event_that_cannot_be_read_is_refused_by_name(value: Any, words: str) -> None:
    with pytest.raises(Unreadable, match=words):
        parse_event(value, "trail#1")
