"""Trouble with MeterUsage, as a client meets it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

from sidecar.emulator import Emulator
from sidecar.emulator.faults import FORGING, IAT_OFFSET

from .conftest import NOW, PRODUCT, client, eventually, meter, metered, share

ORDINARY = sorted({*FORGING, IAT_OFFSET} - {"missing_record_id"})


def test_a_lost_answer_can_be_asked_for_again(aws: Emulator) -> None:
    usage: dict[str, Any] = {"Timestamp": NOW, "ClientToken": "t", "UsageAllocations": [share(7, a="1")]}
    aws.fault("MeterUsage", "drop_after")
    with pytest.raises(ConnectionClosedError):
        meter(aws.url, **usage)
    [record] = aws.usage_records()
    assert meter(aws.url, **usage)["MeteringRecordId"] == record.record_id
    assert len(aws.usage_records()) == 1
    assert [call.answer for call in aws.calls()] == ["drop_after", "ok"]


def test_a_call_dropped_before_the_work_is_not_on_the_bill(aws: Emulator) -> None:
    aws.fault("MeterUsage", "drop_before")
    with pytest.raises(ConnectionClosedError):
        meter(aws.url)
    assert aws.bill() == []


@pytest.mark.parametrize("kind", ["empty_200", "html_200"])
def test_a_success_that_is_none_lacks_its_record_id_and_records_nothing(aws: Emulator, kind: str) -> None:
    aws.fault("MeterUsage", kind)
    assert "MeteringRecordId" not in meter(aws.url)
    assert aws.bill() == []
    assert meter(aws.url)["MeteringRecordId"]


def test_a_record_id_can_go_missing_from_a_success_that_is_one(aws: Emulator) -> None:
    at = NOW
    aws.fault("MeterUsage", "missing_record_id")
    assert "MeteringRecordId" not in meter(aws.url, Timestamp=at)
    [record] = aws.usage_records()
    assert meter(aws.url, Timestamp=at)["MeteringRecordId"] == record.record_id


def test_a_web_page_with_503_has_the_status_for_a_code(aws: Emulator) -> None:
    aws.fault("MeterUsage", "html_503")
    assert metered(aws.url) == "503"
    assert aws.bill() == []


def test_a_slow_answer_outlasts_a_read_timeout_and_its_work_is_done(aws: Emulator) -> None:
    aws.fault("MeterUsage", "slow", seconds=30)
    with pytest.raises(ReadTimeoutError):
        client(aws.url, read_timeout=0.2).meter_usage(
            ProductCode=PRODUCT, Timestamp=NOW, UsageDimension="requests", UsageQuantity=3
        )
    assert [record.quantity for record in aws.usage_records()] == [3]


def test_a_hanging_call_records_nothing(aws: Emulator) -> None:
    aws.fault("MeterUsage", "hang")
    before = threading.active_count()
    with pytest.raises(ReadTimeoutError):
        client(aws.url, read_timeout=0.2).meter_usage(
            ProductCode=PRODUCT, Timestamp=NOW, UsageDimension="requests", UsageQuantity=3
        )
    eventually(lambda: threading.active_count() <= before)
    assert aws.bill() == []


def test_throttling_and_expired_credentials_come_before_all_rules(aws: Emulator) -> None:
    aws.fault("MeterUsage", "ThrottlingException", times=2, retry_after=250)
    aws.fault("*", "expired_token")
    answers = [metered(aws.url, ProductCode="prod9") for _ in range(4)]
    assert answers == [*["ThrottlingException"] * 2, "ExpiredTokenException", "InvalidProductCodeException"]
    assert aws.bill() == []


def test_a_slight_skew_moves_the_window_and_a_large_one_is_refused(aws: Emulator) -> None:
    edge = datetime.now(UTC) - timedelta(hours=5, minutes=55)
    aws.fault("MeterUsage", "clock_skew", seconds=600)
    aws.fault("MeterUsage", "clock_skew", seconds=3600)
    assert metered(aws.url, Timestamp=edge) == "TimestampOutOfBoundsException"
    with pytest.raises(ClientError, match="Signature expired"):
        meter(aws.url, Timestamp=edge)
    assert metered(aws.url, Timestamp=edge) == "ok"


@pytest.mark.parametrize("kind", ORDINARY)
def test_a_fault_of_tokens_leaves_metering_alone(aws: Emulator, kind: str) -> None:
    aws.fault("MeterUsage", kind)
    assert meter(aws.url)["MeteringRecordId"]


def test_a_fault_of_registration_does_not_concern_metering(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "ThrottlingException")
    assert metered(aws.url) == "ok"
