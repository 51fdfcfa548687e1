"""What the operator reads about the gate: one event for an answer, the whole story once, cautions once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sidecar.entitlement.status import Status
from sidecar.gate.events import SHUT_SECONDS, GateEvents
from sidecar.gate.messages import CheckResult
from sidecar.quick_dataclasses import replace
from tests.fakes.child import POD
from tests.fakes.config import PRODUCT
from tests.fakes.log import Events, logged_events
from tests.fakes.view import gate_state

DENIAL = CheckResult(
    answer="deny",
    reason="customer_not_entitled",
    hint="Subscribe.",
    code="CustomerNotEntitledException",
    asked="RegisterUsage",
    request_id="r-1",
    public_key_version=2,
    host="metering.example",
)
ACCEPTED = replace(DENIAL, answer="accepted", reason="registered", code="")
DENIED = gate_state(Status.DENIED)
OPEN = gate_state(Status.ENTITLED)


@pytest.fixture
def events() -> Iterator[Events]:
    with logged_events() as found:
        yield found


def say(result: CheckResult, **changes: Any) -> None:
    given: dict[str, Any] = {"opened": False, "retry_in_seconds": 3.0} | changes
    GateEvents(product_code=PRODUCT).answer(POD, result, DENIED, **given)


@pytest.mark.parametrize(
    ("result", "name", "level"),
    [
        (ACCEPTED, "registration.accepted", "INFO"),
        (replace(ACCEPTED, from_kept_answer=True), "answer.reopened", "WARNING"),
        (DENIAL, "registration.denied", "ERROR"),
        (replace(DENIAL, asked="token"), "token.rejected", "ERROR"),
        (replace(DENIAL, answer="config"), "registration.refused", "ERROR"),
        (replace(DENIAL, answer="config", asked="AssumeRoleWithWebIdentity"), "registration.refused", "ERROR"),
        (replace(DENIAL, answer="retry"), "registration.held", "WARNING"),
        (replace(DENIAL, answer="retry_then_config"), "registration.held", "WARNING"),
    ],
)
def test_an_answer_is_one_event_named_by_its_class(events: Events, result: CheckResult, name: str, level: str) -> None:
    say(result)
    assert [(one.getMessage(), one.levelname) for one in events.records] == [(name, level)]


def test_a_license_that_was_not_returned_is_said_with_its_consequence(events: Events) -> None:
    say(replace(ACCEPTED, not_returned=("seats: X; until 2026-11-28T23:00:00.000Z",)))
    said = events.one("license.check_in_failed")
    assert said["license"] == "seats: X; until 2026-11-28T23:00:00.000Z"
    assert "no free seat" in said["hint"]


def test_a_product_without_a_code_is_named_by_its_id(events: Events) -> None:
    GateEvents(product_code="", product_sku="prod-a").answer(POD, ACCEPTED, DENIED, opened=False, retry_in_seconds=None)
    said = events.one("registration.accepted")
    assert (said["product_sku"], said["product_code"]) == ("prod-a", None)


def test_an_answer_comes_with_everything_a_person_needs(events: Events) -> None:
    say(replace(DENIAL, kept_refused="kept_other_workload"))
    said = events.one("registration.denied")
    wanted = {
        "workload": "6f1c",
        "product_code": PRODUCT,
        "region": "us-east-1",
        "host": "metering.example",
        "aws_error": "CustomerNotEntitledException",
        "aws_request_id": "r-1",
        "reason": "customer_not_entitled",
        "hint": "Subscribe.",
        "status": "denied",
        "public_key_version": 2,
        "kept_refused": "kept_other_workload",
        "retry_in_seconds": 3.0,
    }
    assert {name: said[name] for name in wanted} == wanted


def test_the_opening_is_an_event_of_its_own(events: Events) -> None:
    say(ACCEPTED, opened=True)
    assert events.names() == ["registration.accepted", "gate.opened"]


@pytest.mark.parametrize(("seconds", "said"), [(0, 0), (SHUT_SECONDS - 0.1, 0), (SHUT_SECONDS, 1), (3600, 1)])
def test_a_shut_gate_is_explained_after_a_minute(events: Events, seconds: float, said: int) -> None:
    gate_events = GateEvents(product_code=PRODUCT, shut_since=100.0)
    gate_events.shut_for_long(100.0 + seconds, DENIED, POD, DENIAL)
    gate_events.shut_for_long(100.0 + seconds + 1000, DENIED, POD, DENIAL) if said else None
    assert len(events.of("gate.shut")) == said
    assert gate_events.explains_at() == (None if said else 100.0 + SHUT_SECONDS)


def test_the_explanation_names_the_command_that_finds_out_more(events: Events) -> None:
    GateEvents(product_code=PRODUCT, shut_since=0.0).shut_for_long(SHUT_SECONDS, DENIED, POD, DENIAL)
    said = events.one("gate.shut")
    assert said["command"] == "entitlement-sidecar doctor"
    assert (said["status"], said["reason"], said["hint"]) == (DENIED.status.value, DENIED.reason, DENIED.hint)


def test_a_gate_that_shuts_again_is_explained_again_after_a_minute_of_its_own(events: Events) -> None:
    gate_events = GateEvents(product_code=PRODUCT, shut_since=0.0)
    shown = [(100, DENIED, 1), (200, OPEN, 1), (300, DENIED, 1), (359, DENIED, 1), (360, DENIED, 2), (900, DENIED, 2)]
    for now, state, times in shown:
        gate_events.shut_for_long(now, state, POD, DENIAL)
        assert len(events.of("gate.shut")) == times, now


def test_an_open_gate_is_never_explained(events: Events) -> None:
    gate_events = GateEvents(product_code=PRODUCT, shut_since=0.0)
    gate_events.shut_for_long(3600, OPEN, POD, ACCEPTED)
    assert events.names() == []
    assert gate_events.explains_at() is None


WARY = replace(ACCEPTED, rotation_at="2026-01-01T00:00:00Z", weak_key_bits=1024)
TORN = replace(POD, region_disagreement="A says x")


def test_cautions_are_said_beside_the_answer_once(events: Events) -> None:
    gate_events = GateEvents(product_code=PRODUCT)
    for _ in range(3):
        gate_events.answer(TORN, WARY, OPEN, opened=False, retry_in_seconds=None)
    assert events.names().count("registration.accepted") == 3
    assert events.one("public_key.superseded")["superseded_at"] == "2026-01-01T00:00:00Z"
    assert events.one("public_key.weak")["bits"] == 1024
    assert events.one("region.disagreed")["disagreement"] == "A says x"


def test_where_there_is_nothing_to_be_wary_of_nothing_is_said(events: Events) -> None:
    say(ACCEPTED)
    assert events.names() == ["registration.accepted"]


def test_a_caution_that_changes_is_said_again(events: Events) -> None:
    gate_events = GateEvents(product_code=PRODUCT)
    gate_events.answer(TORN, WARY, OPEN, opened=False, retry_in_seconds=None)
    gate_events.answer(replace(TORN, region_disagreement="A says y"), WARY, OPEN, opened=False, retry_in_seconds=None)
    assert len(events.of("region.disagreed")) == 2
