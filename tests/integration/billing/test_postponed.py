"""Usage that counts in a far hour is logged, overdue, and billed in its time."""

from __future__ import annotations

from datetime import timedelta

from sidecar.entitlement.hold import Hold
from sidecar.metering.hours import Hour
from tests.fakes.log import Events
from tests.integration.billing.support import (
    MakeStory,
    clock_time,
    far_ahead,
)


def test_usage_that_counts_in_a_far_hour_is_logged_once_and_overdue_later(
    make_story: MakeStory, events: Events
) -> None:
    story = far_ahead(make_story, on_metering_overdue="shut")
    assert events.of("usage.postponed") == [], "nothing waits yet"
    story.use("5")
    story.at("10:21").at("10:22").at("12:20")
    logged = events.one("usage.postponed")
    assert (logged["open_hour"][:13], logged["now"][:16]) == ("2036-01-02T10", "2026-01-02T10:21")
    assert logged["quantities"] == {"requests": "5"}
    assert "clock" in logged["hint"]
    assert logged["levelname"] == "ERROR"
    assert (story.loop.overdue_since, story.gate.holds) == (None, [])
    story.at("12:21")
    assert story.loop.overdue_since == clock_time("10:21")
    assert story.gate.holds == [Hold.METERING_OVERDUE]
    assert "clock" in events.one("metering.overdue")["hint"]
    assert story.loop.snapshot.waiting is not None
    assert story.loop.snapshot.waiting.open_from == Hour.at(clock_time("10:20") + timedelta(days=3652)), (
        "it never goes back"
    )


def test_once_the_far_hour_has_come_usage_is_billed_and_nothing_is_overdue(make_story: MakeStory) -> None:
    story = far_ahead(make_story, on_metering_overdue="shut")
    story.use("5")
    story.at("10:21").at("12:21")
    story.clock.at += timedelta(days=3652)
    story.loop.run_once()
    assert story.loop.snapshot.postponed is None
    assert (story.loop.overdue_since, story.gate.hold) == (None, None)
    assert story.aws.bill() == {"10": "5"}
    story.balanced()


def test_a_new_workload_bills_now_what_waited_for_a_far_hour(make_story: MakeStory) -> None:
    """What the hint says to do."""
    gone = far_ahead(make_story)
    gone.use("5")
    gone.at("10:21").crash()
    story = make_story(workload="pod-2")
    story.at("10:40").at("11:00:40").at("11:10")
    assert story.loop.snapshot.postponed is None
    assert story.aws.bill() == {"10": "5"}
    story.balanced()


def test_an_hour_sealed_early_by_the_end_is_no_far_hour(make_story: MakeStory, events: Events) -> None:
    story = make_story(on_metering_overdue="shut")
    story.use("1")
    story.end()
    story.begin()
    story.use("2")
    story.at("10:40").at("10:59").at("11:30").at("12:50")
    assert events.of("usage.postponed") == []
    assert (story.loop.overdue_since, story.gate.holds) == (None, [])
