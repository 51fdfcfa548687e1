"""The end settles what can be settled inside its budget, and logs the rest."""

from __future__ import annotations

import pytest

from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.outcomes import Refused
from sidecar.metering.quantities import parse_micros
from tests.fakes.log import Events
from tests.integration.billing.support import (
    MakeStory,
    clock_time,
)


def test_the_end_settles_the_closed_hour_and_the_running_one(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.use("1")
    story.clock.advance(3600)
    story.use("2")
    story.end()
    assert story.aws.bill() == {"10": "1", "11": "2"}
    assert story.aws.sent[-1].timestamp == int(clock_time("11:20").timestamp())
    assert events.of("usage.left_behind") == []
    refused = story.usage
    answers: list[PushAccepted | PushRefused] = []
    refused.push([UsageEvent(dimension="requests", micros=parse_micros("1"))], story.clock.now(), answers.append)
    assert isinstance(answers[0], PushRefused)
    assert answers[0].status == 503


def test_a_restart_after_the_end_rolls_the_rest_of_the_hour_into_the_next(make_story: MakeStory) -> None:
    story = make_story()
    story.use("1")
    story.end()
    story.begin()
    story.at("10:40")
    story.use("2")
    story.at("11:00:40").at("11:10").at("12:00:40").at("12:10")
    assert story.aws.bill() == {"10": "1", "11": "2"}
    story.balanced()


def test_where_the_task_keeps_running_the_running_hour_stays_open(make_story: MakeStory) -> None:
    story = make_story()
    story.keeps_running = True
    story.use("1")
    story.end()
    assert story.aws.sent == []
    story.begin()
    story.use("2")
    story.at("11:00:40").at("11:10")
    assert story.aws.bill() == {"10": "3"}


def test_what_cannot_be_settled_at_the_end_is_logged_whole(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.aws.always = Refused(code="EndpointConnectionError")
    story.use("5")
    story.end()
    left = events.one("usage.left_behind")["left"]
    assert left["quantity"] == "5"
    assert left["dimension"] == "requests"
    assert "client_token" in str(left)


def test_what_is_too_late_at_the_end_is_billed_with_the_running_hour(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.use("3")
    story.aws.always = Refused(code="EndpointConnectionError", sent=False)
    for at in ("11:00:30", "11:20", "15:00:30", "15:44:50"):
        story.at(at)
    story.aws.always = None
    story.clock.advance(20)  # no pass since it became too late
    story.use("1")
    story.end()
    assert story.aws.bill() == {"15": "4"}
    assert not events.of("usage.left_behind")


def test_the_final_flush_retries_inside_its_budget(make_story: MakeStory) -> None:
    story = make_story(flush_seconds="10")
    story.aws.answers = [Refused(code="ThrottlingException"), Refused(code="InternalServiceErrorException")]
    story.use("5")
    began = story.clock.monotonic()
    story.end()
    assert story.aws.bill() == {"10": "5"}
    assert story.clock.monotonic() - began < 10


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_the_final_flush_ends_in_time_where_aws_takes_nothing(make_story: MakeStory, events: Events, code: str) -> None:
    story = make_story(flush_seconds="10")
    story.aws.always = Refused(code=code)
    story.use("5")
    began = story.clock.monotonic()
    story.end()
    assert story.clock.monotonic() - began < 10
    assert events.of("usage.left_behind")


def test_where_the_gate_never_opened_the_final_flush_sends_nothing(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.gate.has_opened = False
    story.use("5")
    story.end()
    assert story.aws.sent == []
    assert events.one("usage.left_behind")["left"]["quantity"] == "5"
