"""The entitlement loop: what each answer does to gate, board, note and process. No thread unless said."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.hold import Hold
from sidecar.entitlement.status import Status
from sidecar.errors import Exit
from sidecar.gate.loop import KEEPING_SECONDS, LOOP, RECHECK_SECONDS, EntitlementLoop
from sidecar.gate.messages import KeptStatus, Report
from sidecar.log import LOGGER
from sidecar.restart_state import RestartState
from tests.fakes import Events, FakeChild, FakeClock, crashed, hearing, question, saying, settings, silent

KEPT = KeptStatus(kept=True)
WHO = {"workload": "6f1c", "workload_kind": "pod", "region": "us-east-1", "host": "metering.example"}
ACCEPTED = Report(
    answer="accepted",
    reason="registered",
    hint="Confirmed.",
    asked=AnsweredBy.REGISTER_USAGE.value,
    public_key_version=1,
    **WHO,
)
REOPENED = replace(ACCEPTED, reason="kept_answer", kept=True)
DENY = Report(answer="deny", reason="customer_not_entitled", hint="Subscribe.", code="X", asked="RegisterUsage", **WHO)
FORGED = replace(DENY, reason="token_nonce", code="token_nonce", asked=AnsweredBy.TOKEN.value)
CONFIG = replace(DENY, answer="config", reason="access_denied", hint="Allow it.")
RETRY = replace(DENY, answer="retry", reason="throttled", hint="Wait.")
LATER = replace(DENY, answer="retry_then_config", reason="credentials_unreachable", hint="Check.")
CONTRADICTION = Report(answer="config", reason="bad_settings", hint="x", settings_fault="SIDECAR_WORKLOAD_ID: is 'a'")


@dataclass(kw_only=True)
class Story:
    """A gatekeeper, and everything around it that a test looks at."""

    note: Path
    clock: FakeClock = field(default_factory=FakeClock)
    board: RestartState = field(default_factory=RestartState)
    ended: list[tuple[Exit, str]] = field(default_factory=list)
    started: list[FakeChild] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)
    broken: Exception | None = None
    settings: dict[str, str] = field(default_factory=dict)
    placed: list[Report] = field(default_factory=list)

    def end(self, code: Exit, text: str) -> None:
        self.ended.append((code, text))
        self.over.set()

    def gatekeeper(self, *children: FakeChild, first: FakeChild | None = None, chance: float = 0.5) -> EntitlementLoop:
        """A worker's gatekeeper; `children` are what it starts, in turn."""
        waiting = list(children)

        def start(_: object) -> FakeChild:
            self.asked.set()
            if self.broken:
                raise self.broken
            self.started.append(waiting.pop(0) if waiting else saying(RETRY))
            return self.started[-1]

        of = settings(termination_log=str(self.note), **self.settings)
        return EntitlementLoop(
            settings=of,
            question=question(of),
            clock=self.clock,
            shared=self.board,
            end=self.end,
            first=first,  # type: ignore[arg-type]
            start_child=start,  # type: ignore[arg-type]
            chance=lambda: chance,
            placed=self.placed.append,
        )

    def after(self, *reports: Report) -> EntitlementLoop:
        """A gatekeeper that has heard these."""
        found = self.gatekeeper(*(saying(one, kept=KEPT) for one in reports))
        for _ in reports:
            found.check_once()
        return found


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """The note's file is there, as the kubelet makes it."""
    note = tmp_path / "termination-log"
    note.write_text("")
    return Story(note=note)


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    with hearing() as heard:
        yield heard


# -- each class of answer


@pytest.mark.parametrize(
    ("report", "status", "event", "pause"),
    [
        (ACCEPTED, Status.ENTITLED, "registration.accepted", None),
        (REOPENED, Status.ENTITLED, "answer.reopened", 0.5),
        (DENY, Status.DENIED, "registration.denied", 315.0),
        (FORGED, Status.DENIED, "token.rejected", 315.0),
        (CONFIG, Status.MISCONFIGURED, "registration.refused", 15.75),
        (RETRY, Status.PENDING, "registration.held", 0.5),
        (LATER, Status.PENDING, "registration.held", 0.5),
    ],
)
def test_an_answer_moves_the_gate_is_written_down_said_and_followed_by_a_pause(
    story: Story, events: Events, report: Report, status: Status, event: str, pause: float | None
) -> None:
    keeper = story.after(report)
    assert keeper.state.status is status
    assert keeper.state.checked_at == story.clock.now()
    assert keeper.report == report
    assert story.board.read()["standing"]["status"] == status.value
    assert Report(**story.board.read()["report"]) == report
    said = events.one(event)
    assert (said["reason"], said["status"], said["workload"]) == (report.reason, status.value, "6f1c")
    assert ("gate.opened" in events.names()) == (status is Status.ENTITLED)
    assert (keeper.next_ask_at is None) == (pause is None)
    assert pause is None or keeper.next_ask_at == pytest.approx(story.clock.monotonic() + pause)
    assert keeper.counts.answers == {one.value: int(one.value == report.answer) for one in AnswerClass}
    assert all(child.closed for child in story.started)
    assert story.ended == []


def test_before_any_answer_the_gate_is_shut(story: Story) -> None:
    keeper = story.gatekeeper()
    assert keeper.state.status is Status.PENDING
    assert not keeper.state.entitled
    assert keeper.state.checked_at is None
    assert keeper.retry_after_seconds() == 1


def test_once_the_start_up_budget_is_spent_transient_failures_show_as_what_they_are(story: Story) -> None:
    keeper = story.gatekeeper(saying(RETRY), saying(RETRY), saying(LATER))
    keeper.check_once()
    story.clock.advance(1799)
    keeper.check_once()
    assert keeper.state.status is Status.PENDING
    story.clock.advance(1)
    keeper.check_once()
    assert keeper.state.status is Status.MISCONFIGURED
    other = story.gatekeeper(saying(RETRY))
    other.check_once()
    assert other.state.status is Status.UNAVAILABLE


def test_answers_of_one_class_in_a_row_are_waited_for_longer_and_another_begins_anew(story: Story) -> None:
    pauses: list[float] = []
    keeper = story.gatekeeper(*(saying(one) for one in (RETRY, RETRY, RETRY, CONFIG, CONFIG, RETRY)))
    for _ in range(6):
        keeper.check_once()
        assert keeper.next_ask_at is not None
        pauses.append(round(keeper.next_ask_at - story.clock.monotonic(), 2))
    assert pauses == [0.5, 1.0, 2.0, 15.75, 31.5, 0.5]


def test_the_first_kept_answer_is_followed_by_the_first_pause(story: Story) -> None:
    assert story.after(REOPENED).next_ask_at == story.clock.monotonic() + 0.5


def test_what_aws_asks_for_is_waited_for_and_told(story: Story) -> None:
    keeper = story.after(replace(RETRY, retry_after_seconds=40.0))
    assert keeper.next_ask_at == story.clock.monotonic() + 40
    assert keeper.retry_after_seconds() == 40


def test_how_long_a_question_took_is_counted(story: Story) -> None:
    keeper = story.gatekeeper(saying(ACCEPTED, kept=KEPT, clock=story.clock, takes=2.5))
    keeper.check_once()
    assert keeper.counts.seconds_last == 2.5


# -- the open gate


@pytest.mark.parametrize("later", [DENY, FORGED, CONFIG, RETRY, LATER])
def test_an_open_gate_stays_open_whatever_comes_later(story: Story, later: Report) -> None:
    story.settings = {"on_denied": "exit"}
    keeper = story.after(ACCEPTED, later)
    assert keeper.state.entitled
    assert keeper.state.reason == "registered"
    assert keeper.report == ACCEPTED, "what opened the gate is what is shown"
    assert story.board.read()["standing"]["status"] == "entitled"
    assert story.ended == []
    assert story.note.read_text() == ""


def test_a_crashed_child_does_not_shut_it_either(story: Story) -> None:
    keeper = story.gatekeeper(saying(ACCEPTED, kept=KEPT), crashed(), silent())
    for _ in range(3):
        keeper.check_once()
    assert keeper.state.entitled


def test_the_gate_is_said_to_open_once(story: Story, events: Events) -> None:
    story.after(RETRY, ACCEPTED, ACCEPTED)
    assert len(events.of("gate.opened")) == 1


def test_a_gate_reopened_on_a_kept_answer_is_asked_for_until_aws_says_so(story: Story) -> None:
    keeper = story.after(REOPENED)
    assert keeper.state.entitled
    assert keeper.next_ask_at is not None
    keeper = story.gatekeeper(saying(ACCEPTED, kept=KEPT))
    keeper.check_once()
    assert keeper.next_ask_at is None
    assert not keeper.report.kept


def test_a_fresh_answer_is_the_end_of_asking(story: Story) -> None:
    keeper = story.after(ACCEPTED)
    assert keeper.next_ask_at is None
    assert keeper.retry_after_seconds() == 60


# -- denied


def test_a_denial_leaves_a_note_and_with_hold_the_process_lives(story: Story) -> None:
    story.after(DENY)
    assert story.note.read_text() == "denied (customer_not_entitled): Subscribe."
    assert story.ended == []


def test_with_exit_a_denial_ends_the_process_with_77(story: Story) -> None:
    story.settings = {"on_denied": "exit"}
    story.after(DENY)
    assert story.ended == [(Exit.DENIED, "denied (customer_not_entitled): Subscribe.")]
    assert int(Exit.DENIED) == 77


@pytest.mark.parametrize("report", [ACCEPTED, REOPENED, CONFIG, RETRY, LATER])
def test_with_exit_nothing_but_a_denial_ends_it(story: Story, report: Report) -> None:
    story.settings = {"on_denied": "exit"}
    story.after(report)
    assert story.ended == []
    assert story.note.read_text() == ""


def test_with_exit_a_child_that_breaks_is_no_denial(story: Story) -> None:
    story.settings = {"on_denied": "exit"}
    keeper = story.gatekeeper(crashed(), silent(), FakeChild())
    for _ in range(3):
        keeper.check_once()
    assert story.ended == []


@pytest.mark.parametrize(
    ("report", "left"), [(ACCEPTED, ""), (CONFIG, ""), (RETRY, "denied (customer_not_entitled): Subscribe.")]
)
def test_the_note_goes_when_the_denial_does(story: Story, report: Report, left: str) -> None:
    story.after(DENY, report)
    assert story.note.read_text() == left


def test_another_denial_is_another_note_and_the_same_is_not_written_again(story: Story) -> None:
    keeper = story.gatekeeper(saying(DENY), saying(DENY), saying(FORGED))
    keeper.check_once()
    story.note.write_text("read")
    keeper.check_once()
    assert story.note.read_text() == "read"
    keeper.check_once()
    assert story.note.read_text().startswith("denied (token_nonce)")


def test_a_denial_with_no_pause_is_never_asked_about_again(story: Story) -> None:
    story.settings = {"reask_seconds": "0"}
    assert story.after(DENY).next_ask_at is None


# -- the place contradicts the settings


def test_a_settings_fault_ends_the_process_with_78_and_says_the_fault(story: Story) -> None:
    keeper = story.after(CONTRADICTION)
    assert story.ended == [(Exit.CONFIG, "SIDECAR_WORKLOAD_ID: is 'a'")]
    assert int(Exit.CONFIG) == 78
    assert not keeper.state.entitled


def test_after_a_settings_fault_nothing_is_asked_at_once(story: Story) -> None:
    keeper = story.after(CONTRADICTION)
    assert keeper.next_ask_at is None or keeper.next_ask_at > story.clock.monotonic()


# -- children that break


@pytest.mark.parametrize(
    ("child", "code", "reason"),
    [
        (crashed(), "child_failed", "asking_failed"),
        (FakeChild(), "child_failed", "asking_failed"),
        (FakeChild(lines=[b"garbage"]), "child_failed", "asking_failed"),
        (FakeChild(lines=[b"[]"]), "child_failed", "asking_failed"),
        (FakeChild(lines=[b'{"answer": "yes", "reason": "", "hint": ""}']), "child_failed", "asking_failed"),
        (FakeChild(lines=[b'{"answer": "accepted"}']), "child_failed", "asking_failed"),
        (silent(), "child_timed_out", "asking_timed_out"),
    ],
)
def test_a_child_without_a_report_is_a_transient_failure(
    story: Story, events: Events, child: FakeChild, code: str, reason: str
) -> None:
    keeper = story.gatekeeper(replace(child, lines=list(child.lines)))
    keeper.check_once()
    assert (keeper.state.status, keeper.state.reason) == (Status.PENDING, reason)
    assert keeper.report.code == code
    assert events.one("child.failed")["code"] == code
    assert story.started[0].closed
    assert story.ended == []


def test_a_child_that_says_deep_nonsense_does_not_break_the_loop(story: Story) -> None:
    keeper = story.gatekeeper(FakeChild(lines=[b"[" * 100_000]))
    keeper.check_once()
    assert (keeper.state.status, keeper.state.reason) == (Status.PENDING, "asking_failed")
    assert keeper.stopped_loop is None


def test_a_crash_says_its_place_and_who_was_asked_for_is_remembered(story: Story, events: Events) -> None:
    keeper = story.gatekeeper(saying(RETRY), crashed("KeyError at asking.py:7"))
    keeper.check_once()
    keeper.check_once()
    assert events.one("child.failed")["crash"] == "KeyError at asking.py:7"
    assert (keeper.report.workload, keeper.report.region) == ("6f1c", "us-east-1")
    assert "{" not in keeper.state.hint


def test_a_child_that_cannot_be_started_is_one_that_failed_and_the_next_is_tried(story: Story, events: Events) -> None:
    keeper = story.gatekeeper(saying(ACCEPTED, kept=KEPT))
    story.broken = OSError("hunter2")
    keeper.check_once()
    assert (keeper.state.status, keeper.state.reason) == (Status.PENDING, "asking_failed")
    assert keeper.next_ask_at is not None
    assert events.one("child.failed")["crash"] == "OSError"
    assert "hunter2" not in repr(events.one("child.failed"))
    story.broken = None
    keeper.check_once()
    assert keeper.state.entitled
    assert story.ended == []


def test_a_stuck_log_holds_nobody_who_rechecks_or_stops(story: Story) -> None:
    """The poller calls `stop`, so a lock held while stdout is stuck would stop the probes."""
    keeper = story.gatekeeper()
    story.broken = OSError("no processes left")
    waited: list[bool] = []

    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            other = threading.Thread(target=keeper.recheck, daemon=True)
            other.start()
            other.join(0.3)
            waited.append(other.is_alive())

    handler = Stuck()
    LOGGER.addHandler(handler)
    try:
        keeper.check_once()
    finally:
        LOGGER.removeHandler(handler)
    assert waited
    assert not any(waited)


def test_a_child_is_given_a_time_that_grows_with_the_keys_to_try(story: Story) -> None:
    child = saying(RETRY)
    story.gatekeeper(child).check_once()
    assert child.deadlines[0] - time.monotonic() == pytest.approx(50, abs=5)


# -- keeping


def test_an_answer_that_was_kept_is_not_complained_about(story: Story, events: Events) -> None:
    keeper = story.after(ACCEPTED)
    assert keeper.counts.not_kept == 0
    assert "answer.save_failed" not in events.names()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (KeptStatus(kept=False, fault="/state: No space left on device").as_json().encode(), "No space left"),
        (None, "does not answer"),
        (b"garbage", "does not answer"),
    ],
)
def test_an_answer_that_was_not_kept_opens_the_gate_and_is_said(
    story: Story, events: Events, line: bytes | None, fault: str
) -> None:
    child = FakeChild(lines=[ACCEPTED.as_json().encode(), line])
    keeper = story.gatekeeper(child)
    keeper.check_once()
    assert keeper.state.entitled
    assert keeper.counts.not_kept == 1
    assert fault in events.one("answer.save_failed")["fault"]
    assert child.deadlines[1] - time.monotonic() <= KEEPING_SECONDS
    assert child.closed


def test_the_gate_is_open_while_a_stuck_disk_is_waited_for(story: Story) -> None:
    seen: list[bool] = []
    child = FakeChild(lines=[ACCEPTED.as_json().encode(), None])
    keeper = story.gatekeeper(child)
    child.while_heard = lambda: seen.append(keeper.state.entitled)
    keeper.check_once()
    assert seen == [False, True]


@pytest.mark.parametrize("report", [REOPENED, DENY, RETRY, replace(ACCEPTED, workload_kind="nameless")])
def test_where_nothing_is_kept_no_second_line_is_waited_for(story: Story, report: Report) -> None:
    child = saying(report)
    story.gatekeeper(child).check_once()
    assert len(child.deadlines) == 1


# -- by hand


def test_a_recheck_within_15_seconds_of_the_last_question_is_told_to_wait(story: Story) -> None:
    keeper = story.after(DENY)
    assert keeper.recheck() == RECHECK_SECONDS == 15
    story.clock.advance(14)
    assert keeper.recheck() == 1
    story.clock.advance(1)
    assert keeper.recheck() == 0
    assert keeper.recheck() == 15, "one that was taken counts at once"


def test_the_first_question_counts_from_the_start(story: Story) -> None:
    assert story.gatekeeper().recheck() == 15


@pytest.mark.parametrize("since", [0.6, 10.7, 13.6])
def test_whoever_waits_as_long_as_told_is_not_refused_again(story: Story, since: float) -> None:
    keeper = story.after(DENY)
    story.clock.advance(since)
    story.clock.advance(keeper.recheck())
    assert keeper.recheck() == 0


def test_a_recheck_asks_whatever_the_pause(story: Story, events: Events) -> None:
    story.settings = {"reask_seconds": "0"}
    keeper = story.gatekeeper(saying(ACCEPTED, kept=KEPT), first=saying(DENY))
    keeper.start()
    assert events.wait_for("registration.denied")
    story.clock.advance(15)
    assert keeper.recheck() == 0
    assert events.wait_for("gate.opened")
    keeper.stop()


# -- stopping


def test_a_stopped_gatekeeper_asks_no_more(story: Story) -> None:
    keeper = story.gatekeeper()
    keeper.stop()
    keeper.check_once()
    assert story.started == []


def test_stopping_ends_the_child_that_is_being_heard_and_its_answer_moves_nothing(story: Story, events: Events) -> None:
    child = saying(ACCEPTED, kept=KEPT)
    keeper = story.gatekeeper(child)
    child.while_heard = keeper.stop
    keeper.check_once()
    assert child.killed
    assert child.closed
    assert not keeper.state.entitled
    assert events.names() == []


# -- a new worker


def test_a_new_worker_goes_on_where_the_last_one_was(story: Story) -> None:
    old = story.after(RETRY, DENY)
    story.clock.advance(100)
    new = story.gatekeeper()
    assert new.state == old.state
    assert new.report == old.report


def test_a_new_worker_keeps_the_gate_open(story: Story) -> None:
    story.after(ACCEPTED)
    assert story.gatekeeper().state.entitled


def test_a_new_worker_spends_the_same_start_up_budget(story: Story) -> None:
    story.after(RETRY)
    story.clock.advance(1800)
    new = story.gatekeeper(saying(RETRY))
    new.check_once()
    assert new.state.status is Status.UNAVAILABLE


def test_the_first_child_is_heard_once_by_whichever_worker(story: Story) -> None:
    first = saying(RETRY)
    story.gatekeeper(first=first).check_once()
    assert first.closed
    assert story.started == []
    again = saying(ACCEPTED, kept=KEPT)
    new = story.gatekeeper(saying(RETRY), first=again)
    new.check_once()
    assert again.deadlines == []
    assert len(story.started) == 1
    assert not new.state.entitled


def test_a_worker_that_died_before_it_heard_the_first_child_leaves_it_to_the_next(story: Story) -> None:
    story.gatekeeper(first=saying(RETRY))
    heard = saying(ACCEPTED, kept=KEPT)
    new = story.gatekeeper(first=heard)
    new.check_once()
    assert new.state.entitled
    assert story.started == []


def test_a_new_worker_with_an_open_gate_does_not_register_again(story: Story) -> None:
    story.after(ACCEPTED)
    story.asked.clear()
    new = story.gatekeeper(saying(ACCEPTED, kept=KEPT))
    new.start()
    asked = story.asked.wait(0.5)
    new.stop()
    assert not asked


def test_a_new_worker_with_a_kept_answer_does_ask(story: Story) -> None:
    story.after(REOPENED)
    story.asked.clear()
    story.clock.advance(60)
    new = story.gatekeeper(saying(ACCEPTED, kept=KEPT))
    new.start()
    assert story.asked.wait(10)
    new.stop()


@pytest.mark.parametrize("report", [DENY, CONFIG])
def test_a_new_worker_keeps_to_the_pause_of_the_last(story: Story, report: Report) -> None:
    """Or a worker that crashes in a loop would ask AWS in a loop."""
    paused = story.after(report).next_ask_at
    story.asked.clear()
    new = story.gatekeeper(saying(ACCEPTED, kept=KEPT))
    new.start()
    asked = story.asked.wait(0.3)
    new.stop()
    assert not asked
    assert new.next_ask_at == paused


def test_the_start_up_budget_is_measured_by_a_clock_nobody_sets(story: Story) -> None:
    story.settings = {"startup_retry_seconds": "100"}
    keeper = story.gatekeeper(saying(RETRY), saying(RETRY), saying(RETRY))
    keeper.check_once()
    story.clock.at += timedelta(days=1)
    keeper.check_once()
    assert keeper.state.status is Status.PENDING
    story.clock.advance(100)
    keeper.check_once()
    assert keeper.state.status is Status.UNAVAILABLE


# -- what is said once


def test_a_caution_that_stays_the_same_is_said_once(story: Story, events: Events) -> None:
    wary = replace(
        RETRY, region_disagreement="AWS_REGION says x", weak_key_bits=1024, rotation_at="2026-01-01T00:00:00Z"
    )
    story.after(wary, wary, wary)
    for name in ("region.disagreed", "public_key.weak", "public_key.superseded"):
        assert len(events.of(name)) == 1


def test_a_gate_shut_for_a_minute_is_explained_once_and_whole(story: Story, events: Events) -> None:
    """The question itself took the minute; the loop explains before it sleeps."""
    whole = replace(
        CONFIG,
        labels={"pod": "shop-1"},
        credential_source="IRSA (web identity)",
        role="arn:aws:iam::1:role/shop",
        region_source="AWS_REGION",
        partition="aws",
        request_id="r-1",
    )
    slow = saying(whole, clock=story.clock, takes=61.0)
    keeper = story.gatekeeper(saying(whole), first=slow)
    keeper.start()
    assert events.wait_for("gate.shut")
    story.clock.advance(15)
    assert keeper.recheck() == 0
    assert events.wait_for("registration.refused", times=2)
    keeper.stop()
    said = events.one("gate.shut")
    assert said["status"] == "misconfigured"
    assert said["reason"] == "access_denied"
    assert said["hint"] == "Allow it."
    for name in ("workload", "workload_kind", "region", "region_source", "host", "labels", "partition", "role"):
        assert said[name] == getattr(whole, name)
    assert (said["credential_source"], said["aws_error"], said["aws_request_id"]) == ("IRSA (web identity)", "X", "r-1")
    assert said["product_code"]
    assert said["asking_since"] == "2026-01-02T12:00:00.000Z"


# -- the outermost edge


def test_a_loop_that_breaks_with_the_gate_shut_ends_the_process_with_70(story: Story, events: Events) -> None:
    story.broken = RuntimeError("hunter2")
    keeper = story.gatekeeper()
    keeper.start()
    assert story.over.wait(10)
    ((code, text),) = story.ended
    assert code is Exit.SOFTWARE
    assert int(code) == 70
    assert "RuntimeError" in text
    assert "hunter2" not in text
    assert keeper.stopped_loop == LOOP
    assert events.one("loop.stopped")["loop"] == LOOP


def test_a_loop_that_breaks_with_the_gate_open_leaves_it_open_and_is_named(story: Story, events: Events) -> None:
    keeper = story.gatekeeper(first=saying(ACCEPTED, kept=KEPT))
    keeper.start()
    assert events.wait_for("gate.opened")
    story.broken = RuntimeError("impossible")
    story.clock.advance(15)
    assert keeper.recheck() == 0
    assert events.wait_for("loop.stopped")
    assert keeper.stopped_loop == LOOP
    assert keeper.state.entitled
    assert story.ended == []


def test_a_loop_that_lives_is_not_named(story: Story) -> None:
    assert story.after(RETRY).stopped_loop is None


def test_words_of_answers_are_those_of_the_table() -> None:
    used: Sequence[Report] = (ACCEPTED, REOPENED, DENY, FORGED, CONFIG, RETRY, LATER)
    assert {one.verdict for one in used} == set(AnswerClass)


# -- the place, before the answer


PLACED = Report(answer="retry", reason="asking", hint="", placed_only=True, workload="6f1c", region="us-east-1")


def placing(*lines: Report | bytes | None) -> FakeChild:
    """A child that says where it is, and then these."""
    said = [one.as_json().encode() if isinstance(one, Report) else one for one in lines]
    return FakeChild(lines=[PLACED.as_json().encode(), *said])


def test_the_place_is_told_before_the_answer_and_is_none(story: Story) -> None:
    keeper = story.gatekeeper(placing(DENY))
    keeper.check_once()
    assert story.placed == [PLACED]
    assert keeper.report == DENY
    assert keeper.state.status is Status.DENIED
    assert keeper.counts.answers == {one.value: int(one is AnswerClass.DENY) for one in AnswerClass}


def test_the_place_is_shown_while_the_answer_is_waited_for(story: Story) -> None:
    seen: list[tuple[str, str, bool]] = []
    child = placing(DENY)
    keeper = story.gatekeeper(child)
    child.while_heard = lambda: seen.append((keeper.report.workload, keeper.report.region, keeper.state.entitled))
    keeper.check_once()
    assert seen == [("", "", False), ("6f1c", "us-east-1", False)]


def test_what_is_known_of_the_place_is_not_forgotten_for_what_is_not_known_yet(story: Story) -> None:
    keeper = story.gatekeeper(saying(CONFIG), placing(None))
    keeper.check_once()
    keeper.check_once()
    assert keeper.report.host == CONFIG.host
    assert keeper.report.code == "child_timed_out"


def test_a_child_that_says_only_where_it_is_has_said_nothing(story: Story, events: Events) -> None:
    keeper = story.gatekeeper(placing(PLACED), placing())
    for _ in range(2):
        keeper.check_once()
        assert events.of("child.failed")[-1]["code"] == "child_failed"
        assert keeper.report.workload == "6f1c"
        assert not keeper.state.entitled


def test_both_lines_come_within_one_budget(story: Story) -> None:
    child = placing(DENY)
    story.gatekeeper(child).check_once()
    assert len(set(child.deadlines)) == 1


def test_a_child_that_could_not_find_its_place_is_heard_all_the_same(story: Story) -> None:
    keeper = story.after(CONFIG)
    assert story.placed == []
    assert keeper.report == CONFIG


# -- a hold of metering's


def test_a_hold_shuts_an_open_gate_and_its_end_opens_it_again(story: Story, events: Events) -> None:
    gatekeeper = story.after(ACCEPTED)
    gatekeeper.set_hold(Hold.METERING_OVERDUE)
    assert (gatekeeper.state.status, gatekeeper.state.reason) == (Status.UNAVAILABLE, "metering_overdue")
    assert gatekeeper.has_opened, "AWS did let it run"
    assert events.one("gate.held")["status"] == "unavailable"
    assert story.note.read_text() == ""
    gatekeeper.set_hold(None)
    assert gatekeeper.state.entitled
    assert len(events.of("gate.opened")) == 2


def test_a_denial_by_metering_is_a_denial_like_any_other(story: Story) -> None:
    gatekeeper = story.after(ACCEPTED)
    gatekeeper.set_hold(Hold.FIRST_METER_DENIED)
    assert gatekeeper.state.status is Status.DENIED
    assert "customer_not_entitled" in story.note.read_text()
    gatekeeper.set_hold(None)
    assert story.note.read_text() == ""


def test_a_denial_by_metering_ends_the_process_where_the_operator_wants_that(story: Story) -> None:
    story.settings = {"on_denied": "exit"}
    story.after(ACCEPTED).set_hold(Hold.FIRST_METER_DENIED)
    assert [code for code, _ in story.ended] == [Exit.DENIED]


def test_overdue_metering_ends_no_process(story: Story) -> None:
    story.settings = {"on_denied": "exit"}
    story.after(ACCEPTED).set_hold(Hold.METERING_OVERDUE)
    assert story.ended == []


def test_an_answer_that_comes_under_a_hold_does_not_open_the_gate(story: Story, events: Events) -> None:
    gatekeeper = story.gatekeeper(saying(ACCEPTED, kept=KEPT))
    gatekeeper.set_hold(Hold.FIRST_METER_DENIED)
    gatekeeper.check_once()
    assert gatekeeper.state.status is Status.DENIED
    assert events.of("gate.opened") == []
    assert events.of("gate.held")


def test_a_hold_opens_no_gate_that_is_shut(story: Story) -> None:
    gatekeeper = story.after(DENY)
    gatekeeper.set_hold(Hold.METERING_OVERDUE)
    assert gatekeeper.state.reason == DENY.reason
    gatekeeper.set_hold(None)
    assert not gatekeeper.state.entitled


def test_a_new_worker_holds_what_the_last_one_held(story: Story) -> None:
    story.after(ACCEPTED).set_hold(Hold.FIRST_METER_DENIED)
    assert story.gatekeeper().state.status is Status.DENIED


def test_what_may_know_of_a_hold_is_heard_before_a_yes_opens_the_gate(story: Story) -> None:
    gatekeeper = story.gatekeeper(saying(ACCEPTED, kept=KEPT))
    seen: list[bool] = []
    gatekeeper._before_opening = lambda: seen.append(gatekeeper.state.entitled)
    gatekeeper.check_once()
    assert seen == [False]


def test_a_recheck_is_passed_on_to_metering(story: Story) -> None:
    gatekeeper = story.after(ACCEPTED)
    passed: list[bool] = []
    gatekeeper._rechecked = lambda: passed.append(True)
    story.clock.advance(20)
    assert gatekeeper.recheck() == 0
    assert passed == [True]
    assert gatekeeper.recheck() > 0
    assert passed == [True], "within 15 seconds of the last nothing is asked"
