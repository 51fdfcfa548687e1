"""Usage that cannot be reported for too long is overdue, whether AWS or the disk is the cause."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sidecar.entitlement.hold import Hold
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.neighbours import Neighbours
from sidecar.metering.outcomes import Outcome, Refused
from sidecar.metering.sealed_request import SealedRequest
from tests.fakes.faults import raising
from tests.fakes.log import Events
from tests.integration.billing.support import (
    FakeGate,
    FullDisk,
    MakeStory,
    clock_time,
)


@pytest.mark.parametrize(("policy", "holds"), [("shut", [Hold.METERING_OVERDUE]), ("alert", []), ("not_ready", [])])
def test_usage_that_cannot_be_reported_for_two_hours_is_overdue(
    make_story: MakeStory, events: Events, policy: str, holds: list[Hold]
) -> None:
    story = make_story(on_metering_overdue=policy)
    story.use("1")
    story.aws.always = Refused(code="EndpointConnectionError")
    story.at("11:00:30").at("11:10").at("12:59")
    assert story.loop.overdue_since is None
    story.at("13:01")
    assert story.loop.overdue_since == clock_time("11:00")
    assert story.gate.holds == holds
    story.aws.always = None
    story.at("13:20")
    assert story.loop.overdue_since is None
    assert story.gate.holds == holds + ([None] if holds else [])
    assert events.of("metering.recovered")


def test_an_outage_is_as_old_after_a_restart_as_before(make_story: MakeStory) -> None:
    story = make_story(on_metering_overdue="shut")
    story.use("1")
    story.aws.always = Refused(code="EndpointConnectionError")
    story.at("11:00:30").at("11:10").at("13:20")
    story.gate = FakeGate()
    story.restart()
    story.at("13:21")
    assert story.loop.overdue_since is not None
    assert story.gate.holds == [Hold.METERING_OVERDUE]
    story.aws.always = None
    story.at("13:50")
    assert story.gate.holds == [Hold.METERING_OVERDUE, None]


def test_one_refused_dimension_beside_one_that_settles_is_not_overdue(make_story: MakeStory) -> None:
    story = make_story(dimensions="requests,gb")

    def only_gb(request: SealedRequest) -> Outcome:
        return story.aws.record(request) if request.dimension == "gb" else Refused(code="ThrottlingException")

    for start in (10, 11, 12, 13):
        story.use("1", dimension="gb")
        story.use("1")
        story.aws.answers = [only_gb] * 50
        story.at(f"{start + 1}:00:30").at(f"{start + 1}:10")
    assert story.loop.overdue_since is None


@pytest.mark.parametrize(("policy", "holds"), [("shut", [Hold.METERING_OVERDUE]), ("alert", []), ("not_ready", [])])
def test_a_disk_that_is_full_for_two_hours_makes_metering_overdue(
    make_story: MakeStory, events: Events, policy: str, holds: list[Hold]
) -> None:
    story = make_story(on_metering_overdue=policy)
    with FullDisk(story):
        story.at("10:30").at("12:29")
        assert story.loop.overdue_since is None
        story.at("12:30").at("12:31")
    assert story.loop.overdue_since == clock_time("10:30")
    assert story.gate.holds == holds
    assert "ledger" in events.one("metering.overdue")["hint"]
    story.at("12:40")
    assert story.loop.overdue_since is None
    assert story.gate.holds == holds + ([None] if holds else [])
    assert events.of("metering.recovered")


def test_behind_a_full_disk_usage_is_overdue_from_the_end_of_its_hour(make_story: MakeStory) -> None:
    story = make_story(on_metering_overdue="shut")
    story.use("1")
    story.aws.always = Refused(code="EndpointConnectionError")
    story.at("11:00:30").at("11:30")
    with FullDisk(story):
        story.at("11:40").at("13:00")
    assert story.loop.overdue_since == clock_time("11:00")
    story.at("13:10")
    assert story.gate.holds == [Hold.METERING_OVERDUE], "the disk works, AWS takes nothing"
    story.aws.always = None
    story.at("13:40")
    assert story.gate.holds == [Hold.METERING_OVERDUE, None]


def test_a_gate_shut_for_a_full_disk_opens_once_the_disk_works(
    make_story: MakeStory,
) -> None:
    """An amount that waits for the next hour does not keep it shut."""
    gone = make_story()
    gone.use("1")
    gone.crash()
    story = make_story(workload="pod-2", on_metering_overdue="shut")
    with FullDisk(story):
        story.at("10:50").at("12:50")
    story.clock.at = clock_time("10:55")  # back in the hour that takes it
    story.loop.run_once()
    assert story.loop.snapshot.waiting is not None
    assert story.loop.snapshot.waiting.rolled == 1
    assert story.loop.overdue_since is None
    assert story.gate.holds == [Hold.METERING_OVERDUE, None]


def test_a_disk_that_fails_now_and_then_is_not_overdue(make_story: MakeStory, events: Events) -> None:
    story = make_story(on_metering_overdue="shut")
    for start in (10, 11, 12, 13):
        with FullDisk(story):
            story.at(f"{start}:21").at(f"{start}:59")
        story.at(f"{start + 1}:10")
    assert (story.loop.overdue_since, story.gate.holds) == (None, [])
    assert events.of("metering.overdue") == []


def test_a_full_disk_does_nothing_to_a_gate_before_it_opens(make_story: MakeStory, events: Events) -> None:
    story = make_story(on_metering_overdue="shut")
    story.gate.has_opened = False
    with FullDisk(story):
        story.at("10:21").at("18:00")
        assert (story.loop.overdue_since, story.gate.holds) == (None, [])
        assert events.of("metering.overdue") == []
        story.gate.has_opened = True
        story.at("18:01")
    assert story.gate.holds == [Hold.METERING_OVERDUE], "as with AWS, it counts from before"


def test_a_ledger_that_opens_and_fails_at_once_does_not_reset_the_count(
    make_story: MakeStory, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_story().crash()

    monkeypatch.setattr(Neighbours, "adopt_recent", raising(LedgerError, "ledger_full"))
    story = make_story(on_metering_overdue="shut")
    story.at("11:21")
    assert story.loop.ledger is None
    story.at("12:20")
    assert story.loop.overdue_since == clock_time("10:20")


def test_a_fault_that_ended_before_the_gate_opened_does_not_count(make_story: MakeStory) -> None:
    story = make_story(on_metering_overdue="shut")
    story.gate.has_opened = False
    with FullDisk(story):
        story.at("10:21")
    story.at("18:00")
    story.gate.has_opened = True
    with FullDisk(story):
        story.at("18:01")
    assert (story.loop.overdue_since, story.gate.holds) == (None, [])


def test_a_ledger_that_stays_shut_is_overdue_one_that_opens_late_is_not(make_story: MakeStory, events: Events) -> None:
    first = make_story()
    second = make_story(on_metering_overdue="shut")
    second.at("12:19")
    first.crash()
    second.at("12:19:30").at("18:00")
    assert (second.loop.overdue_since, second.gate.holds) == (None, [])
    third = make_story(on_metering_overdue="shut")
    third.at("12:20")
    assert third.loop.overdue_since == clock_time("10:20")
    assert third.gate.holds == [Hold.METERING_OVERDUE]
    assert len(events.of("metering.overdue")) == 1


def test_a_clock_set_right_after_decades_makes_a_full_disk_not_overdue(
    make_story: MakeStory,
) -> None:
    story = make_story(on_metering_overdue="shut")
    with FullDisk(story):
        story.at("10:21")
        story.clock.at += timedelta(days=20_000)
        story.loop.run_once()
    assert (story.loop.overdue_since, story.gate.holds) == (None, [])
