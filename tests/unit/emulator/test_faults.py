"""Faults: how they are written, and who uses them up."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.emulator.behaviour import Algorithm, Behaviour, Claims
from sidecar.emulator.faults import FORGING, Fault, FaultQueue, from_json, from_text, kinds
from sidecar.emulator.refusals import BadCommand

OPERATIONS = ("RegisterUsage", "MeterUsage", "AssumeRoleWithWebIdentity")


@pytest.mark.parametrize(
    ("order", "fault"),
    [
        (
            "RegisterUsage:ThrottlingException*3",
            Fault(operation="RegisterUsage", kind="ThrottlingException", times=3),
        ),
        ("RegisterUsage:hang", Fault(operation="RegisterUsage", kind="hang", times=1)),
        ("*:drop_after*forever", Fault(operation="*", kind="drop_after", times=None)),
        ("*:slow=2.5*2", Fault(operation="*", kind="slow", times=2, seconds=2.5)),
        ("*:clock_skew=-900", Fault(operation="*", kind="clock_skew", seconds=-900)),
        (
            "RegisterUsage:ThrottlingException=1500*2",
            Fault(operation="RegisterUsage", kind="ThrottlingException", times=2, retry_after=1500),
        ),
    ],
)
def test_a_fault_can_be_written_in_a_word(order: str, fault: Fault) -> None:
    assert from_text(order, OPERATIONS) == fault


@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("hang", "OPERATION:KIND"),
        ("BatchMeterUsage:hang", "operation"),
        ("RegisterUsage:nonsense", "kind"),
        ("RegisterUsage:hang*0", "times"),
        ("RegisterUsage:hang*often", "times"),
        ("RegisterUsage:hang=3", "seconds"),
        ("RegisterUsage:slow=long", "seconds"),
        ("RegisterUsage:slow=-1", "seconds"),
        ("RegisterUsage:ThrottlingException=soon", "retry_after"),
    ],
)
def test_a_misspelled_fault_is_told_its_mistake(order: str, names: str) -> None:
    with pytest.raises(BadCommand, match=names):
        from_text(order, OPERATIONS)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "hang"}, "operation"),
        ({"operation": "*"}, "kind"),
        ({"operation": "*", "kind": "hang", "time": 3}, "time"),
        ({"operation": "*", "kind": "hang", "times": True}, "times"),
        ({"operation": "*", "kind": "hang", "message": "m"}, "message"),
        ({"operation": "*", "kind": "XException", "status": 200}, "status"),
        ({"operation": "*", "kind": "XException", "status": 600}, "status"),
        ({"operation": "*", "kind": "XException", "retry_after": -1}, "retry_after"),
    ],
)
def test_a_bad_body_is_told_the_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(BadCommand, match=f"^{field}:"):
        from_json(body, OPERATIONS)


def test_every_kind_can_be_ordered() -> None:
    for kind in kinds():
        assert from_text(f"*:{kind}", OPERATIONS).kind == kind


def test_every_forgery_but_the_true_forms_changes_something() -> None:
    unchanged = {kind for kind in FORGING if Fault(operation="*", kind=kind).bend(Behaviour()) == Behaviour()}
    assert unchanged == {f"claims_{Claims.CAMEL.value}", f"alg_{Algorithm.PS256.value.lower()}"}


def test_faults_are_used_in_order_and_counted_down() -> None:
    queue = FaultQueue()
    queue.add(Fault(operation="RegisterUsage", kind="slow", times=2))
    queue.add(Fault(operation="*", kind="hang"))
    taken = [queue.take("RegisterUsage", errors=False) for _ in range(4)]
    assert [fault and fault.kind for fault in taken] == ["slow", "slow", "hang", None]


def test_a_fault_waits_for_its_own_operation() -> None:
    queue = FaultQueue()
    queue.add(Fault(operation="AssumeRoleWithWebIdentity", kind="hang"))
    assert queue.take("RegisterUsage", errors=False) is None
    assert queue.as_json() != []


def test_an_error_at_the_head_is_not_overtaken() -> None:
    queue = FaultQueue()
    queue.add(Fault(operation="*", kind="ThrottlingException"))
    queue.add(Fault(operation="*", kind="hang"))
    assert queue.take("RegisterUsage", errors=False) is None
    assert queue.take("RegisterUsage", errors=True) is not None
    assert queue.take("RegisterUsage", errors=False) is not None


def test_a_fault_for_ever_stays() -> None:
    queue = FaultQueue()
    queue.add(Fault(operation="*", kind="hang", times=None))
    assert all(queue.take("RegisterUsage", errors=False) for _ in range(5))
    assert queue.as_json() == [{"operation": "*", "kind": "hang", "times": "forever"}]
