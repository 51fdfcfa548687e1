"""The billing loop survives a failing disk and ends the process only where it must."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.billing.loop import BillingLoop
from sidecar.billing.usage import LedgerUsage
from sidecar.clock import SystemClock
from sidecar.errors import Exit
from sidecar.ledger.errors import LedgerError
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.outcomes import Refused
from sidecar.metering.quantities import parse_micros
from tests.fakes.clock import FakeClock
from tests.fakes.config import settings
from tests.fakes.faults import raising
from tests.fakes.log import Events
from tests.integration.billing.support import (
    REGION,
    WORKLOAD,
    FakeGate,
    MakeStory,
    Story,
)
from tests.integration.ledger.support import held_back


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


@contextmanager
def dead(story: Story) -> Iterator[threading.Thread]:
    """The loop broke in its thread, which waits for the end."""
    assert story.loop.ledger is not None
    working, story.loop.ledger.check = story.loop.ledger.check, raising(MemoryError)  # type: ignore[method-assign, assignment]
    story.loop.send_now()
    thread = threading.Thread(target=story.loop._run, daemon=True)
    thread.start()
    wait_for(lambda: story.loop.monitor.dead)
    story.loop.ledger.check = working  # type: ignore[method-assign]
    yield thread
    story.loop.stop()
    thread.join(20)
    assert story.loop.stopped()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize(("opened", "ends"), [(False, [Exit.SOFTWARE]), (True, [])])
def test_a_loop_that_breaks_ends_the_process_only_while_the_gate_is_shut(
    make_story: MakeStory, events: Events, opened: bool, ends: list[Exit]
) -> None:
    story = make_story()
    story.gate.has_opened = opened
    ended: list[Exit] = []
    story.loop._end = lambda code, _text: ended.append(code)
    with dead(story):
        wait_for(lambda: ended == ends)
        assert story.loop.stopped_loop == "metering"
        assert events.of("loop.stopped")
        assert not story.loop.stopped(), "the end is still to come"


def test_after_a_loop_broke_the_end_bills_what_was_pushed_since(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.use("1")
    with dead(story):
        story.use("2")
    assert story.aws.bill() == {"10": "3"}
    assert events.of("usage.left_behind") == []


def test_after_a_loop_broke_what_cannot_be_billed_is_logged_at_the_end(make_story: MakeStory, events: Events) -> None:
    story = make_story(flush_seconds="2")
    story.aws.always = Refused(code="EndpointConnectionError", sent=False)
    with dead(story):
        story.use("2")
    assert events.one("usage.left_behind")["left"]["quantity"] == "2"


@pytest.mark.parametrize("name", ["seal", "seal_last", "in_state", "mark_sending", "save", "unsettled", "stop_pushes"])
def test_whatever_breaks_at_the_end_all_usage_is_billed_or_logged(
    make_story: MakeStory, events: Events, name: str
) -> None:
    story = make_story()
    story.use("1")
    story.clock.advance(3600)
    story.use("2")
    story.loop.run_once()
    setattr(story.loop.ledger, name, raising(MemoryError))
    story.end()
    billed = sum(map(Decimal, story.aws.bill().values()))
    left = sum(Decimal(one["left"]["quantity"]) for one in events.of("usage.left_behind"))
    assert billed + left >= 3
    assert billed <= 3
    if name != "stop_pushes":
        assert "MemoryError: " in [one["error"] for one in events.of("usage.quarantined")]
    assert story.loop.ledger is not None
    assert not story.loop.ledger.alive, "closed"


def test_a_disk_that_hangs_at_the_end_leaves_what_the_last_pass_found_in_the_log(
    make_story: MakeStory, events: Events
) -> None:
    story = make_story(flush_seconds="1")
    story.aws.always = Refused(code="EndpointConnectionError", sent=False)
    story.use("1")
    story.at("11:00:30").at("11:10")
    story.use("2")
    story.loop.run_once()
    assert story.loop.ledger is not None
    go = held_back(story.loop.ledger)
    thread = threading.Thread(target=story.loop._run, daemon=True)
    story.loop.stop()
    thread.start()
    wait_for(lambda: len(events.of("usage.left_behind")) == 2)
    assert not story.loop.stopped(), "the disk still hangs"
    go.set()
    thread.join(20)
    entries = [one["left"] for one in events.of("usage.left_behind")]
    assert [(one["left"], one["quantity"]) for one in entries] == [("record", "1"), ("rest", "2")], "once"
    assert entries[0]["request"]["quantity"] == "1"
    assert entries[1]["as_of"] == "2026-01-02T11:10:00+00:00"


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
