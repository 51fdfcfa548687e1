"""Hours are sealed once, oldest first, whatever the clock does."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sidecar.metering.events import PushAccepted
from sidecar.metering.states import State
from tests.fakes.log import Events
from tests.integration.billing.support import (
    MakeStory,
    PushesBetween,
    clock_time,
)


def test_an_hour_is_billed_once_to_the_unit(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.use("3")
    story.use("4.000000")
    story.at("10:59:59")
    assert story.aws.sent == []
    for moment in ("11:00:30", "11:09:30", "11:10", "12:30"):
        story.at(moment)
    assert story.aws.bill() == {"10": "7"}
    assert len(story.aws.sent) == 1
    logged = events.one("record.settled")
    expected = {"quantity": "7", "workload": "pod-1", "region": "us-east-1", "dimension": "requests"}
    assert {name: logged[name] for name in expected} == expected
    assert logged["metering_record_id"] == "receipt-1"
    assert logged["hour"] == "2026-01-02T10:00:00.000Z"
    assert events.of("hour.sealed")
    story.balanced()


def test_sealing_takes_place_within_a_minute_of_the_hours_end(make_story: MakeStory) -> None:
    story = make_story()
    story.use("1")
    story.at("11:00:00")
    story.at("11:00:30")
    assert story.record("10:00").state is State.SEALED
    assert story.record("10:00").request is not None
    assert story.record("10:00").request.timestamp == int(clock_time("10:59:59").timestamp())  # type: ignore[union-attr]


def test_the_running_hour_is_never_sealed_by_a_pass(make_story: MakeStory) -> None:
    story = make_story()
    story.use("1")
    for minute in range(21, 60):
        story.at(f"10:{minute}")
    assert story.records() == {"10 requests": "open"}


def test_an_empty_hour_makes_no_record(make_story: MakeStory) -> None:
    story = make_story()
    story.at("11:00:30").at("11:10").at("14:10")
    assert story.aws.sent == []


def test_an_empty_hour_is_reported_where_the_dimension_asks(make_story: MakeStory) -> None:
    story = make_story(dimensions='[{"name": "requests", "report_zero": true}]')
    story.at("11:00:30").at("11:10").at("14:10").at("14:20")
    assert story.aws.bill() == {"10": "0", "11": "0", "12": "0", "13": "0"}


def test_usage_for_a_sealed_hour_is_billed_with_the_open_one(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.use("1")
    story.at("11:00:30").at("11:10")
    story.use("2", at="10:40")
    story.use("4")
    story.at("12:00:30").at("12:10")
    assert story.aws.bill() == {"10": "1", "11": "6"}
    logged = events.of("record.settled")[-1]
    assert (logged["hour"], logged["used_in"]) == ("2026-01-02T11:00:00.000Z", ["2026-01-02T10:00:00.000Z"])
    story.balanced()


def test_a_clock_set_back_opens_no_sealed_hour_again(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.use("1")
    story.at("11:00:30").at("11:10")
    story.clock.at = clock_time("10:40")
    story.loop.run_once()
    assert events.of("clock.jumped")
    story.use("2")
    for at in ("10:59", "11:00:40", "11:20", "11:59", "12:00:40", "12:10"):
        story.at(at)
    assert story.aws.bill() == {"10": "1", "11": "2"}
    assert all(request.timestamp % 3600 == 3599 for request in story.aws.sent)
    story.balanced()


def test_after_a_suspended_host_resumes_the_closed_hours_are_sealed(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.use("1")
    story.clock.at = clock_time("13:30")
    story.loop.run_once()
    assert events.one("clock.jumped")["seconds"] == pytest.approx(3 * 3600 + 600)
    story.at("13:31")
    assert story.aws.bill() == {"10": "1"}


def test_no_request_has_a_timestamp_in_the_future(make_story: MakeStory) -> None:
    story = make_story()
    story.use("1", at="10:24")
    story.at("10:22")
    story.end()
    (request,) = story.aws.sent
    assert request.timestamp <= int(clock_time("10:22").timestamp())


@pytest.mark.parametrize("how", ["end", "recheck"])
def test_a_record_sealed_by_a_clock_that_was_ahead_is_not_sent_early(make_story: MakeStory, how: str) -> None:
    story = make_story()
    story.use("1")
    story.at("11:00:30").at("10:40")
    if how == "end":
        story.end()
    else:
        story.loop.send_now()
        story.loop.run_once()
    assert story.aws.sent == []
    story.restart().at("11:10")
    assert story.aws.bill() == {"10": "1"}


def test_quantities_are_exact_decimals_from_push_to_bill(make_story: MakeStory) -> None:
    story = make_story(dimensions='[{"name": "requests", "decimals": 3, "scale": "0.001"}]')
    for _ in range(3):
        story.use("0.1")
    story.use("1000")
    story.at("11:00:30").at("11:10")
    assert story.aws.bill() == {"10": "1"}
    assert story.loop.snapshot.balances[0].waiting == Decimal("0.0003")
    story.balanced()


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("number", range(8))
def test_a_push_into_an_empty_closed_hour_while_hours_are_sealed_is_billed(
    make_story: MakeStory, number: int, end: bool
) -> None:
    """Two hours with usage have closed unsealed; usage of the one between comes before the pass's transaction `number`.

    Every other transaction has a push into the running hour before it.
    """
    story = make_story()
    story.use("1")
    story.clock.at = clock_time("12:20")
    story.use("1")
    story.clock.at = clock_time("13:05")
    with PushesBetween(story, "11:30", number) as pushed:
        story.end() if end else story.loop.run_once()
    accepted = sum(isinstance(one, PushAccepted) for one in pushed.results)
    assert accepted > 3
    if end:
        assert accepted < len(pushed.results), "none is taken after the last seal"
        story.begin()
    for at in ("14:00:30", "14:10", "15:00:30", "15:10"):
        story.at(at)
    assert sum(map(Decimal, story.aws.bill().values())) == 2 + accepted
    story.balanced()
