"""What status, metrics and `GET /v1/entitlements` say of licenses and seats."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from sidecar.entitlement.status import Status
from sidecar.gate import license_status
from sidecar.quick_dataclasses import replace
from tests.fakes.clock import NOON
from tests.fakes.config import settings
from tests.fakes.view import gate_state
from tests.unit.gate.test_license_loop import ARN, HOUR, SKU, TOKEN, Story, seat

TIER = {"name": "pro", "unit": "None", "value": "", "take": "check", "license_arn": ARN}
OF = settings(
    entitlement_check="checkout_license",
    product_sku=SKU,
    licenses='[{"name": "seats", "take": "seat"}, {"name": "pages", "take": "drawdown"}]',
    dimensions="pages",
)


@pytest.fixture
def story() -> Story:
    found = Story()
    result = found.gate.result
    found.gate.result = replace(result, granted=(*result.granted, TIER))
    return found


def gate(story: Story, status: Status = Status.ENTITLED) -> Any:
    return SimpleNamespace(result=story.gate.result, state=gate_state(status))


def entitlements(story: Story, status: Status = Status.ENTITLED) -> dict[str, Any]:
    return dict(license_status.entitlements(story.loop, gate(story, status), OF))


def test_an_open_gate_lists_seats_tiers_and_drawdowns(story: Story) -> None:
    story.loop.term.ends_at = NOON + timedelta(days=9)
    ends = "2026-01-11T12:00:00.000Z"
    assert entitlements(story) == {
        "entitlements": [
            {"name": "seats", "unit": "Count", "value": "1", "take": "seat", "expires_at": "2026-01-02T13:00:00.000Z"},
            {"name": "pro", "unit": "None", "value": None, "take": "check", "expires_at": ends},
            {"name": "pages", "unit": "Count", "value": None, "take": "drawdown", "expires_at": ends},
        ],
        "license_arn": ARN,
    }


def test_each_of_two_seats_of_one_name_has_its_own_expiration() -> None:
    story = Story(held=(seat(), seat(NOON + 2 * HOUR, unit="Gigabytes")))
    assert [(one["unit"], one["expires_at"]) for one in entitlements(story)["entitlements"][:2]] == [
        ("Count", "2026-01-02T13:00:00.000Z"),
        ("Gigabytes", "2026-01-02T14:00:00.000Z"),
    ]


@pytest.mark.parametrize("status", [one for one in Status if one is not Status.ENTITLED])
def test_a_shut_gate_lists_nothing(story: Story, status: Status) -> None:
    assert entitlements(story, status) == {"entitlements": [], "license_arn": None}


def test_an_end_that_is_not_known_is_null(story: Story) -> None:
    assert entitlements(story)["entitlements"][1]["expires_at"] is None


def test_the_status_names_seats_and_no_token(story: Story) -> None:
    found = license_status.document(story.loop, gate(story), OF)
    assert found["end_unknown"] == "not_read_yet"
    assert [one["name"] for one in found["seats"]] == ["seats"]  # type: ignore[attr-defined]
    assert TOKEN not in repr(found)


def test_metrics_count_seats_that_are_held_and_lost(story: Story) -> None:
    def value(name: str) -> float:
        (found,) = [one for one in license_status.metrics(story.loop) if one.name == name]
        return found.samples[0][1]

    assert (value("seats_held"), value("seats_lost"), value("seats_lost_total")) == (1, 0, 0)
    story.after(60)
    assert (value("seats_held"), value("seats_lost"), value("seats_lost_total")) == (0, 1, 1)
