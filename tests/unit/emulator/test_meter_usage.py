"""The rules alone: which comes first, and what the bill comes to whatever is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.emulator import meter_usage
from sidecar.emulator.behaviour import Behaviour, Platform, Reask
from sidecar.emulator.callers import Caller
from sidecar.emulator.keys import SigningKeys
from sidecar.emulator.records import exact
from sidecar.emulator.refusals import Refusal
from sidecar.emulator.state import EmulatorState

POD = Caller(
    workload="pod-a", account="123456789012", platform=Platform.EKS, region="us-east-1", allowed=True, role="app"
)
NOW = datetime(2026, 3, 29, 12, 30, tzinfo=UTC)
USAGE: dict[str, Any] = {
    "ProductCode": "prod1",
    "Timestamp": NOW.timestamp(),
    "UsageDimension": "requests",
    "UsageQuantity": 7,
}


@pytest.fixture
def emulated(keys: SigningKeys) -> EmulatorState:
    return fresh(keys)


def fresh(keys: SigningKeys) -> EmulatorState:
    return EmulatorState(keys=keys, product_codes=("prod1", "prod2"), dimensions=("requests", "users"))


def said(
    emulated: EmulatorState,
    body: Mapping[str, Any],
    caller: Caller = POD,
    region: str = "us-east-1",
    behaviour: Behaviour | None = None,
) -> str:
    """The code of a refusal, or the record id."""
    try:
        members = meter_usage.answer(emulated, caller, region, body, behaviour or emulated.behaviour, NOW)
    except Refusal as refused:
        return refused.code
    return str(members["MeteringRecordId"])


def test_the_first_rule_broken_names_the_answer(emulated: EmulatorState) -> None:
    """Everything is wrong; repaired one by one, in the order of precedence."""
    said(emulated, {**USAGE, "UsageQuantity": 1, "ClientToken": "used", "UsageDimension": "users"})
    emulated.metered.clear()
    emulated.unsubscribe()
    laptop = replace(POD, platform=Platform.NONE)
    wrong: dict[str, Any] = {
        "ProductCode": "prod9",
        "Timestamp": 0,
        "UsageDimension": "other",
        "UsageQuantity": -1,
        "ClientToken": "used",
        "UsageAllocations": [{"AllocatedUsageQuantity": 2, "Tags": [{"Key": "ä", "Value": "v"}]}],
    }
    assert said(emulated, wrong, laptop, "eu-west-1") == "PlatformNotSupportedException"
    assert said(emulated, wrong, POD, "eu-west-1") == "InvalidEndpointRegionException"
    assert said(emulated, wrong) == "ValidationException"
    wrong["UsageQuantity"] = 9
    assert said(emulated, wrong) == "InvalidProductCodeException"
    wrong["ProductCode"] = "prod1"
    assert said(emulated, wrong) == "CustomerNotEntitledException"
    emulated.subscribe()
    assert said(emulated, wrong) == "InvalidUsageDimensionException"
    wrong["UsageDimension"] = "users"
    assert said(emulated, wrong) == "TimestampOutOfBoundsException"
    wrong["Timestamp"] = NOW.timestamp()
    assert said(emulated, wrong) == "InvalidTagException"
    wrong["UsageAllocations"][0]["Tags"][0]["Key"] = "a"
    assert said(emulated, wrong) == "InvalidUsageAllocationsException"
    wrong["UsageAllocations"][0]["AllocatedUsageQuantity"] = 9
    assert said(emulated, {**wrong, "DryRun": True}) == "DryRunOperation"
    assert said(emulated, wrong) == "IdempotencyConflictException"
    wrong["ClientToken"] = "fresh"
    assert said(emulated, wrong) == "DuplicateRequestException"
    wrong["Timestamp"] -= 3600
    assert len(said(emulated, wrong)) == 36


@pytest.mark.parametrize(
    "body",
    [
        {"Timestamp": True},
        {"Timestamp": "2026-03-29T12:30:00Z"},
        {"Timestamp": float("nan")},
        {"Timestamp": -1},
        {"Timestamp": 1e300},
        {"UsageQuantity": "7"},
        {"UsageQuantity": None, "UsageQuantityAsDecimal": 7},
        {"UsageDimension": 7},
        {"UsageAllocations": {}},
        {"UsageAllocations": [7]},
        {"UsageAllocations": [{"AllocatedUsageQuantity": 7, "Tags": "k"}]},
        {"UsageAllocations": [{"AllocatedUsageQuantity": 7, "Tags": [{"Key": 1, "Value": "v"}]}]},
        {"UsageAllocations": [{"AllocatedUsageQuantity": 7, "Tags": [{"Value": "v"}]}]},
        {"UsageAllocations": [{"AllocatedUsageQuantity": 7, "Tags": ["k"]}]},
    ],
)
def test_what_no_sdk_would_send_is_a_validation_error_too(emulated: EmulatorState, body: dict[str, Any]) -> None:
    assert said(emulated, {**USAGE, **body}) == "ValidationException"


def test_a_validation_error_lists_everything_wrong(emulated: EmulatorState) -> None:
    with pytest.raises(Refusal) as refused:
        meter_usage.answer(emulated, POD, "us-east-1", {"UsageQuantity": -1}, Behaviour(), NOW)
    assert refused.value.message.startswith("4 validation errors detected: Value at 'productCode'")
    assert "Value at 'usageQuantity' failed to satisfy constraint: Member must be an integer from 0" in (
        refused.value.message
    )


def test_members_that_are_null_are_absent(emulated: EmulatorState) -> None:
    nulls = dict.fromkeys(("UsageQuantityAsDecimal", "UsageAllocations", "ClientToken", "DryRun"))
    assert len(said(emulated, {**USAGE, **nulls})) == 36


def test_a_missing_quantity_is_of_either_kind(emulated: EmulatorState) -> None:
    nothing = {name: value for name, value in USAGE.items() if name != "UsageQuantity"}
    parts = [{"AllocatedUsageQuantityAsDecimal": "0.0"}]
    assert len(said(emulated, {**nothing, "UsageAllocations": parts})) == 36
    assert said(emulated, {**nothing, "UsageAllocations": [{"AllocatedUsageQuantity": 1}]}) == (
        "InvalidUsageAllocationsException"
    )


def test_a_denial_of_metering_is_not_one_of_registration(emulated: EmulatorState) -> None:
    emulated.unsubscribe()
    assert said(emulated, USAGE) == "CustomerNotEntitledException"
    assert (len(emulated.meter_denied), emulated.denied) == (1, set())
    assert said(emulated, USAGE, behaviour=Behaviour(reask=Reask.STICKY)) == "CustomerNotEntitledException"


@pytest.mark.parametrize(
    ("text", "printed"),
    [("17.00", "17"), ("0.10", "0.1"), ("100", "100"), ("0.000000", "0"), ("9999999999.999999", "9999999999.999999")],
)
def test_an_amount_is_printed_plainly(text: str, printed: str) -> None:
    assert exact(Decimal(text)) == printed


def quantities() -> st.SearchStrategy[dict[str, Any]]:
    """Few values, of both kinds and many forms, so that some are equal."""
    whole = st.integers(-1, 3).map(lambda value: {"UsageQuantity": value})
    text = st.sampled_from(["1", "1.0", "0.000001", "2.50", "2.5", "9999999999.999999", "01", "x"])
    decimal = text.map(lambda value: {"UsageQuantityAsDecimal": value})
    return st.one_of(whole, decimal, st.just({}))


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A workload and what it sends: sound or not, new or seen before."""
    body = {
        "ProductCode": draw(st.sampled_from(["prod1", "prod1", "prod2", "prod9"])),
        "UsageDimension": draw(st.sampled_from(["requests", "users", "other"])),
        "Timestamp": NOW.timestamp() - draw(st.integers(-1200, 7 * 3600)),
        **draw(quantities()),
        **draw(st.sampled_from([{}, {}, {"DryRun": True}, {"ClientToken": "t1"}, {"ClientToken": "t2"}])),
    }
    return draw(st.sampled_from(["pod-a", "pod-b"])), body


@given(sent=st.lists(requests(), max_size=40))
def test_the_bill_is_the_sum_of_the_first_accepted_writes(keys: SigningKeys, sent: list[Any]) -> None:
    """A model that knows one rule only: who is answered with an id first has the slot, and keeps it."""
    emulated = fresh(keys)
    first: dict[tuple[str, str, str, datetime], tuple[Decimal, str]] = {}
    for workload, body in sent:
        answer = said(emulated, body, replace(POD, workload=workload))
        if len(answer) != 36:
            continue
        hour = datetime.fromtimestamp(body["Timestamp"] // 3600 * 3600, UTC)
        slot = (workload, body["ProductCode"], body["UsageDimension"], hour)
        value = Decimal(body.get("UsageQuantityAsDecimal", body.get("UsageQuantity", 0)))
        assert first.setdefault(slot, (value, answer)) == (value, answer), "accepted means: equal, and the same id"
    billed = {
        (each.slot.workload, line.product_code, line.dimension, each.slot.hour): (each.quantity, each.record_id)
        for line in emulated.bill()
        for each in line.records
    }
    assert billed == first
    total = sum((Decimal(str(line.as_json()["total"])) for line in emulated.bill()), Decimal(0))
    assert total == sum((value for value, _ in first.values()), Decimal(0))
    for hour in {NOW - timedelta(hours=age) for age in range(-1, 8)}:
        start = hour.replace(minute=0)
        of_hour = [value for slot, (value, _) in first.items() if slot[3] == start]
        assert sum(emulated.recorded(hour).values(), Decimal(0)) == sum(of_hour, Decimal(0))


# -- Bedrock AgentCore Runtime

AGENT = replace(POD, platform=Platform.AGENTCORE)


def test_an_agents_records_are_told_apart_by_their_client_token(emulated: EmulatorState) -> None:
    one, two = {**USAGE, "ClientToken": "a"}, {**USAGE, "ClientToken": "b"}
    first = said(emulated, one, AGENT)
    assert said(emulated, one, AGENT) == first
    assert said(emulated, two, AGENT) != first
    assert [str(line.total) for line in emulated.bill()] == ["14"]


def test_an_agents_token_with_other_content_is_a_conflict(emulated: EmulatorState) -> None:
    emulated.behave(client_token_checked=False)
    said(emulated, {**USAGE, "ClientToken": "a"}, AGENT)
    again = {**USAGE, "ClientToken": "a", "UsageQuantity": 8}
    assert said(emulated, again, AGENT) == "IdempotencyConflictException"


def test_an_agent_must_send_a_token_and_no_tags(emulated: EmulatorState) -> None:
    split = [{"AllocatedUsageQuantity": 7, "Tags": [{"Key": "team", "Value": "a"}]}]
    assert said(emulated, USAGE, AGENT) == "ValidationException"
    tagged = {**USAGE, "ClientToken": "a", "UsageAllocations": split}
    assert said(emulated, tagged, AGENT) == "InvalidTagException"
    assert said(emulated, tagged, POD) not in ("ValidationException", "InvalidTagException")
