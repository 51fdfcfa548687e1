"""Metering shuts an open gate where it was told to, and opens none."""

from __future__ import annotations

import pytest

from sidecar.entitlement.hold import SHOWN, Hold, with_hold
from sidecar.entitlement.status import Status
from tests.fakes.view import gate_state


@pytest.mark.parametrize("hold", Hold)
def test_a_hold_shows_on_an_open_gate(hold: Hold) -> None:
    shown = with_hold(gate_state(Status.ENTITLED), hold)
    assert not shown.entitled
    assert (shown.status, shown.reason, shown.hint) == SHOWN[hold]


@pytest.mark.parametrize("hold", [*Hold, None])
@pytest.mark.parametrize("status", [status for status in Status if status is not Status.ENTITLED])
def test_a_shut_gate_keeps_its_own_reason(status: Status, hold: Hold | None) -> None:
    before = gate_state(status)
    assert with_hold(before, hold) is before


def test_without_a_hold_nothing_changes() -> None:
    before = gate_state(Status.ENTITLED)
    assert with_hold(before, None) is before


def test_only_a_denial_is_a_denial() -> None:
    """Exit codes follow `denied` alone: overdue usage must not end a workload as if the customer were refused."""
    assert SHOWN[Hold.FIRST_METER_DENIED][0] is Status.DENIED
    assert SHOWN[Hold.METERING_OVERDUE][0] is Status.UNAVAILABLE
