"""Usage split by tags, through boto3."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from sidecar.emulator import Emulator

from .conftest import NOW, Aws, meter, metered, needs_decimals, share

BAD_SPLIT = "InvalidUsageAllocationsException"
BAD_TAG = "InvalidTagException"


def tagged(*tags: tuple[str, Any]) -> list[dict[str, Any]]:
    """One allocation of everything, with these tags."""
    return [{"AllocatedUsageQuantity": 7, "Tags": [{"Key": key, "Value": value} for key, value in tags]}]


def test_a_split_that_adds_up_is_recorded_with_its_tags(aws: Emulator) -> None:
    meter(aws.url, UsageAllocations=[share(3, team="red"), share(2, team="blue"), share(2)])
    [record] = aws.usage_records()
    assert [(each.quantity.value, dict(each.tags)) for each in record.allocations] == [
        (Decimal(3), {"team": "red"}),
        (Decimal(2), {"team": "blue"}),
        (Decimal(2), {}),
    ]


@pytest.mark.parametrize(
    "split",
    [
        [share(6, team="red")],
        [share(7, team="red"), share(1)],
        [share(3), share(4)],
        [share(3, team="red"), share(4, team="red")],
        [share(3, a="1", b="2"), share(4, b="2", a="1")],
        [share(0, team="red"), share(7), share(0)],
    ],
)
def test_a_split_that_does_not_add_up_or_repeats_its_tags_is_refused(aws: Emulator, split: list[Any]) -> None:
    assert metered(aws.url, UsageAllocations=split) == BAD_SPLIT
    assert aws.usage_records() == []


@pytest.mark.parametrize(
    "split", [[share(7)], [share(7, team="red")], [share(0, team="red"), share(7)], [share(3, a="1"), share(4, a="2")]]
)
def test_a_split_that_adds_up_is_accepted(aws: Emulator, split: list[Any]) -> None:
    assert metered(aws.url, UsageAllocations=split) == "ok"


@needs_decimals
def test_a_sum_is_exact_and_its_kind_is_one(aws: Emulator) -> None:
    tenths = [share("0.1", part=str(number)) for number in range(3)]
    assert metered(aws.url, UsageQuantityAsDecimal="0.3", UsageAllocations=tenths) == "ok"
    other = {"UsageDimension": "gigabytes"}
    assert metered(aws.url, UsageQuantityAsDecimal="0.300001", UsageAllocations=tenths, **other) == BAD_SPLIT
    assert metered(aws.url, UsageQuantityAsDecimal="7", UsageAllocations=[share(7)], **other) == BAD_SPLIT
    assert metered(aws.url, UsageQuantity=7, UsageAllocations=[share("7")], **other) == BAD_SPLIT
    mixed = [share("3"), share(4, a="1")]
    assert metered(aws.url, UsageQuantityAsDecimal="7", UsageAllocations=mixed, **other) == BAD_SPLIT


@needs_decimals
def test_an_allocation_has_exactly_one_quantity(aws: Emulator) -> None:
    both = {"AllocatedUsageQuantity": 7, "AllocatedUsageQuantityAsDecimal": "7"}
    assert metered(aws.url, UsageAllocations=[both]) == "ValidationException"
    assert metered(aws.url, UsageAllocations=[share(7)]) == "ok"


def test_the_models_limit_of_allocations_holds_unless_the_older_is_set(aws: Emulator) -> None:
    most = [share(1, part=str(number)) for number in range(2500)]
    aws.behave(allocations_max=500)
    assert metered(aws.url, UsageQuantity=2500, UsageAllocations=most) == BAD_SPLIT
    assert metered(aws.url, UsageQuantity=500, UsageAllocations=most[:500]) == "ok"
    aws.behave(allocations_max=2500)
    assert metered(aws.url, UsageDimension="gigabytes", UsageQuantity=2500, UsageAllocations=most) == "ok"


@pytest.mark.parametrize(
    "tags",
    [
        [("", "v")],
        [("k", "")],
        [("k" * 101, "v")],
        [("k", "v" * 257)],
        [("k", "näive")],
        [("k", "semi;colon")],
        [("k!", "v")],
        [("k", "back\\slash")],
        [("k", "line\n")],
        [("k", "1"), ("k", "2")],
        [(str(number), "v") for number in range(6)],
    ],
)
def test_a_tag_that_is_not_allowed_is_refused(aws: Emulator, tags: list[tuple[str, str]]) -> None:
    assert metered(aws.url, UsageAllocations=tagged(*tags)) == BAD_TAG
    assert aws.usage_records() == []


@pytest.mark.parametrize(
    "tags",
    [[("k" * 100, "v" * 256)], [("aZ09+ -=._:/@", "aZ09+ -=._:/@")], [(str(number), "v") for number in range(5)]],
)
def test_a_tag_at_the_limits_is_accepted(aws: Emulator, tags: list[tuple[str, str]]) -> None:
    assert metered(aws.url, UsageAllocations=tagged(*tags)) == "ok"


def test_five_keys_across_a_request_are_the_most_unless_the_knob_says_otherwise(aws: Emulator) -> None:
    five = [share(1, **{f"k{number}": "v"}) for number in range(5)]
    assert metered(aws.url, UsageQuantity=5, UsageAllocations=five) == "ok"
    six = [*five, share(1, k5="v")]
    sixth = {"UsageDimension": "gigabytes", "UsageQuantity": 6, "UsageAllocations": six}
    assert metered(aws.url, **sixth) == BAD_TAG
    aws.behave(tag_keys_max=12500)
    assert metered(aws.url, UsageAllocations=tagged(*[(str(number), "v") for number in range(6)])) == BAD_TAG
    assert metered(aws.url, **sixth) == "ok"


def test_the_other_readings_of_tag_texts_can_be_had(aws: Emulator) -> None:
    aws.behave(tag_characters="range")
    assert metered(aws.url, UsageAllocations=tagged(("k", "a,b;c!"))) == "ok"
    assert metered(aws.url, UsageDimension="gigabytes", UsageAllocations=tagged(("k", "a?b"))) == BAD_TAG
    aws.behave(empty_tag_values=True)
    assert metered(aws.url, UsageDimension="gigabytes", UsageAllocations=tagged(("k", ""))) == "ok"


def test_a_tag_is_judged_before_the_sum(aws: Emulator) -> None:
    assert metered(aws.url, UsageAllocations=[share(1, k="ä")]) == BAD_TAG


def test_the_same_split_in_another_order_is_the_same_record(aws: Emulator) -> None:
    parts = [share(3, team="red", env="x"), share(4)]
    turned = [share(4), share(3, env="x", team="red")]
    at = NOW
    first = meter(aws.url, Timestamp=at, UsageAllocations=parts)
    assert meter(aws.url, Timestamp=at, UsageAllocations=turned)["MeteringRecordId"] == first["MeteringRecordId"]


def test_the_same_quantity_split_otherwise_is_a_duplicate_by_default(emulator: Aws) -> None:
    aws = emulator(clock_start=datetime.fromisoformat("2026-05-01T10:00:00+00:00"), clock_speed=0)
    at = aws.clock.now()
    first = meter(aws.url, Timestamp=at, UsageAllocations=[share(7, team="red")])
    other: dict[str, Any] = {"Timestamp": at, "UsageAllocations": [share(7, team="blue")]}
    assert metered(aws.url, **other) == "DuplicateRequestException"
    assert metered(aws.url, Timestamp=at) == "DuplicateRequestException"
    aws.behave(other_allocations="idempotent")
    assert meter(aws.url, **other)["MeteringRecordId"] == first["MeteringRecordId"]
    assert metered(aws.url, **other, UsageQuantity=8) == BAD_SPLIT
    [record] = aws.usage_records()
    assert dict(record.allocations[0].tags) == {"team": "red"}
