"""What the cluster is told, for everything that may be seen of gate and usage."""

from __future__ import annotations

import pytest

from sidecar.entitlement.status import Status, initial_state
from sidecar.pod_status import changes
from sidecar.pod_status.changes import (
    MEANINGS,
    NORMAL,
    OF_STATUS,
    Snapshot,
    camel_case,
    condition,
    events_between,
    snapshot,
)
from sidecar.pod_status.types import Condition
from sidecar.quick_dataclasses import replace
from tests.fakes.clock import NOON
from tests.fakes.view import gate_state

NOTHING = Snapshot()
OPEN = Snapshot(answered=True, status="entitled", reason="registered", hint="Confirmed.")
DENIED = Snapshot(answered=True, status="denied", reason="customer_not_entitled", hint="Subscribe.")
PENDING = Snapshot(answered=True, status="pending", reason="throttled", hint="Wait.")
AWAY = replace(PENDING, status="unavailable")


def reasons(told: Snapshot, now: Snapshot) -> list[str]:
    return [one.reason for one in events_between(told, now)]


def test_before_the_first_answer_nothing_is_told() -> None:
    first = snapshot(initial_state(NOON), None, {}, False)
    assert condition(first) is None
    assert events_between(NOTHING, first) == []


@pytest.mark.parametrize("status", Status)
def test_the_condition_is_true_while_the_gate_is_open_and_only_then(status: Status) -> None:
    now = snapshot(gate_state(status, reason="some_reason"), None, {}, False)
    assert condition(now) == Condition(
        status=status is Status.ENTITLED, reason="SomeReason", message=gate_state(status).hint
    )


@pytest.mark.parametrize(
    ("told", "now", "expected"),
    [
        (NOTHING, OPEN, ["Entitled"]),
        (NOTHING, DENIED, ["NotEntitled"]),
        (NOTHING, PENDING, []),
        (NOTHING, AWAY, ["EntitlementUnavailable"]),
        (NOTHING, replace(DENIED, status="misconfigured"), ["EntitlementMisconfigured"]),
        (DENIED, DENIED, []),
        (DENIED, replace(DENIED, hint="Subscribe again."), []),
        (DENIED, replace(DENIED, reason="token_nonce"), ["NotEntitled"]),
        (AWAY, replace(AWAY, reason="aws_failing"), []),
        (DENIED, OPEN, ["Entitled"]),
        (OPEN, replace(OPEN, reason="kept_answer"), []),
        (OPEN, DENIED, ["NotEntitled"]),
        (OPEN, replace(OPEN, superseded_version=1), ["PublicKeySuperseded"]),
        (replace(OPEN, superseded_version=1), replace(OPEN, superseded_version=1), []),
        (OPEN, replace(OPEN, rejected=1), ["UsageWaiting"]),
        (replace(OPEN, rejected=1), replace(OPEN, rejected=1, disputed=1), ["UsageWaiting"]),
        (replace(OPEN, rejected=2), replace(OPEN, rejected=1), []),
        (OPEN, replace(OPEN, overdue=True), ["MeteringOverdue"]),
        (replace(OPEN, overdue=True), OPEN, ["MeteringRecovered"]),
        (NOTHING, replace(OPEN, superseded_version=1), ["Entitled", "PublicKeySuperseded"]),
    ],
)
def test_an_event_is_a_difference(told: Snapshot, now: Snapshot, expected: list[str]) -> None:
    assert reasons(told, now) == expected


def test_a_denial_names_reason_and_hint_and_is_a_warning() -> None:
    (event,) = events_between(NOTHING, DENIED)
    assert (event.note, event.warning, event.key) == (
        "customer_not_entitled: Subscribe.",
        True,
        "customer_not_entitled",
    )


def test_waiting_usage_is_one_event_whatever_the_count() -> None:
    (one,), (two,) = (
        events_between(OPEN, replace(OPEN, rejected=1)),
        events_between(OPEN, replace(OPEN, rejected=1, disputed=3)),
    )
    assert one.key == two.key
    assert "1 rejected, 3 disputed" in two.note


def test_a_snapshot_comes_from_the_gate_the_key_version_and_usage() -> None:
    now = snapshot(gate_state(Status.ENTITLED), 2, {"rejected": 1, "disputed": 2, "sealed": 9}, True)
    assert (now.superseded_version, now.rejected, now.disputed, now.overdue) == (2, 1, 2, True)
    assert snapshot(gate_state(Status.ENTITLED), None, {}, False).superseded_version is None


def test_every_reason_has_a_meaning_and_is_camel_case() -> None:
    named = {value for name, value in vars(changes).items() if name.isupper() and isinstance(value, str)}
    assert named == set(MEANINGS)
    assert NORMAL | set(OF_STATUS.values()) <= set(MEANINGS)
    assert all(reason.isalnum() and reason[0].isupper() for reason in MEANINGS)


def test_a_reason_in_camel_case() -> None:
    assert camel_case("customer_not_entitled") == "CustomerNotEntitled"


def contract(lost: int, days: int | None) -> Snapshot:
    return replace(OPEN, seats_lost=lost, contract_days=days)


@pytest.mark.parametrize(
    ("told", "now", "expected"),
    [
        (contract(0, 10_000), contract(1, 10_000), ["SeatLost"]),
        (contract(1, 10_000), contract(1, 10_000), []),
        (contract(2, 10_000), contract(1, 10_000), []),
        (contract(1, 10_000), contract(0, 10_000), ["SeatTakenAgain"]),
        (OPEN, contract(0, 10_000), []),
        (OPEN, contract(0, 30), ["ContractEnding"]),
        (contract(0, 30), contract(0, 7), ["ContractEnding"]),
        (contract(0, 7), contract(0, 7), []),
        (contract(0, 1), contract(0, 0), ["ContractEnded"]),
        (contract(0, 0), contract(0, 30), []),
    ],
)
def test_seats_and_the_contracts_end_are_told_when_they_change(
    told: Snapshot, now: Snapshot, expected: list[str]
) -> None:
    assert reasons(told, now) == expected
