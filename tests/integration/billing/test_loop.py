"""The billing loop survives a failing disk and ends the process only where it must."""

from __future__ import annotations

import threading
from datetime import datetime
from pathlib import Path

import pytest

from sidecar.billing.loop import BillingLoop
from sidecar.billing.usage import LedgerUsage
from sidecar.clock import SystemClock
from sidecar.errors import Exit
from sidecar.ledger.errors import LedgerError
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.quantities import parse_micros
from tests.fakes.clock import FakeClock
from tests.fakes.config import settings
from tests.fakes.log import Events
from tests.integration.billing.support import (
    REGION,
    WORKLOAD,
    FakeGate,
    MakeStory,
)


def test_a_clock_that_runs_on_time_does_not_jump(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.at("10:20:30").at("10:21").at("15:00")
    assert events.of("clock.jumped") == []


def test_a_failing_disk_is_logged_once_and_so_is_its_recovery(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    ledger = story.loop.ledger
    assert ledger is not None
    working = ledger.check

    def full(_: datetime) -> None:
        raise LedgerError("ledger_full")

    ledger.check = full  # type: ignore[method-assign]
    story.at("10:21").at("10:22")
    assert [event["reason"] for event in events.of("ledger.failed")] == ["ledger_full"]
    ledger.check = working  # type: ignore[method-assign]
    story.at("10:23")
    assert events.of("ledger.recovered")
    assert story.loop.fault is None


@pytest.mark.parametrize(("opened", "ends"), [(False, [Exit.SOFTWARE]), (True, [])])
def test_a_loop_that_breaks_ends_the_process_only_while_the_gate_is_shut(
    make_story: MakeStory, events: Events, opened: bool, ends: list[Exit]
) -> None:
    story = make_story()
    story.gate.has_opened = opened
    ended: list[Exit] = []
    story.loop._end = lambda code, _text: ended.append(code)

    def broken(_: datetime) -> None:
        raise MemoryError

    assert story.loop.ledger is not None
    story.loop.ledger.check = broken  # type: ignore[method-assign]
    story.loop.send_now()
    story.loop._run()
    assert story.loop.stopped_loop == "metering"
    assert events.of("loop.stopped")
    assert ended == ends


def test_a_ledger_that_is_locked_is_opened_when_it_is_free(make_story: MakeStory) -> None:
    first = make_story()
    first.use("1")
    second = make_story()
    assert second.loop.ledger is None
    answers: list[PushAccepted | PushRefused] = []
    second.usage.push([UsageEvent(dimension="requests", micros=parse_micros("1"))], second.clock.now(), answers.append)
    assert isinstance(answers[0], PushRefused)
    assert (answers[0].status, answers[0].reason) == (503, "ledger_locked")
    first.crash()
    second.at("10:25")
    assert second.loop.ledger is not None


def test_a_ledger_that_cannot_be_opened_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    given = settings(state_dir=str(tmp_path / "file"), dimensions="requests")
    passed = threading.Semaphore(0)

    class Counting(BillingLoop):
        def run_once(self) -> None:
            super().run_once()
            passed.release()

    loop = Counting(settings=given, clock=SystemClock(), gate=FakeGate())
    loop.set_identity(WORKLOAD, REGION)
    loop.start()
    assert passed.acquire(timeout=10), "at once"
    assert not passed.acquire(timeout=0.5), "and then not without a pause"
    assert loop.fault is not None
    loop.stop()
    while not loop.stopped():
        passed.acquire(timeout=0.01)


def test_a_push_is_refused_before_the_workload_is_known(tmp_path: Path) -> None:
    clock = FakeClock()
    of = settings(state_dir=str(tmp_path), dimensions="requests")
    loop = BillingLoop(settings=of, clock=clock, gate=FakeGate())
    answers: list[PushAccepted | PushRefused] = []
    usage = LedgerUsage(of, loop, clock)
    usage.push([UsageEvent(dimension="requests", micros=parse_micros("1"))], clock.now(), answers.append)
    assert isinstance(answers[0], PushRefused)
    assert (answers[0].status, answers[0].reason) == (503, "workload_unknown")
    assert usage.refusals == {"workload_unknown": 1}
