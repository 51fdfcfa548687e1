"""A record keeps its request, its outcomes and its links until AWS has it, and for some weeks after."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from decimal import Decimal

import pytest

from sidecar.ledger.ledger import Ledger
from sidecar.metering.decide import Policy, decide
from sidecar.metering.outcomes import Refused
from sidecar.metering.records import UsageRecord, repaired
from sidecar.metering.sealed_request import Repair
from sidecar.metering.states import Action, IllegalTransition, State
from sidecar.quick_dataclasses import replace
from tests.integration.ledger.support import (
    Story,
    accepted,
    audit_copy,
    balanced,
    event,
    raw_connection,
    rolled,
    settle,
)


def test_a_settled_record_is_settled_for_good(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(quantity="3"))
    (record,) = story.seal(ledger)
    settled = settle(ledger, record, story)
    assert settle_again(ledger, settled, story) == settled
    with pytest.raises(IllegalTransition):
        rolled(ledger, record, story)
    with pytest.raises(IllegalTransition):
        ledger.mark_sending([record, record])
    (one,) = (one for one in ledger.balances() if one.dimension == "requests")
    assert (one.accepted, one.settled, one.waiting) == (3, 3, 0)


def settle_again(ledger: Ledger, record: UsageRecord, story: Story) -> UsageRecord:
    return ledger.save(record, story.now, outcome="settled")


def test_a_crash_while_sending_makes_the_outcome_unknown(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())
    (record,) = story.seal(ledger)
    assert ledger.due(story.now)[0].definite
    ledger.mark_sending([record])
    story.close()
    (again,) = story.open().due(story.now)
    assert not again.definite
    assert again.request == record.request


def test_a_definite_refusal_is_remembered(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())
    (record,) = story.seal(ledger)
    ledger.mark_sending([record])
    ledger.save(replace(record, attempts=1, retry_at=story.now), story.now, outcome="ThrottlingException")
    assert ledger.due(story.now)[0].definite


def test_a_held_record_waits_for_its_time(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())
    (record,) = story.seal(ledger)
    later = story.now + timedelta(microseconds=1)
    ledger.save(replace(record, retry_at=later), story.now, outcome="held")
    assert ledger.due(story.now) == ()
    assert len(ledger.due(later)) == 1


def test_what_expired_is_counted_in_the_next_hour_with_links_both_ways(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event("gigabytes", "1500", tags=(("tenant", "x"),)), event("gigabytes", "500"))
    (record,) = story.seal(ledger)
    assert rolled(ledger, record, story).state is State.ROLLED_FORWARD
    assert ledger.summary().rolled == 2, "by tag set"
    assert balanced(ledger)
    story.now += timedelta(hours=2)
    (later,) = story.seal(ledger)
    assert later.request is not None
    assert later.quantity == 2
    assert [one.quantity for one in later.request.allocations] == [Decimal("0.5"), Decimal("1.5")]
    origin, target = (ledger.find(one.hour, "gigabytes") for one in (record, later))
    assert origin is not None
    assert target is not None
    assert (origin.rolled_to, ledger.earlier_hours(target)) == (later.hour, (record.hour,))
    assert later.hour > record.hour.next, "an hour without usage lay between"
    assert balanced(ledger)


def test_a_repair_is_a_new_request_and_the_old_one_stays(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event("gigabytes", "1500", tags=(("tenant", "x"),)))
    (record,) = story.seal(ledger)
    mended = replace(repaired(record, Repair.WITHOUT_ALLOCATIONS, "pod-1"), retry_at=story.now, attempts=1)
    ledger.save(mended, story.now, outcome="InvalidTagException")
    assert ledger.due(story.now) == (mended,)
    with pytest.raises(IllegalTransition):
        ledger.mark_sending([record])
    line = json.loads(audit_copy(ledger)[0])
    assert [request["number"] for request in line["requests"]] == [1, 2]
    assert [answer["outcome"] for answer in line["answers"]] == ["InvalidTagException"]


def waiting(story: Story, ledger: Ledger, state: State, *, definite: bool = False) -> UsageRecord:
    story.push(ledger, event(quantity="3"))
    (record,) = story.seal(ledger)
    told = replace(record, state=state, retry_at=None, definite=definite, last_error="told")
    return ledger.save(told, story.now, outcome="told")


@pytest.mark.parametrize("state", [State.DISPUTED, State.REJECTED])
@pytest.mark.parametrize(
    ("billed", "written_off", "over_billed"), [("1.5", "1.5", "0"), ("5", "0", "2"), ("3", "0", "0"), ("0", "3", "0")]
)
def test_accepting_what_aws_billed_names_the_difference(
    story: Story, state: State, billed: str, written_off: str, over_billed: str
) -> None:
    ledger = story.open()
    record = waiting(story, ledger, state)
    ledger.apply_action(record.hour, "requests", Action.ACCEPT_AWS, story.now, quantity=Decimal(billed))
    story.close()
    ledger = story.open()
    found = ledger.find(record.hour, "requests")
    assert found is not None
    assert (found.state, found.quantity, found.aws_quantity) == (State.SETTLED, 3, Decimal(billed))
    (one,) = (one for one in ledger.balances() if one.dimension == "requests")
    assert (one.accepted, one.settled, one.waiting, one.balanced) == (3, 3, 0, True)
    assert (one.written_off, one.over_billed) == (Decimal(written_off), Decimal(over_billed))
    lines = [json.loads(line) for line in audit_copy(ledger)]
    assert (lines[0]["quantity"], lines[0]["aws_quantity"]) == ("3", billed)
    assert lines[0]["answers"][-1]["outcome"] == "accept_aws"
    assert lines[0]["answers"][-1]["detail"] == f"by a person: AWS billed {billed}, sealed were 3"
    (total,) = (line for line in lines if line["dimension"] == "requests" and line["record"] == "total")
    assert (total["written_off"], total["over_billed"]) == (written_off, over_billed)


def test_what_aws_refused_every_time_has_no_quantity_to_accept(story: Story) -> None:
    ledger = story.open()
    record = waiting(story, ledger, State.REJECTED, definite=True)
    with pytest.raises(IllegalTransition, match="billed nothing"):
        ledger.apply_action(record.hour, "requests", Action.ACCEPT_AWS, story.now, quantity=Decimal(3))
    assert ledger.find(record.hour, "requests") == record


@pytest.mark.parametrize("act", [Action.ACCEPT_AWS, Action.RETRY, Action.ROLL_FORWARD, Action.CONFIRM])
def test_a_quantity_that_was_accepted_is_final(story: Story, act: Action) -> None:
    ledger = story.open()
    record = waiting(story, ledger, State.DISPUTED)
    ledger.apply_action(record.hour, "requests", Action.ACCEPT_AWS, story.now, quantity=Decimal(2))
    given = {Action.ACCEPT_AWS: {"quantity": Decimal(1)}, Action.CONFIRM: {"record_id": "m-1"}}.get(act, {})
    with pytest.raises(IllegalTransition):
        ledger.apply_action(record.hour, "requests", act, story.now, **given)  # type: ignore[arg-type]
    found = ledger.find(record.hour, "requests")
    assert found is not None
    assert found.aws_quantity == 2


def test_a_quantity_is_of_accepting_alone(story: Story) -> None:
    ledger = story.open()
    record = waiting(story, ledger, State.DISPUTED)
    with pytest.raises(IllegalTransition, match="AWS's quantity"):
        ledger.apply_action(record.hour, "requests", Action.RETRY, story.now, quantity=Decimal(2))
    with pytest.raises(IllegalTransition, match="AWS's quantity"):
        ledger.apply_action(record.hour, "requests", Action.ACCEPT_AWS, story.now)


def test_what_was_written_off_stays_known_when_its_record_is_deleted(story: Story) -> None:
    ledger = story.open()
    record = waiting(story, ledger, State.DISPUTED)
    ledger.apply_action(record.hour, "requests", Action.ACCEPT_AWS, story.now, quantity=Decimal(2))
    ledger.prune(story.now + timedelta(days=40))
    assert ledger.find(record.hour, "requests") is None
    (one,) = (one for one in ledger.balances() if one.dimension == "requests")
    assert (one.settled, one.written_off, one.balanced) == (3, 1, True)


def test_a_changed_byte_in_an_accepted_quantity_is_found(story: Story) -> None:
    ledger = story.open()
    record = waiting(story, ledger, State.DISPUTED)
    ledger.apply_action(record.hour, "requests", Action.ACCEPT_AWS, story.now, quantity=Decimal("2.5"))
    story.close()
    data = story.path.read_bytes()
    at = data.index(b"requests32.5")  # the row's columns, one behind the other: dimension, sealed, billed
    story.path.write_bytes(data[: at + 9] + b"7" + data[at + 10 :])
    assert story.open().set_aside is not None


def test_a_frozen_request_cannot_be_changed_even_by_hand(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())
    story.seal(ledger)
    story.close()
    connection = raw_connection(story.path)
    with pytest.raises(sqlite3.IntegrityError, match="frozen"):
        connection.execute("UPDATE request SET body = ''")
    with pytest.raises(sqlite3.IntegrityError, match="forward"):
        connection.execute("UPDATE meta SET open_from = open_from - 1")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        connection.execute(
            "INSERT INTO usage_record (hour, dimension, state, quantity, client_token, sealed_at, changed_at)"
            " SELECT hour, dimension, state, quantity, client_token, sealed_at, changed_at FROM usage_record"
        )
    connection.close()


@pytest.mark.parametrize("state", [State.DISPUTED, State.REJECTED])
def test_a_person_acts_on_what_is_disputed_or_rejected(story: Story, state: State) -> None:
    ledger = story.open()
    story.push(ledger, event(), event("peak", "5"))
    again, forward = story.seal(ledger)
    for record in (again, forward):
        ledger.save(replace(record, state=state, retry_at=None), story.now, outcome="said no")
    assert ledger.due(story.now) == ()
    ledger.apply_action(again.hour, again.dimension, Action.RETRY, story.now)
    ledger.apply_action(forward.hour, forward.dimension, Action.ROLL_FORWARD, story.now)
    (due,) = ledger.due(story.now)
    assert due.request == again.request
    assert ledger.summary().rolled == 1
    assert balanced(ledger)
    with pytest.raises(IllegalTransition):
        ledger.apply_action(again.hour, again.dimension, Action.RETRY, story.now)


def rejected(ledger: Ledger, story: Story, state: State = State.REJECTED) -> UsageRecord:
    story.push(ledger, event(quantity="3"))
    (record,) = story.seal(ledger)
    told = replace(record, state=state, retry_at=None, last_error="outcome_unknown", attempts=2)
    return ledger.save(told, story.now, outcome="outcome_unknown")


def test_a_person_with_aws_receipt_confirms_a_rejected_record(story: Story) -> None:
    ledger = story.open()
    record = rejected(ledger, story)
    ledger.apply_action(record.hour, "requests", Action.CONFIRM, story.now, record_id="m-1")
    found = ledger.find(record.hour, "requests")
    assert found is not None
    assert (found.state, found.record_id, found.last_error) == (State.SETTLED, "m-1", None)
    (one,) = (one for one in ledger.balances() if one.dimension == "requests")
    assert (one.settled, one.waiting, one.balanced) == (3, 0, True)
    line = json.loads(audit_copy(ledger)[0])
    assert line["metering_record_id"] == "m-1"
    assert [(answer["outcome"], answer["detail"]) for answer in line["answers"]][-1] == ("confirm", "by a person")
    with pytest.raises(IllegalTransition):
        ledger.apply_action(record.hour, "requests", Action.CONFIRM, story.now, record_id="m-2")


@pytest.mark.parametrize("record_id", [None, "", " "])
def test_nothing_is_confirmed_without_a_receipt(story: Story, record_id: str | None) -> None:
    ledger = story.open()
    record = rejected(ledger, story)
    with pytest.raises(IllegalTransition):
        ledger.apply_action(record.hour, "requests", Action.CONFIRM, story.now, record_id=record_id)
    assert ledger.in_state(State.REJECTED) == (record,)


@pytest.mark.parametrize("what", [Action.RETRY, Action.ROLL_FORWARD])
def test_a_receipt_belongs_to_a_confirmation(story: Story, what: Action) -> None:
    ledger = story.open()
    record = rejected(ledger, story)
    with pytest.raises(IllegalTransition):
        ledger.apply_action(record.hour, "requests", what, story.now, record_id="m-1")
    assert ledger.in_state(State.REJECTED) == (record,)


def test_a_record_that_is_still_sent_is_not_confirmed(story: Story) -> None:
    ledger = story.open()
    state = State.SEALED
    record = rejected(ledger, story, state)
    with pytest.raises(IllegalTransition):
        ledger.apply_action(record.hour, "requests", Action.CONFIRM, story.now, record_id="m-1")
    assert ledger.in_state(state) == (record,)
    assert balanced(ledger)


def test_merged_allocations_are_a_new_request_and_a_new_line(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, *[event("gigabytes", "1000", tags=(("tenant", str(one)),)) for one in range(501)])
    (record,) = story.seal(ledger)
    code = "InvalidUsageAllocationsException"
    decision = decide(record, Refused(code=code), story.now, Policy(workload="pod-1"), 0.5)
    ledger.save(decision.record, story.now, outcome=code, detail=Repair.FEWER_ALLOCATIONS.value)
    story.close()
    (due,) = story.open().due(story.now)
    assert due == decision.record
    assert due.request is not None
    assert len(due.request.allocations) == 500
    assert sum(one.quantity for one in due.request.allocations) == record.quantity
    line = json.loads(audit_copy(story.opened[-1])[0])
    assert len({request["client_token"] for request in line["requests"]}) == 2
    assert [answer["detail"] for answer in line["answers"]] == ["fewer_allocations"]


def test_old_settled_records_are_deleted_and_totals_are_not(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(quantity="3"), event("peak", "5"))
    first, waits = story.seal(ledger)
    settle(ledger, first, story)
    ledger.prune(story.now + timedelta(days=40))
    assert [record.dimension for record in ledger.records()] == [waits.dimension]
    assert (accepted(ledger, "requests"), accepted(ledger, "peak")) == (3, 5)
    assert balanced(ledger)


def test_records_since_an_hour_leave_out_those_before_it(story: Story) -> None:
    ledger = story.open()
    sealed = []
    for quantity in ("1", "2", "3"):
        story.push(ledger, event(quantity=quantity), event("peak", quantity))
        sealed += story.seal(ledger)
    story.push(ledger, event(quantity="4"))
    since = sealed[-1].hour
    found = list(ledger.records(since))
    assert [(one.hour, one.dimension) for one in found] == [
        (since, "peak"),
        (since, "requests"),
        (since.next, "requests"),
    ]
    assert len(list(ledger.records())) == 7
