"""Every answer of AWS has its consequence for the record, on a real ledger."""

from __future__ import annotations

import pytest

from sidecar.metering.outcomes import Refused
from sidecar.metering.resolution import Resolution
from sidecar.metering.states import State
from tests.fakes.log import Events
from tests.integration.billing.support import (
    MakeStory,
    hour,
)


def test_a_record_is_sent_within_ten_minutes(make_story: MakeStory) -> None:
    story = make_story()
    story.use("1")
    story.at("11:00:30").at("11:10:00")
    assert story.aws.bill() == {"10": "1"}


def test_nothing_is_sent_before_the_gate_has_opened(make_story: MakeStory) -> None:
    story = make_story()
    story.gate.has_opened = False
    story.use("1")
    story.at("11:00:30").at("11:30")
    assert story.aws.sent == []
    assert story.record("10:00").state is State.SEALED
    story.gate.has_opened = True
    story.at("11:31")
    assert story.aws.bill() == {"10": "1"}


def test_records_an_earlier_process_sent_are_sent_though_the_gate_is_shut(make_story: MakeStory) -> None:
    story = make_story()
    story.aws.answers = [Refused(code="ThrottlingException")]
    story.use("1")
    story.at("11:00:30").at("11:10")
    story.gate.has_opened = False
    story.restart().at("11:20")
    assert story.aws.bill() == {"10": "1"}


def test_a_lost_answer_does_not_bill_the_hour_twice(make_story: MakeStory) -> None:
    story = make_story()
    story.use("7")
    story.aws.answers = [story.aws.lose_the_answer]
    story.at("11:00:30").at("11:10")
    assert story.record("10:00").state is State.SEALED
    story.restart().at("11:20")
    first, second = story.aws.sent
    assert first == second
    assert story.aws.bill() == {"10": "7"}
    assert story.record("10:00").state is State.SETTLED
    story.balanced()


def test_an_outage_of_hours_bills_every_hour_once_it_ends(make_story: MakeStory) -> None:
    story = make_story()
    story.aws.always = Refused(code="EndpointConnectionError")
    for at in ("10:30", "11:30", "12:30"):
        story.at(at)
        story.use("1")
    story.at("13:10").at("13:20")
    assert story.aws.bill() == {}
    story.aws.always = None
    story.at("13:40").at("13:50")
    assert story.aws.bill() == {"10": "1", "11": "1", "12": "1"}
    hours = [request.timestamp for request in story.aws.sent[-3:]]
    assert hours == sorted(hours), "oldest first"
    story.balanced()


def test_a_late_record_that_was_never_billed_goes_into_the_open_hour(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.aws.always = Refused(code="EndpointConnectionError")
    story.use("5")
    for at in ("11:10", "13:10", "15:40", "15:46"):
        story.at(at)
    assert story.record("10:00").state is State.ROLLED_FORWARD
    story.aws.always = None
    story.at("16:01").at("16:10")
    assert story.aws.bill() == {"15": "5"}
    assert events.of("record.expired")
    assert events.of("usage.rolled_forward")
    story.balanced()


def test_a_late_record_that_may_have_been_billed_waits_for_a_person(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.use("5")
    story.aws.answers = [story.aws.lose_the_answer]
    story.at("11:00:30")
    story.at("11:10")
    story.aws.always = Refused(code="EndpointConnectionError")
    for at in ("12:10", "15:40", "15:46"):
        story.at(at)
    record = story.record("10:00")
    assert (record.state, record.last_error) == (State.REJECTED, "outcome_unknown")
    story.aws.always = None
    story.at("16:10").at("17:10")
    assert story.aws.bill() == {"10": "5"}, "not billed a second time"
    assert events.of("record.rejected")
    story.balanced()


@pytest.mark.parametrize(("policy", "bill"), [("hold", {"10": "9"}), ("roll_forward", {"10": "9", "11": "5"})])
def test_a_disputed_quantity_is_billed_again_only_where_that_is_set(
    make_story: MakeStory, events: Events, policy: str, bill: dict[str, str]
) -> None:
    story = make_story(on_dispute=policy)
    story.aws.billed["requests", hour("10:00").number] = ("9", "receipt-of-another")
    story.use("5")
    for at in ("11:00:30", "11:10", "12:00:30", "12:10"):
        story.at(at)
    assert story.aws.bill() == bill
    assert events.of("record.disputed")
    story.balanced()


def test_a_disputed_record_sent_again_too_late_is_not_billed_later(
    make_story: MakeStory,
) -> None:
    """To send it again is not to bill it again: AWS holds a quantity for that hour."""
    story = make_story()
    story.aws.billed["requests", hour("10:00").number] = ("9", "receipt-of-another")
    story.use("5")
    story.at("11:00:30").at("11:10").at("16:30")
    story.usage.resolve(Resolution())
    story.at("16:31").at("17:00:30").at("17:10")
    assert story.aws.bill() == {"10": "9"}
    assert (story.record("10:00").state, story.record("10:00").last_error) == (State.REJECTED, "outcome_unknown")
    story.balanced()


def test_a_rejected_record_is_sent_again_only_when_a_person_says_so(make_story: MakeStory) -> None:
    story = make_story()
    story.aws.answers = [Refused(code="InvalidUsageDimensionException")]
    story.use("5")
    story.at("11:00:30").at("11:10")
    assert story.record("10:00").state is State.REJECTED
    story.at("11:40")
    assert len(story.aws.sent) == 1, "what waits for a person is not sent by itself"
    (record,) = story.usage.resolve(Resolution())
    assert record.state is State.SEALED
    story.at("11:41")
    assert story.aws.bill() == {"10": "5"}


def test_refused_tags_are_left_out_at_once_and_the_quantity_stays(make_story: MakeStory) -> None:
    story = make_story(dimensions='[{"name": "requests", "tags": ["team"]}]')
    story.use("5", tags=(("team", "red"),))  # type: ignore[arg-type]
    story.aws.answers = [Refused(code="InvalidTagException")]
    story.at("11:00:30").at("11:10")
    first, second = story.aws.sent
    assert first.allocations
    assert not second.allocations
    assert first.client_token != second.client_token
    assert (first.quantity, first.timestamp) == (second.quantity, second.timestamp)
    assert story.aws.bill() == {"10": "5"}


def test_expired_credentials_are_renewed_once_and_then_waited_for(make_story: MakeStory) -> None:
    story = make_story()
    story.use("5")
    story.aws.always = Refused(code="ExpiredTokenException")
    story.at("11:00:30").at("11:10")
    assert len(story.aws.sent) == 2, "at once with fresh credentials, then not in the same pass"
    story.aws.always = None
    story.at("11:30")
    assert story.aws.bill() == {"10": "5"}


def test_a_child_that_cannot_be_started_is_started_later(make_story: MakeStory) -> None:
    story = make_story()
    story.use("5")
    story.aws.starts = False
    story.at("11:00:30").at("11:10")
    record = story.record("10:00")
    assert (record.state, record.definite) == (State.SEALED, True)
    story.aws.starts = True
    story.at("11:30")
    assert story.aws.bill() == {"10": "5"}
