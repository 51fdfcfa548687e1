"""What a child is asked and says goes through JSON and comes back the same; what is not ours does not."""

from __future__ import annotations

import json

import pytest

from sidecar.gate.messages import CheckRequest, CheckResult, WorkloadIdentity, parse_message
from sidecar.quick_dataclasses import replace
from sidecar.settings import Dimension, Take
from tests.fakes.config import check_request, settings

from .support import HOLDING, OPEN, RETRY


def from_json(asked: CheckRequest) -> CheckRequest:
    """The request as the child gets it."""
    return CheckRequest.from_payload(
        {name: value for name, value in json.loads(asked.as_json()).items() if name != "job"}
    )


def test_a_question_comes_back_the_same() -> None:
    asked = check_request(
        settings(
            entitlement_check="meter_usage",
            dimensions='[{"name": "gb", "decimals": 3, "scale": "0.5"}, "requests"]',
            endpoint_url="http://127.0.0.1:8486",
            clock_url="http://127.0.0.1:8486",
        )
    )
    assert asked.entitlement_check == "meter_usage"
    assert asked.dimensions == (Dimension(name="gb", decimals=3), Dimension(name="requests"))
    assert asked.clock_url == "http://127.0.0.1:8486"
    assert from_json(asked) == asked


def test_a_question_by_registration_needs_no_dimension() -> None:
    asked = check_request()
    assert (asked.entitlement_check, asked.dimensions, asked.clock_url) == ("register_usage", (), None)
    assert from_json(asked) == asked


def test_a_question_to_license_manager_comes_back_the_same() -> None:
    licenses = '[{"name": "pro", "take": "check", "any_of": "tier"}, {"name": "seats", "value": 2, "take": "seat"}]'
    asked = check_request(settings(entitlement_check="checkout_license", product_sku="prod-a", licenses=licenses))
    assert [one.take for one in asked.licenses] == [Take.CHECK, Take.SEAT]
    asked = asked.after(replace(RETRY, open_checkout=OPEN))
    assert asked.open_checkout == OPEN
    assert from_json(asked) == asked


def test_the_result_of_a_contract_comes_back_the_same() -> None:
    result = replace(HOLDING, open_checkout=OPEN, not_returned=("pro: X; until y",))
    assert CheckResult.from_json(result.as_json()) == result
    assert "opaque-token" not in repr(result)


@pytest.mark.parametrize("held", ['[{"name": "seats"}]', "[1]", '"x"', "1"])
def test_a_seat_that_is_none_is_no_message(held: str) -> None:
    line = f'{{"answer": "accepted", "reason": "", "hint": "", "granted": [], "not_returned": [], "held": {held}}}'
    with pytest.raises(ValueError, match="not a result"):
        CheckResult.from_json(line)


def test_an_identity_comes_back_the_same_and_is_no_result() -> None:
    identity = WorkloadIdentity(workload="pod-1", labels={"pod": "web-0"}, region="us-east-1")
    assert parse_message(identity.as_json()) == identity
    with pytest.raises(ValueError, match="not a result"):
        CheckResult.from_json(identity.as_json())


def test_a_result_comes_back_the_same() -> None:
    result = CheckResult(answer="deny", reason="customer_not_entitled", hint="Subscribe.", role="arn:aws:iam::1:role/a")
    assert parse_message(result.as_json()) == CheckResult.from_json(result.as_json()) == result


@pytest.mark.parametrize(
    "line", ["", "[]", "{}x", '{"answer": "yes", "reason": "", "hint": ""}', '{"workload": 1, "x": 2}']
)
def test_another_line_is_no_message(line: str) -> None:
    with pytest.raises(ValueError, match="not a result"):
        parse_message(line)


def test_long_texts_of_a_message_are_cut() -> None:
    long = CheckResult(answer="deny", reason="r" * 9000, hint="h" * 9000)
    found = parse_message(long.as_json())
    assert isinstance(found, CheckResult)
    assert (len(found.reason), len(found.hint)) == (512, 2048)
    labels = parse_message(WorkloadIdentity(labels={"pod": "x" * 9000}).as_json())
    assert isinstance(labels, WorkloadIdentity)
    assert len(labels.labels["pod"]) == 512


def test_a_dry_run_of_many_dimensions_has_a_bounded_budget() -> None:
    many = check_request(settings(entitlement_check="meter_usage", dimensions=",".join(f"d{n}" for n in range(24))))
    assert many.budget_seconds == 120
    assert check_request().budget_seconds == 50
