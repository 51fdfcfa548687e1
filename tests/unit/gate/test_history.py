"""The gate's history keeps changes, a bounded number of them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sidecar.entitlement.status import Status
from sidecar.gate.history import KEPT, GateHistory
from tests.fakes.clock import NOON
from tests.fakes.view import gate_state

MINUTE = timedelta(minutes=1)


def test_a_change_is_kept_with_its_instant() -> None:
    history = GateHistory()
    history.note(gate_state(Status.PENDING, reason="throttled"), NOON)
    history.note(gate_state(Status.ENTITLED, reason="registered"), NOON + MINUTE)
    assert history.as_json() == [
        {"at": "2026-01-02T12:00:00.000Z", "status": "pending", "reason": "throttled"},
        {"at": "2026-01-02T12:01:00.000Z", "status": "entitled", "reason": "registered"},
    ]


@pytest.mark.parametrize("hint", ["Do this.", "Do that."])
def test_the_same_answer_again_is_no_change(hint: str) -> None:
    history = GateHistory()
    history.note(gate_state(Status.DENIED), NOON)
    history.note(gate_state(Status.DENIED, hint=hint, checked_at=NOON + MINUTE), NOON + MINUTE)
    assert [one["at"] for one in history.as_json()] == ["2026-01-02T12:00:00.000Z"]


def test_another_reason_of_the_same_status_is_a_change() -> None:
    history = GateHistory()
    for reason in ("throttled", "aws_slow", "throttled"):
        history.note(gate_state(Status.PENDING, reason=reason), NOON)
    assert [one["reason"] for one in history.as_json()] == ["throttled", "aws_slow", "throttled"]


def test_the_oldest_change_gives_way() -> None:
    history = GateHistory()
    for number in range(KEPT + 3):
        history.note(gate_state(Status.PENDING, reason=f"reason_{number}"), NOON)
    kept = [one["reason"] for one in history.as_json()]
    assert (len(kept), kept[0], kept[-1]) == (KEPT, "reason_3", f"reason_{KEPT + 2}")
