"""A loop that hangs or is gone is noticed where probes are answered, off its own thread."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sidecar.api.router import Router
from sidecar.billing.monitor import CONFIRM_SECONDS, STALLED_SECONDS, STUCK_SECONDS, LoopMonitor
from sidecar.entitlement.hold import Hold
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushRefused, UsageEvent
from sidecar.metering.outcomes import Outcome
from sidecar.metering.quantities import parse_micros
from sidecar.metering.sealed_request import SealedRequest
from tests.fakes.clock import FakeClock
from tests.fakes.log import Events
from tests.integration.billing.support import MakeScene, MakeStory, Scene, Story, clock_time

HOURS_3 = 3 * 3600.0


def look(scene: Scene, seconds: float) -> tuple[str | None, bool]:
    """Time passes, and probes ask every ten minutes: the fault, and whether usage is overdue."""
    for _ in range(max(1, round(seconds / 600))):
        scene.clock.advance(min(seconds, 600))
        fault, overdue = scene.service.fault, scene.service.loop.overdue_since
    return (fault or (None,))[0], overdue is not None


def hang(scene: Scene, monkeypatch: pytest.MonkeyPatch, during: Callable[[], None]) -> None:
    """In the next pass the disk hangs; `during` runs meanwhile."""
    ledger = scene.service.loop.ledger
    assert ledger is not None
    working = ledger.check

    def hangs(now: object) -> None:
        during()
        ledger.check = working  # type: ignore[method-assign]

    monkeypatch.setattr(ledger, "check", hangs)
    scene.service.loop.run_once()


@pytest.mark.parametrize(("policy", "holds"), [("shut", [Hold.METERING_OVERDUE]), ("alert", []), ("not_ready", [])])
def test_a_disk_that_hangs_for_hours_raises_every_alarm_once(
    make_scene: MakeScene, events: Events, monkeypatch: pytest.MonkeyPatch, policy: str, holds: list[Hold]
) -> None:
    scene = make_scene(on_metering_overdue=policy)

    def during() -> None:
        assert look(scene, STUCK_SECONDS) == (None, False)
        assert look(scene, 60) == ("ledger_stuck", False)
        assert (scene.gate.holds, events.of("metering.overdue")) == ([], [])
        assert look(scene, HOURS_3) == ("ledger_stuck", True)
        assert scene.gate.holds == holds
        assert scene.samples()["metering_overdue{}"] == 1
        assert [one["reason"] for one in events.of("ledger.failed")] == ["ledger_stuck"]
        assert len(events.of("metering.overdue")) == 1

    hang(scene, monkeypatch, during)
    assert scene.service.fault is None
    assert scene.service.loop.overdue_since is None
    assert scene.gate.holds == holds + ([None] if holds else [])
    assert events.of("ledger.recovered")
    assert events.of("metering.recovered")


def test_a_loop_that_is_gone_raises_every_alarm_once(make_scene: MakeScene, events: Events) -> None:
    scene = make_scene(on_metering_overdue="shut")
    scene.service.loop.monitor.die()
    assert look(scene, 60) == ("loop_stopped", False)
    assert look(scene, HOURS_3) == ("loop_stopped", True)
    assert look(scene, HOURS_3) == ("loop_stopped", True)
    assert scene.gate.holds == [Hold.METERING_OVERDUE]
    assert len(events.of("metering.overdue")) == 1


def test_a_loop_that_broke_in_a_pass_waits_for_no_disk(make_scene: MakeScene) -> None:
    scene = make_scene()
    scene.service.loop.monitor.wait(for_disk=True)
    scene.service.loop.monitor.die()
    assert look(scene, STUCK_SECONDS + 60) == ("loop_stopped", False)
    assert not scene.service.loop.monitor.stuck


def test_a_loop_that_hangs_elsewhere_is_noticed_too(make_scene: MakeScene) -> None:
    scene = make_scene(on_metering_overdue="shut")
    assert look(scene, STALLED_SECONDS / 2) == (None, False)
    assert look(scene, STALLED_SECONDS) == ("loop_stopped", False)
    assert look(scene, HOURS_3) == ("loop_stopped", True)
    assert scene.gate.holds == [Hold.METERING_OVERDUE]


def test_a_disk_that_hangs_while_the_ledger_is_opened_is_noticed(
    make_scene: MakeScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene()
    assert scene.service.loop.ledger is not None
    scene.service.loop.ledger.close()
    scene.service.loop._opened = None
    seen = []

    def hangs(*_: object, **__: object) -> Ledger:
        seen.append(look(scene, HOURS_3))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Ledger, "open", hangs)
    scene.service.loop.run_once()
    assert seen == [("ledger_stuck", True)]
    assert (scene.service.fault or ("",))[0] == "ledger_io_error", "the next pass tries again"


def test_before_the_gate_opened_a_hanging_disk_is_logged_and_holds_nothing(
    make_scene: MakeScene, events: Events, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene(on_metering_overdue="shut")
    scene.gate.has_opened = False

    def during() -> None:
        assert look(scene, HOURS_3) == ("ledger_stuck", False)

    hang(scene, monkeypatch, during)
    assert scene.gate.holds == []
    assert events.of("ledger.failed")


def test_aws_that_answers_slowly_raises_no_alarm(make_scene: MakeScene, events: Events) -> None:
    scene = make_scene(on_metering_overdue="shut")
    scene.use("3")
    seen = []

    def slow(request: SealedRequest) -> Outcome:
        seen.append(look(scene, 240))
        return scene.aws.record(request)

    scene.aws.answers = [slow]
    scene.at("11:00:30").at("11:10")
    assert seen == [(None, False)]
    assert scene.gate.holds == []


def test_a_container_that_was_frozen_for_hours_raises_no_alarm(make_scene: MakeScene, events: Events) -> None:
    """The first probe after it comes before the loop's next pass."""
    scene = make_scene(on_metering_overdue="shut")
    scene.clock.advance(HOURS_3)
    assert scene.service.loop.overdue_since is None
    scene.service.loop.run_once()
    scene.clock.advance(CONFIRM_SECONDS)
    assert scene.service.loop.overdue_since is None
    assert (scene.gate.holds, events.of("metering.overdue")) == ([], [])


def test_the_end_is_no_alarm(make_story: MakeStory) -> None:
    story: Story = make_story(on_metering_overdue="shut")
    story.loop.stop()
    for _ in range(20):
        story.clock.advance(600)
        assert story.loop.overdue_since is None
    story.loop.finish()


def test_a_disk_that_does_not_answer_takes_no_push_more(make_story: MakeStory) -> None:
    story = make_story()
    answers: list[object] = []
    event = UsageEvent(dimension="requests", micros=parse_micros("1"))
    story.loop.monitor.wait(for_disk=True)
    story.clock.advance(STUCK_SECONDS + 1)
    story.usage.push([event], story.clock.now(), answers.append)
    story.usage.commit_pending()
    (refused,) = answers
    assert isinstance(refused, PushRefused)
    assert (refused.status, refused.reason) == (503, "ledger_stuck")
    story.loop.monitor.end_pass(story.clock.now())
    assert story.loop.ledger is not None
    assert story.loop.ledger.open_hours() == (), "certainly not kept"


def test_time_is_what_passed_not_what_the_wall_clock_says() -> None:
    clock = FakeClock(at=clock_time("10:20"))
    monitor = LoopMonitor(clock)
    monitor.die()
    clock.seconds += 60
    monitor.failing_since()
    clock.at = clock_time("18:20")  # the host was suspended
    clock.seconds += 60
    assert monitor.failing_since() == clock_time("18:18")


def test_the_probe_that_finds_usage_overdue_already_sees_the_gate_shut() -> None:
    from sidecar.entitlement.status import Status
    from tests.fakes.view import FakeView, gate_state
    from tests.unit.api.support import RouterReply

    class View(FakeView):
        def metering_overdue_since(self) -> None:
            self.now = gate_state(Status.UNAVAILABLE)

        def metering_fault(self) -> None:
            self.now = gate_state(Status.UNAVAILABLE)

    for path in ("/entitled", "/readyz"):
        assert RouterReply(Router(View(now=gate_state(Status.ENTITLED))), path).status == 503


def test_a_disk_that_hangs_between_two_passes_is_noticed_as_soon() -> None:
    """The locks of other ledgers are tried there, and a lock's file stands on the disk."""
    clock = FakeClock()
    monitor = LoopMonitor(clock)

    def hangs() -> bool:
        clock.advance(STUCK_SECONDS + 1)
        return monitor.stuck

    assert monitor.watch(hangs)
    clock.advance(STUCK_SECONDS + 1)
    assert not monitor.stuck
