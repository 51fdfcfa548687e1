"""An hour is sealed once, whole, and its records keep every unit until AWS has them."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.ledger.ledger import Ledger
from sidecar.metering.decide import Policy, decide
from sidecar.metering.events import PushAccepted
from sidecar.metering.hours import Hour
from sidecar.metering.outcomes import Refused
from sidecar.metering.records import UsageRecord, repaired
from sidecar.metering.sealed_request import Repair
from sidecar.metering.states import Action, IllegalTransition, State
from sidecar.settings.dimensions import Aggregation, Dimension, Scope
from tests.integration.ledger.support import HOUR, NOON, Story, accepted, audit_copy, balanced, event, looked_at, make


def settle(ledger: Ledger, record: UsageRecord, story: Story) -> UsageRecord:
    ledger.mark_sending([record])
    settled = replace(record, state=State.SETTLED, record_id=f"id-{record.hour.number}", attempts=1)
    return ledger.save(settled, story.now, outcome="settled")


def rolled(ledger: Ledger, record: UsageRecord, story: Story) -> UsageRecord:
    return ledger.save(replace(record, state=State.EXPIRED), story.now, outcome="too_late", roll_forward=True)


def test_sealing_writes_the_frozen_request_and_moves_the_first_open_hour(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(quantity="7"))
    (record,) = story.seal(ledger)
    assert ledger.due(story.now) == (record,)
    assert ledger.open_from() == HOUR.next
    assert ledger.open_hours() == ()
    story.close()
    assert story.open().due(story.now) == (record,), "byte for byte the same after a restart"


def test_an_hour_is_sealed_once(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())
    assert len(story.seal(ledger)) == 1
    assert ledger.seal(HOUR, story.now, make(story.now)) == ()
    assert story.push(ledger, event(at=NOON)) == PushAccepted(accepted=1, duplicates=0), "late: in the open hour"
    assert ledger.open_hours() == (HOUR.next,)


def test_hours_are_sealed_in_order(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())
    with pytest.raises(ValueError, match="sealed first"):
        ledger.seal(HOUR.next, story.now, make(story.now))
    assert ledger.open_from() == HOUR
    assert balanced(ledger)


def test_a_seal_that_fails_leaves_the_hour_open(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(), event("peak"))

    def fails(dimension: Dimension, hour: Hour, owed: object) -> UsageRecord:
        if dimension.name == "peak":
            raise ZeroDivisionError
        return make(story.now)(dimension, hour, owed)  # type: ignore[arg-type]

    with pytest.raises(ZeroDivisionError):
        ledger.seal(HOUR, story.now, fails)
    assert ledger.open_from() == HOUR
    assert ledger.due(story.now) == ()
    assert len(story.seal(ledger)) == 2


def test_a_record_that_is_not_what_is_owed_is_refused(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(quantity="2"))
    good = make(story.now)
    with pytest.raises(ValueError, match="what is owed"):
        ledger.seal(
            HOUR, story.now, lambda *given: replace(good(*given), request=replace(good(*given).request, quantity="3"))
        )
    assert ledger.open_from() == HOUR


def test_what_is_below_the_precision_is_carried(story: Story) -> None:
    ledger = story.open()
    quantities = []
    for _ in range(4):
        story.push(ledger, event(quantity="0.4"))
        quantities += [record.quantity for record in story.seal(ledger)]
        assert balanced(ledger)
    assert quantities == [1], "0.4, 0.8, 1.2: one, 0.2 and 0.4 stay"
    assert accepted(ledger) == Decimal("1.6")


def test_what_the_next_sealing_comes_to_is_known_cut_to_the_precision(story: Story) -> None:
    ledger = story.open()

    def unsealed() -> Decimal:
        return next(one.unsealed for one in ledger.balances() if one.dimension == "requests")

    story.push(ledger, event(quantity="2.75"))
    assert unsealed() == 2
    (record,) = story.seal(ledger)
    assert unsealed() == 0, "what is carried comes to no record by itself"
    story.push(ledger, event(quantity="0.5"))
    assert unsealed() == 1, "with what is carried"
    rolled(ledger, record, story)
    assert unsealed() == 3, "with what is rolled forward"
    assert story.seal(ledger)[0].quantity == 3
    assert balanced(ledger)


def test_nothing_is_reported_only_where_it_is_asked_for(story: Story) -> None:
    story.dimensions = (Dimension(name="requests"), Dimension(name="heartbeats", report_zero=True))
    assert [(record.dimension, record.quantity) for record in story.seal(story.open())] == [("heartbeats", 0)]


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


def test_an_answer_that_was_definite_is_remembered_as_such(story: Story) -> None:
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


def test_a_frozen_request_cannot_be_changed_even_by_hand(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())
    story.seal(ledger)
    story.close()
    connection = looked_at(story.path)
    with pytest.raises(sqlite3.IntegrityError, match="frozen"):
        connection.execute("UPDATE request SET body = ''")
    with pytest.raises(sqlite3.IntegrityError, match="forward"):
        connection.execute("UPDATE meta SET open_from = open_from - 1")
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        connection.execute("INSERT INTO usage_record SELECT * FROM usage_record")
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


@pytest.mark.parametrize("state", [State.SEALED, State.DISPUTED])
def test_only_a_rejected_record_is_confirmed(story: Story, state: State) -> None:
    ledger = story.open()
    record = rejected(ledger, story, state)
    with pytest.raises(IllegalTransition):
        ledger.apply_action(record.hour, "requests", Action.CONFIRM, story.now, record_id="m-1")
    assert ledger.in_state(state) == (record,)
    assert balanced(ledger)


def test_a_merged_split_is_a_request_and_a_line_of_its_own(story: Story) -> None:
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


def test_old_settled_records_are_forgotten_and_totals_are_not(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(quantity="3"), event("peak", "5"))
    first, waits = story.seal(ledger)
    settle(ledger, first, story)
    ledger.prune(story.now + timedelta(days=40))
    assert [record.dimension for record in ledger.records()] == [waits.dimension]
    assert (accepted(ledger, "requests"), accepted(ledger, "peak")) == (3, 5)
    assert balanced(ledger)


def test_usage_of_a_dimension_that_went_and_came_back_is_rolled_forward(story: Story) -> None:
    story.push(story.open(), event("peak", "5"), event("requests", "2"))
    story.close()
    everything, story.dimensions = story.dimensions, (Dimension(name="requests"),)
    ledger = story.open()
    assert [record.dimension for record in story.seal(ledger)] == ["requests"]
    assert balanced(ledger)
    assert accepted(ledger, "peak") == 5
    story.close()
    story.dimensions = everything
    ledger = story.open()
    (record,) = story.seal(ledger)
    assert (record.dimension, record.quantity) == ("peak", 5)
    assert balanced(ledger)


def test_usage_counted_otherwise_since_keeps_what_it_came_to(story: Story) -> None:
    story.push(story.open(), event("peak", "5"), event("peak", "3"))
    story.close()
    story.dimensions = (Dimension(name="peak", aggregation=Aggregation.LAST, scope=Scope.POD),)
    ledger = story.open()
    story.push(ledger, event("peak", "1"))
    (record,) = story.seal(ledger)
    assert record.quantity == 6
    assert balanced(ledger)


def test_a_long_ledger_is_read_page_by_page(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.ledger.records.PAGE", 3)
    ledger = story.open()
    for _ in range(4):
        story.push(ledger, event(), event("peak"))
        story.seal(ledger)
    story.push(ledger, event())
    found = list(ledger.records())
    assert [(one.hour, one.dimension) for one in found] == sorted((one.hour, one.dimension) for one in found)
    assert [one.state for one in found] == [State.SEALED] * 8 + [State.OPEN]
    assert len(audit_copy(ledger)) == 8 + len(story.dimensions)


STEPS = st.lists(
    st.one_of(
        st.tuples(
            st.just("push"),
            st.sampled_from(["requests", "gigabytes", "peak", "level"]),
            st.decimals("0", "5000", places=6),
            st.integers(-4, 0),
        ),
        st.tuples(st.sampled_from(["seal", "settle", "expire", "reject", "restart"])),
    ),
    max_size=25,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_nothing_is_ever_lost_or_made(
    steps: list[tuple[object, ...]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    story = Story(tmp_path_factory.mktemp("ledger"))
    ledger, pushed = story.open(), Decimal(0)
    for step in steps:
        if step[0] == "push":
            _, dimension, quantity, hours = step
            at = story.now + timedelta(hours=int(str(hours)))
            answer = story.push(ledger, event(str(dimension), str(quantity), at=at))
            pushed += Decimal(str(quantity)) if isinstance(answer, PushAccepted) and dimension == "requests" else 0
        elif step[0] == "seal":
            story.seal(ledger)
        elif step[0] == "restart":
            story.close()
            ledger = story.open()
        else:
            for record in ledger.due(story.now)[:1]:
                one_step(str(step[0]), ledger, record, story)
        assert balanced(ledger)
    assert accepted(ledger) == pushed
    story.close()


def one_step(what: str, ledger: Ledger, record: UsageRecord, story: Story) -> None:
    if what == "settle":
        settle(ledger, record, story)
    elif what == "expire":
        rolled(ledger, record, story)
    else:
        ledger.save(replace(record, state=State.REJECTED, retry_at=None), story.now, outcome="no")


@pytest.mark.parametrize("after", ["x", "1", "1:", ":requests", "-1:requests", "9" * 30 + ":requests"])
def test_an_export_goes_on_only_from_where_a_page_ended(story: Story, after: str) -> None:
    with pytest.raises(ValueError, match="no page"):
        story.open().export_page(after)


def test_of_very_many_tag_sets_the_smallest_are_billed_untagged(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one hour is read into has an end, whatever a product tags with."""
    monkeypatch.setattr("sidecar.ledger.amounts.TAG_SETS_MAX", 3)
    ledger = story.open()
    tagged = [event("gigabytes", f"{number}000", tags=(("tenant", f"t{number}"),)) for number in range(1, 7)]
    story.push(ledger, *tagged, event("gigabytes", "500"))
    assert balanced(ledger)
    (record,) = story.seal(ledger)
    assert record.quantity == Decimal("21.5")
    assert record.request is not None
    assert {one.tags: one.quantity for one in record.request.allocations} == {
        (): Decimal("6.5"),
        (("tenant", "t4"),): 4,
        (("tenant", "t5"),): 5,
        (("tenant", "t6"),): 6,
    }
    assert [one.merged for one in ledger.balances() if one.dimension == "gigabytes"] == [3]
    assert balanced(ledger)
