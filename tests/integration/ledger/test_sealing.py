"""An hour is sealed once, whole, and its records keep every unit until AWS has them."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.ledger.errors import LedgerError, corrupt
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.sealing import Skipped
from sidecar.metering.events import PushAccepted
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Owed
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from sidecar.settings.dimensions import Aggregation, Dimension, Scope
from tests.fakes.faults import raising
from tests.integration.ledger.support import (
    HOUR,
    NOON,
    Story,
    accepted,
    balanced,
    event,
    make,
    rolled,
    settle,
)


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


def test_an_hour_is_sealed_together_with_every_earlier_one_that_has_usage(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(quantity="0.6"))
    third = HOUR.next.next
    story.push(ledger, event(at=third.start, quantity="0.6"))
    story.now += timedelta(hours=3)
    found = ledger.seal(third, story.now, make(story.now))
    assert [(one.hour, one.quantity) for one in found] == [(third, 1)], "what is carried goes on to the next of them"
    assert (ledger.open_from(), ledger.open_hours()) == (third.next, ())
    assert balanced(ledger)


def test_a_dimension_that_cannot_be_digested_keeps_no_other_from_being_sealed(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event(quantity="2"), event("peak", "9"), event("users", key="x"))

    def fails(dimension: Dimension, hour: Hour, owed: Owed) -> UsageRecord:
        if dimension.name == "peak":
            raise ZeroDivisionError
        return make(story.now)(dimension, hour, owed)

    skipped: list[Skipped] = []
    sealed = ledger.seal(HOUR, story.now, fails, skipped=skipped)
    assert [one.dimension for one in sealed] == ["requests", "users"]
    assert [(one.dimension, one.hour, type(one.error)) for one in skipped] == [("peak", HOUR, ZeroDivisionError)]
    assert ledger.open_hours() == (HOUR,), "its usage stays"
    assert balanced(ledger)
    story.now += timedelta(hours=1)
    assert [(one.dimension, one.quantity) for one in story.seal(ledger)] == [("peak", 9)]
    assert balanced(ledger)


@pytest.mark.parametrize("last", [False, True])
def test_what_is_skipped_is_named_once_though_the_sealing_is_tried_again(story: Story, last: bool) -> None:
    ledger, tries = story.open(), list[str]()
    story.push(ledger, event(), event("peak"), event("users", key="x"))

    def fails(dimension: Dimension, hour: Hour, owed: Owed) -> UsageRecord:
        if dimension.name == "peak":
            raise ZeroDivisionError
        tries.append(dimension.name)
        if tries == ["requests", "users"]:
            raise corrupt("a row cannot be decoded")
        return make(story.now)(dimension, hour, owed)

    skipped: list[Skipped] = []
    sealed = (ledger.seal_last if last else ledger.seal)(HOUR, story.now, fails, skipped=skipped)
    assert tries == ["requests", "users"] * 2
    assert [one.dimension for one in sealed] == ["requests", "users"]
    assert [one.dimension for one in skipped] == ["peak"]
    assert ledger.set_aside is None


def test_a_failure_of_the_disk_is_no_data_to_be_skipped(story: Story) -> None:
    ledger = story.open()
    story.push(ledger, event())

    skipped: list[Skipped] = []
    with pytest.raises(LedgerError, match="ledger_full"):
        ledger.seal(HOUR, story.now, raising(OSError, 28, "No space left on device"), skipped=skipped)
    assert skipped == []
    assert ledger.open_from() == HOUR


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


def test_usage_under_another_aggregation_keeps_what_it_came_to(story: Story) -> None:
    story.push(story.open(), event("peak", "5"), event("peak", "3"))
    story.close()
    story.dimensions = (Dimension(name="peak", aggregation=Aggregation.LAST, scope=Scope.POD),)
    ledger = story.open()
    story.push(ledger, event("peak", "1"))
    (record,) = story.seal(ledger)
    assert record.quantity == 6
    assert balanced(ledger)


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
def test_no_unit_is_lost_or_invented(steps: list[tuple[object, ...]], tmp_path_factory: pytest.TempPathFactory) -> None:
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
