"""The probe routes: status codes, bodies and headers, through the router."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.api import probes
from sidecar.api.metrics import Metric
from sidecar.api.router import Router
from sidecar.entitlement.status import Status
from tests.fakes.clock import NOON
from tests.fakes.config import PRODUCT
from tests.fakes.view import FakeView, gate_state
from tests.unit.api.support import RouterReply

SHUT = [one for one in Status if one is not Status.ENTITLED]


# -- /entitled


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (Status.ENTITLED, 200),
        (Status.DENIED, 403),
        (Status.PENDING, 503),
        (Status.UNAVAILABLE, 503),
        (Status.MISCONFIGURED, 503),
    ],
)
def test_each_status_has_its_code_and_body(status: Status, code: int) -> None:
    found = RouterReply(Router(FakeView(now=gate_state(status))), "/entitled")
    assert found.status == code
    assert found.json == {
        "entitled": code == 200,
        "status": status.value,
        "reason": "some_reason",
        "hint": "Do this.",
        "product_code": PRODUCT,
        "checked_at": "2026-01-02T12:00:00.000Z",
        "metering_overdue_since": None,
    }
    assert found.headers.get("Retry-After") == ("7" if code == 503 else None)
    assert found.headers["Content-Type"] == "application/json"
    assert found.headers["Content-Length"] == str(len(found.body))
    assert found.headers["Cache-Control"] == "no-store"


def test_before_the_first_answer_checked_at_is_null() -> None:
    found = RouterReply(Router(FakeView()), "/entitled").json
    assert found["checked_at"] is None
    assert (found["entitled"], found["status"]) == (False, "pending")


def test_every_status_has_a_code_and_only_entitled_is_a_success() -> None:
    assert set(probes.HTTP_STATUS) == set(Status)
    assert [one for one, code in probes.HTTP_STATUS.items() if code < 400] == [Status.ENTITLED]


# -- /healthz, /readyz


@pytest.mark.parametrize("status", list(Status))
def test_health_does_not_ask_for_entitlement(status: Status) -> None:
    assert RouterReply(Router(FakeView(now=gate_state(status))), "/healthz").status == 200


def test_health_names_the_loop_that_stopped() -> None:
    found = RouterReply(Router(FakeView(now=gate_state(Status.ENTITLED), stopped="entitlement")), "/healthz")
    assert found.refused(503, "loop_stopped")
    assert "entitlement" in found.json["detail"]


def test_ready_is_entitled() -> None:
    assert RouterReply(Router(FakeView(now=gate_state(Status.ENTITLED))), "/readyz").status == 200


@pytest.mark.parametrize("status", SHUT)
def test_not_ready_has_reason_status_and_hint(status: Status) -> None:
    found = RouterReply(Router(FakeView(now=gate_state(status))), "/readyz")
    assert found.refused(503, "some_reason")
    assert status.value in found.json["detail"]
    assert "Do this." in found.json["detail"]


def test_usage_that_cannot_be_stored_is_not_ready() -> None:
    fault = ("ledger_full", "Free some space.")
    found = RouterReply(Router(FakeView(now=gate_state(Status.ENTITLED), fault=fault)), "/readyz")
    assert found.refused(503, "ledger_full")
    assert "Free some space." in found.json["detail"]


@pytest.mark.parametrize("path", ["/entitled", "/healthz"])
def test_usage_that_cannot_be_stored_shows_in_readyz_alone(path: str) -> None:
    view = FakeView(now=gate_state(Status.ENTITLED), fault=("ledger_full", "Free some space."))
    assert RouterReply(Router(view), path).status == 200


def test_a_shut_gate_comes_before_usage_that_cannot_be_stored() -> None:
    view = FakeView(now=gate_state(Status.DENIED), fault=("ledger_full", "Free some space."))
    assert RouterReply(Router(view), "/readyz").refused(503, "some_reason")


def test_overdue_usage_has_its_start_and_leaves_the_gate_open() -> None:
    found = RouterReply(Router(FakeView(now=gate_state(Status.ENTITLED), overdue_since=NOON)), "/entitled")
    assert (found.status, found.json["metering_overdue_since"]) == (200, "2026-01-02T12:00:00.000Z")


def test_metrics_are_prometheus_text() -> None:
    view = FakeView(samples=[Metric(name="entitled", kind="gauge", help="h", samples=[({"a": '"\n\\'}, 1.0)])])
    found = RouterReply(Router(view), "/metrics")
    assert (found.status, found.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    (family,) = text_string_to_metric_families(found.body.decode())
    assert family.samples[0].labels == {"a": '"\n\\'}
