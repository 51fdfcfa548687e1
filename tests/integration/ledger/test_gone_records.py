"""A person decides about records that a workload which is gone left on the volume."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.errors import DecisionRefused
from sidecar.ledger import handover
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.gone_records import Resolved
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.volume import Lock
from sidecar.metering.records import UsageRecord
from sidecar.metering.resolution import Resolution
from sidecar.metering.states import Action, IllegalTransition, State
from sidecar.quick_dataclasses import replace
from tests.fakes.faults import killed_in, raising
from tests.integration.ledger.support import DIMENSIONS, OWNER, Story, accepted, audit_copy, balanced, event

GONE = "pod-0"
CONFIRM = Resolution(action=Action.CONFIRM, dimension="requests", record_id="m-1", workload=GONE)
ACCEPT = Resolution(action=Action.ACCEPT_AWS, dimension="requests", quantity=Decimal(2), workload=GONE)
FORWARD = Resolution(action=Action.ROLL_FORWARD, workload=GONE)


@pytest.fixture
def gone(tmp_path: Path) -> Iterator[Story]:
    made = Story(tmp_path, owner=replace(OWNER, workload=GONE))
    yield made
    made.close()


def waits(gone: Story, state: State = State.REJECTED, *, definite: bool = False) -> UsageRecord:
    """Leave one record of 3 requests, and one of 2 gigabytes in two shares, for a person."""
    ledger = gone.open()
    gone.push(
        ledger, event(quantity="3"), event("gigabytes", "1500", tags=(("tenant", "x"),)), event("gigabytes", "500")
    )
    sealed = gone.seal(ledger)
    for record in sealed:
        told = replace(record, state=state, retry_at=None, definite=definite, last_error="told")
        ledger.save(told, gone.now, outcome="told")
    gone.close()
    return sealed[0]


def decide(ledger: Ledger, story: Story, resolution: Resolution) -> Resolved:
    (found,) = ledger.neighbours.resolve(resolution, story.now, lambda path: None)
    return found


def found_there(gone: Story, record: UsageRecord) -> UsageRecord:
    ledger = gone.open()
    found = ledger.find(record.hour, "requests")
    assert found is not None
    assert balanced(ledger)
    return found


@pytest.mark.parametrize("state", [State.REJECTED, State.DISPUTED])
@pytest.mark.parametrize("resolution", [CONFIRM, ACCEPT])
def test_a_record_of_a_gone_workload_is_settled_in_its_own_ledger(
    story: Story, gone: Story, state: State, resolution: Resolution
) -> None:
    record = waits(gone, state)
    ledger = story.open()
    found = decide(ledger, story, resolution)
    assert [(one.dimension, one.state) for one in found.changed] == [("requests", State.SETTLED)]
    assert [one.dimension for one in found.waiting] == ["gigabytes"]
    assert accepted(ledger) == 0, "ours bills nothing of it"
    there = found_there(gone, record)
    assert (there.state, there.record_id, there.aws_quantity) == (
        State.SETTLED,
        resolution.record_id,
        resolution.quantity,
    )


def test_the_audit_trail_there_says_through_whom_a_person_decided(story: Story, gone: Story) -> None:
    record = waits(gone)
    decide(story.open(), story, replace(ACCEPT, hour=record.hour))
    lines = [json.loads(line) for line in audit_copy(gone.open())]
    (line,) = (one for one in lines if one["record"] == "usage" and one["dimension"] == "requests")
    answer = line["answers"][-1]
    assert answer["outcome"] == "accept_aws"
    assert answer["detail"] == "by a person through pod-1: AWS billed 2, sealed were 3"


def test_what_is_rolled_forward_is_billed_in_our_open_hour_with_a_link(story: Story, gone: Story) -> None:
    record = waits(gone)
    story.now = gone.now
    ledger = story.open()
    found = decide(ledger, story, FORWARD)
    assert [one.state for one in found.changed] == [State.ROLLED_FORWARD] * 2
    assert found.waiting == ()
    assert (accepted(ledger), accepted(ledger, "gigabytes")) == (3, 2)
    assert balanced(ledger)
    requests, gigabytes = story.seal(ledger)
    assert (requests.quantity, ledger.earlier_hours(requests)) == (3, (record.hour,))
    assert gigabytes.request is not None
    assert [one.quantity for one in gigabytes.request.allocations] == [Decimal("0.5"), Decimal("1.5")]
    assert found_there(gone, record).state is State.ROLLED_FORWARD
    assert accepted(gone.opened[-1]) == 0


@pytest.mark.parametrize("step", ["take", "mark_taken"])
def test_a_crash_while_rolling_forward_bills_it_once(
    story: Story, gone: Story, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits(gone)
    ledger = story.open()

    with killed_in(monkeypatch, handover, step):
        decide(ledger, story, FORWARD)
    ledger.adopt(story.now)
    ledger.adopt(story.now)
    assert accepted(ledger) == 3
    assert balanced(ledger)


def test_what_ours_cannot_keep_is_taken_by_the_next_adoption(
    story: Story, gone: Story, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits(gone)
    ledger = story.open()

    with monkeypatch.context() as patch:
        patch.setattr(handover, "take", raising(LedgerError, "ledger_full"))
        with pytest.raises(LedgerError):
            decide(ledger, story, FORWARD)
    assert accepted(ledger) == 0
    ledger.adopt(story.now)
    assert accepted(ledger) == 3


def refused(story: Story, ledger: Ledger, resolution: Resolution) -> tuple[int, str]:
    with pytest.raises(DecisionRefused) as found:
        decide(ledger, story, resolution)
    return found.value.status, found.value.reason


def test_a_record_is_never_sent_again_in_another_workloads_name(story: Story, gone: Story) -> None:
    record = waits(gone)
    assert refused(story, story.open(), Resolution(workload=GONE)) == (409, "workload_gone")
    assert found_there(gone, record).state is State.REJECTED


def test_a_ledger_in_use_is_left_alone(story: Story, gone: Story) -> None:
    record = waits(gone)
    lock = Lock(gone.path)
    ledger = story.open()
    assert refused(story, ledger, CONFIRM) == (409, "ledger_locked")
    lock.release()
    assert found_there(gone, record).state is State.REJECTED


@pytest.mark.parametrize("workload", ["pod-9", OWNER.workload, "../pod-0", ""])
def test_a_workload_without_a_ledger_here_is_named(story: Story, gone: Story, workload: str) -> None:
    waits(gone)
    assert refused(story, story.open(), replace(CONFIRM, workload=workload)) == (404, "workload_not_found")
    assert not list(story.directory.glob("*pod*"))


@pytest.mark.parametrize("owner", [replace(OWNER, product_code="other"), replace(OWNER, region="eu-west-1")])
def test_another_product_or_region_is_left_alone(story: Story, gone: Story, owner: object) -> None:
    gone.owner = replace(owner, workload=GONE)  # type: ignore[type-var]
    record = waits(gone)
    assert refused(story, story.open(), CONFIRM) == (409, "ledger_of_another")
    assert found_there(gone, record).state is State.REJECTED


def test_before_our_own_region_is_known_nothing_is_decided(story: Story, gone: Story) -> None:
    record = waits(gone)
    story.owner = replace(OWNER, region="")
    ledger = story.open()
    assert refused(story, ledger, CONFIRM) == (409, "region_unknown")
    assert found_there(gone, record).state is State.REJECTED
    gone.close()
    ledger.set_region(OWNER.region)
    assert decide(ledger, story, CONFIRM).changed[0].state is State.SETTLED


def test_a_dimension_that_is_not_set_here_is_not_rolled_forward(story: Story, gone: Story) -> None:
    record = waits(gone)
    story.dimensions = [one for one in DIMENSIONS if one.name != "gigabytes"]
    ledger = story.open()
    assert refused(story, ledger, FORWARD) == (409, "dimension_unconfigured")
    assert found_there(gone, record).state is State.REJECTED, "all or nothing"
    gone.close()
    decide(ledger, story, replace(FORWARD, dimension="requests"))
    assert accepted(ledger) == 3


def test_a_decision_that_no_rule_allows_changes_nothing_there(story: Story, gone: Story) -> None:
    record = waits(gone, definite=True)
    with pytest.raises(IllegalTransition):
        decide(story.open(), story, replace(ACCEPT, hour=record.hour))
    assert found_there(gone, record).state is State.REJECTED


def test_an_unreadable_ledger_of_a_gone_workload_is_left_as_it_is(story: Story, gone: Story) -> None:
    waits(gone)
    gone.path.write_bytes(b"rubbish" * 1000)
    with pytest.raises(LedgerError, match="ledger_corrupt"):
        decide(story.open(), story, CONFIRM)
    assert gone.path.read_bytes().startswith(b"rubbish")


def test_hours_and_dimensions_narrow_a_decision(story: Story, gone: Story) -> None:
    record = waits(gone)
    ledger = story.open()
    assert decide(ledger, story, replace(CONFIRM, hour=record.hour.next)).changed == ()
    assert len(decide(ledger, story, replace(FORWARD, dimension="requests")).changed) == 1
    assert decide(ledger, story, replace(FORWARD, dimension="requests")).changed == (), "once"
    story.now += timedelta(hours=1)
    assert accepted(ledger) == 3
