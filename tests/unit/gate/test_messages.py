"""What a child is asked and says goes through JSON and comes back the same; what is not ours does not."""

from __future__ import annotations

import json

import pytest

from sidecar.gate.messages import CheckRequest, Report
from sidecar.settings import Dimension
from tests.fakes import question, settings

PLACED = Report(answer="retry", reason="asking", hint="", workload="pod-1", region="us-east-1", placed_only=True)


def from_json(asked: CheckRequest) -> CheckRequest:
    """The request as the child gets it."""
    return CheckRequest.from_payload(
        {name: value for name, value in json.loads(asked.as_json()).items() if name != "job"}
    )


def test_a_question_comes_back_the_same() -> None:
    asked = question(
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
    asked = question()
    assert (asked.entitlement_check, asked.dimensions, asked.clock_url) == ("register_usage", (), None)
    assert from_json(asked) == asked


def test_a_report_of_the_place_comes_back_the_same_and_is_no_answer() -> None:
    assert Report.from_json(PLACED.as_json()) == PLACED
    with pytest.raises(ValueError, match="no answer"):
        PLACED.answered()


def test_a_dry_run_of_many_dimensions_has_a_bounded_budget() -> None:
    many = question(settings(entitlement_check="meter_usage", dimensions=",".join(f"d{n}" for n in range(24))))
    assert many.budget_seconds == 120
    assert question().budget_seconds == 50
