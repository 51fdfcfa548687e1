"""The end settles what can be settled inside its budget, and logs the rest."""

from __future__ import annotations

import pytest

from sidecar.api.metrics import Metric
from sidecar.billing import status
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.outcomes import Outcome, Refused, Unknown
from sidecar.metering.quantities import parse_micros
from sidecar.metering.sealed_request import SealedRequest
from tests.fakes.log import Events
from tests.integration.billing.support import (
    MakeStory,
    Story,
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


def left_while_it_waits(story: Story) -> list[float]:
    """End the workload; return what the metric said whenever the flush slept."""
    seen: list[float] = []

    def sleep(seconds: float) -> None:
        (found,) = (one for one in metrics(story) if one.name == "usage_left_behind_total")
        seen.append(found.samples[0][1])
        story.clock.advance(seconds)

    story.loop.shutdown._sleep = sleep
    story.end()
    return seen


def metrics(story: Story) -> list[Metric]:
    return status.metrics(story.loop, {}, None, story.clock.now())


def test_a_scrape_during_the_final_flush_sees_what_aws_has_not_taken(make_story: MakeStory, events: Events) -> None:
    story = make_story(flush_seconds="60")
    story.use("1")
    story.clock.advance(3600)
    story.use("2")
    story.aws.always = Unknown(code="ReadTimeoutError")
    seen = left_while_it_waits(story)
    assert seen
    assert set(seen) == {2}, "the closed hour and the running one"
    assert len(events.of("usage.left_behind")) == story.loop.events.left_behind == 2


def test_what_the_final_flush_settles_is_not_counted_as_left(make_story: MakeStory, events: Events) -> None:
    story = make_story(flush_seconds="60")
    story.use("1")
    assert left_while_it_waits(story) == []
    assert (events.of("usage.left_behind"), story.loop.events.left_behind) == ([], 0)


def test_what_a_later_try_settles_is_no_longer_counted(make_story: MakeStory, events: Events) -> None:
    story = make_story(flush_seconds="60")
    story.use("1")
    story.aws.answers = [Refused(code="ThrottlingException")]
    assert left_while_it_waits(story)[0] == 1
    assert (events.of("usage.left_behind"), story.loop.events.left_behind) == ([], 0)


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


def away_until(story: Story, seconds: float, outcome: Outcome | None = None) -> list[float]:
    """AWS is out of reach for so many seconds from now on; return when it is asked."""
    began, asked = story.clock.monotonic(), list[float]()

    def answer(request: SealedRequest) -> Outcome:
        asked.append(story.clock.monotonic() - began)
        back = asked[-1] >= seconds
        return story.aws.record(request) if back else outcome or Refused(code="EndpointConnectionError", sent=False)

    story.aws.answers = [answer] * 1000
    return asked


@pytest.mark.parametrize(("budget", "back"), [(10, 5.9), (60, 31), (60, 52), (120, 59), (120, 112), (3600, 3590)])
def test_when_aws_comes_back_inside_the_budget_all_is_billed(
    make_story: MakeStory, events: Events, budget: int, back: float
) -> None:
    story = make_story(flush_seconds=str(budget))
    story.use("1")
    story.clock.advance(3600)
    story.use("2")
    away_until(story, back)
    story.end()
    assert story.aws.bill() == {"10": "1", "11": "2"}
    assert events.of("usage.left_behind") == []


@pytest.mark.parametrize("budget", [1, 10, 60, 120])
def test_a_last_try_stands_just_before_the_end_of_the_budget(make_story: MakeStory, budget: int) -> None:
    story = make_story(flush_seconds=str(budget))
    story.use("1")
    asked = away_until(story, 10_000)
    began = story.clock.monotonic()
    story.end()
    assert budget * 0.55 < asked[-1] < budget
    assert asked[-1] > budget - 8 or budget < 20
    assert story.clock.monotonic() - began < budget


@pytest.mark.parametrize(
    "code", ["AccessDeniedException", "CustomerNotEntitledException", "DuplicateRequestException", None]
)
def test_the_flush_is_over_once_aws_has_answered(make_story: MakeStory, code: str | None) -> None:
    story = make_story(flush_seconds="120")
    story.use("1")
    story.aws.always = Refused(code=code) if code else None
    began = story.clock.monotonic()
    story.end()
    assert story.clock.monotonic() == began
    assert story.aws.sent


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
def test_expired_credentials_are_tried_again_once_in_the_flush(make_story: MakeStory, code: str) -> None:
    story = make_story(flush_seconds="30")
    story.use("1")
    story.aws.answers = [Refused(code=code)]
    story.end()
    assert story.aws.bill() == {"10": "1"}
    assert len(story.aws.sent) == 2


def test_credentials_that_stay_expired_end_the_flush(make_story: MakeStory) -> None:
    story = make_story(flush_seconds="30")
    story.use("1")
    story.aws.always = Refused(code="ExpiredTokenException")
    began = story.clock.monotonic()
    story.end()
    assert len(story.aws.sent) == 2
    assert story.clock.monotonic() == began


@pytest.mark.parametrize("code", ["NoCredentialsError", "SSLError:certificate", "503", "403", "ANewWord"])
def test_what_no_answer_of_aws_said_is_tried_again_in_the_flush(make_story: MakeStory, code: str) -> None:
    story = make_story(flush_seconds="60")
    story.use("1")
    away_until(story, 40, Refused(code=code))
    story.end()
    assert story.aws.bill() == {"10": "1"}


def test_a_record_that_was_put_aside_does_not_use_up_the_flush(make_story: MakeStory) -> None:
    story = make_story(flush_seconds="60")
    story.use("1")
    assert story.loop._opened is not None

    def broken(_: object) -> None:
        raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")

    story.loop._opened.submitter._start_child = broken  # type: ignore[assignment]
    began = story.clock.monotonic()
    story.end()
    assert story.clock.monotonic() == began
    assert len(story.loop.quarantine) == 1
