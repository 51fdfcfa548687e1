"""What the emulator billed, as AWS reports it."""

from __future__ import annotations

import csv
import io
import urllib.request
from typing import Any

from sidecar.emulator import Emulator
from tests.integration.emulator.conftest import meter, needs_decimals
from tests.integration.emulator.test_admin import admin


def feed(aws: Emulator) -> list[dict[str, str]]:
    with urllib.request.urlopen(f"{aws.url}/_emulator/daily-usage", timeout=5) as answer:
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        return list(csv.DictReader(io.StringIO(answer.read().decode())))


def events(aws: Emulator) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = admin(aws, "cloudtrail")[1]["Records"]
    return found


def test_each_record_is_one_event_with_its_record_id(aws: Emulator) -> None:
    record_ids = {meter(aws.url)["MeteringRecordId"], meter(aws.url)["MeteringRecordId"]}
    (one,) = events(aws)
    assert {one["responseElements"]["meteringRecordId"]} == record_ids
    assert one["eventName"] == "MeterUsage"
    assert one["requestParameters"]["usageQuantity"] == 7


@needs_decimals
def test_a_decimal_quantity_stands_in_its_own_field(aws: Emulator) -> None:
    meter(aws.url, UsageQuantityAsDecimal="0.125")
    (one,) = events(aws)
    assert one["requestParameters"]["usageQuantityAsDecimal"] == "0.125"
    assert "usageQuantity" not in one["requestParameters"]


@needs_decimals
def test_a_whole_quantity_stands_in_the_field_it_came_in(aws: Emulator) -> None:
    meter(aws.url, UsageQuantityAsDecimal="17")
    meter(aws.url, workload="pod-b", UsageQuantity=17)
    found = [{**one["requestParameters"]} for one in events(aws)]
    assert [one.get("usageQuantityAsDecimal", one.get("usageQuantity")) for one in found] == ["17", 17]


@needs_decimals
def test_the_feed_adds_up_pods_and_hides_the_account(aws: Emulator) -> None:
    meter(aws.url, workload="pod-a", UsageQuantityAsDecimal="1.239")
    meter(aws.url, workload="pod-b", UsageQuantityAsDecimal="2")
    (line,) = feed(aws)
    assert (line["dimension_key"], line["region"], line["usage_quantity"]) == ("requests", "us-east-1", "3.23")
    assert "123456789012" not in line["end_user_account_id"]


def test_an_empty_bill_has_a_header_and_no_line(aws: Emulator) -> None:
    assert (events(aws), feed(aws)) == ([], [])
