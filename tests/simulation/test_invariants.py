"""What must hold is refused where it does not: each rule with the case that it forbids."""

from __future__ import annotations

import random
from decimal import Decimal
from itertools import product

import pytest

from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.resolution import Resolution
from sidecar.metering.states import Action, State
from sidecar.quick_dataclasses import replace
from tests.simulation.aws import Aws, Key
from tests.simulation.books import Book
from tests.simulation.clock import BEGIN, HostClock
from tests.simulation.disk import Disk
from tests.simulation.happenings import person
from tests.simulation.invariants import Auditor
from tests.simulation.model import Model
from tests.simulation.violation import Violation
from tests.simulation.world import World, keys

HOUR = Hour.at(BEGIN)
KEY: Key = ("pod-1", "requests", HOUR.number)
RECORD = UsageRecord(hour=HOUR, dimension="requests", state=State.REJECTED, quantity=Decimal(3), definite=False)


@pytest.fixture
def auditor() -> Auditor:
    clock = HostClock()
    return Auditor(Aws(clock, Disk(), keys(), ("requests",)), Model())


def _check(
    auditor: Auditor,
    record: UsageRecord | None,
    *,
    became: State | None = None,
    billed: int = 0,
    said: Resolution | None = None,
) -> None:
    """Check one ledger, which holds this record, or one of which it is gone."""
    book = Book("a", "pod-1", {}, {"requests": Decimal(billed)}, unsettled={KEY: record} if record else {})
    auditor.check([book], lambda key: became, said, False)  # type: ignore[arg-type]


def _bill(auditor: Auditor, quantity: int) -> None:
    auditor.aws.billed[KEY] = auditor.aws.by_dimension["requests"] = Decimal(quantity)


@pytest.mark.parametrize(("cause", "state"), [("doubtful", State.REJECTED), ("reported", State.DISPUTED)])
def test_a_record_waits_for_a_person_only_with_a_cause(auditor: Auditor, cause: str, state: State) -> None:
    with pytest.raises(Violation, match="certain" if cause == "doubtful" else "nobody else"):
        _check(auditor, replace(RECORD, state=state))
    getattr(auditor.aws, cause).add(KEY)
    _check(auditor, replace(RECORD, state=state))


def test_a_lost_answer_is_no_cause_of_a_dispute(auditor: Auditor) -> None:
    auditor.aws.doubtful.add(KEY)
    with pytest.raises(Violation, match="nobody else"):
        _check(auditor, replace(RECORD, state=State.DISPUTED))


def test_a_record_that_was_interrupted_may_be_rejected_later(auditor: Auditor) -> None:
    _check(auditor, replace(RECORD, state=State.SEALED, interrupted=True))
    _check(auditor, RECORD)


def test_what_arrived_late_and_was_then_answered_is_billed_once(auditor: Auditor) -> None:
    _bill(auditor, 3)
    auditor.aws.fresh_late.append(KEY)
    _check(auditor, None, became=State.SETTLED, billed=3)


def test_what_arrived_late_and_was_rolled_forward_before_is_billed_twice(auditor: Auditor) -> None:
    _bill(auditor, 3)
    auditor.aws.fresh_late.append(KEY)
    with pytest.raises(Violation, match="arrived late"):
        _check(auditor, None, became=State.ROLLED_FORWARD)


@pytest.mark.parametrize(("workload", "theirs"), [("pod-1", True), ("pod-2", False)])
def test_a_persons_decision_is_for_the_records_of_one_workload(auditor: Auditor, workload: str, theirs: bool) -> None:
    auditor.aws.doubtful.add(KEY)
    _check(auditor, RECORD)
    _bill(auditor, 3)
    said = Resolution(action=Action.ROLL_FORWARD, dimension="requests", workload=workload)
    if theirs:
        _check(auditor, None, became=State.ROLLED_FORWARD, said=said)
        return
    with pytest.raises(Violation, match="billed twice"):
        _check(auditor, None, became=State.ROLLED_FORWARD, said=said)


def test_a_person_uses_every_form() -> None:
    """All that wait, one hour, one dimension, one record; with and without the workload."""
    said: list[Resolution] = []

    class Usage:
        def resolve(self, resolution: Resolution) -> None:
            said.append(resolution)

    class Seen:
        service = type("Service", (), {"usage": Usage()})()

    class Stand(World):
        def __init__(self) -> None:
            self.chance, self.workload, self.clock = random.Random(1), "pod-2", HostClock()
            self.auditor = type("Auditor", (), {"unsettled": {KEY: RECORD}})()

        def running(self) -> Seen:  # type: ignore[override]
            return Seen()

        def check(self) -> None:
            pass

    world = Stand()
    for _ in range(300):
        person(world)
    forms = {(one.action, one.hour is not None, one.dimension is not None) for one in said}
    several = set(product((Action.RETRY, Action.ROLL_FORWARD), (True, False), (True, False)))
    assert forms == several | {(Action.CONFIRM, True, True), (Action.ACCEPT_AWS, True, True)}
    assert {one.workload for one in said} == {None, "pod-1"}
