"""A pod that begins to end settles closed hours at once, and the running one before its time is over."""

from __future__ import annotations

import threading
from pathlib import Path

from sidecar.billing.loop import LOOP
from sidecar.metering.events import PushAccepted, PushRefused
from sidecar.metering.outcomes import Outcome
from sidecar.metering.sealed_request import SealedRequest
from tests.fakes.log import Events
from tests.integration.billing.support import MakeStory, Scene, Story


def joined() -> None:
    """Wait until every billing loop's thread has ended."""
    for thread in threading.enumerate():
        if thread.name == LOOP:
            thread.join(20)


def with_a_closed_hour(make_story: MakeStory, **given: str) -> Story:
    """3 in an hour that closed five seconds ago, 2 in the running one."""
    story = make_story(**given)
    story.use("3")
    story.at("11:00:05")
    story.use("2")
    return story


def test_closed_hours_are_settled_at_once_and_pushes_go_on(make_story: MakeStory) -> None:
    story = with_a_closed_hour(make_story)
    assert story.aws.bill() == {}, "neither sealed nor sent yet: pods spread their load"
    story.loop.prepare_stop()
    story.loop.run_once()
    assert story.aws.bill() == {"10": "3"}
    assert isinstance(story.use("1"), PushAccepted)
    story.end()
    assert story.aws.bill() == {"10": "3", "11": "3"}


def test_the_running_hour_is_sent_before_the_grace_is_over_without_sigterm(
    make_story: MakeStory, events: Events
) -> None:
    story = with_a_closed_hour(make_story, grace_seconds="2", flush_seconds="1")
    story.loop.start()
    story.loop.prepare_stop()
    assert events.wait_for("metering.stopped", 20)
    joined()
    assert story.loop.stopped()
    assert story.aws.bill() == {"10": "3", "11": "2"}
    refused = story.use("1")
    assert isinstance(refused, PushRefused)
    assert (refused.status, refused.reason) == (503, "shutting_down")
    assert events.of("usage.left_behind") == []
    assert story.loop.stopped_loop is None
    story.loop.stop()  # SIGTERM, when the product has ended at last


def test_after_that_the_pod_is_not_ready_for_usage(tmp_path: Path, events: Events) -> None:
    """The product still runs, and the process with it: `/readyz` says what its pushes are told."""
    scene = Scene(tmp_path, grace_seconds="2", flush_seconds="2")
    loop = scene.service.loop
    assert scene.service.fault is None
    loop.start()
    loop.prepare_stop()
    assert events.wait_for("metering.stopped", 20)
    joined()
    assert scene.service.fault is not None
    assert scene.service.fault[0] == "shutting_down"


def test_what_waits_is_logged_whole_before_aws_is_asked(make_story: MakeStory, events: Events) -> None:
    """A process that gets two seconds is killed while it waits for AWS."""
    story = with_a_closed_hour(make_story)
    seen: list[object] = []

    def answer(request: SealedRequest) -> Outcome:
        seen.extend(one["left"] for one in events.of("usage.outstanding"))
        return story.aws.record(request)

    story.aws.answers = [answer]
    story.end()
    assert [(one["dimension"], one["quantity"]) for one in seen] == [("requests", "3"), ("requests", "2")]  # type: ignore[index]
    assert events.of("usage.left_behind") == []
