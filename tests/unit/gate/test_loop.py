"""The entitlement loop: what each result does to gate, restart state, termination log and process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

import pytest

from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.status import Status
from sidecar.errors import Exit
from sidecar.gate.loop import KEPT_STATUS_SECONDS, LOOP, RECHECK_SECONDS
from sidecar.gate.messages import CheckResult, KeptStatus
from sidecar.log import LOGGER
from sidecar.quick_dataclasses import replace
from tests.fakes.child import POD, FakeChild, crashed, reporting, silent
from tests.fakes.log import Events

from .support import ACCEPTED, CONFIG, CONTRADICTION, DENY, FORGED, HOLDING, HOST, KEPT, LATER, REOPENED, RETRY, Story

# -- each class of answer


@pytest.mark.parametrize(
    ("result", "status", "event", "pause"),
    [
        (ACCEPTED, Status.ENTITLED, "registration.accepted", None),
        (REOPENED, Status.ENTITLED, "answer.reopened", 0.5),
        (DENY, Status.DENIED, "registration.denied", 315.0),
        (FORGED, Status.DENIED, "token.rejected", 315.0),
        (CONFIG, Status.MISCONFIGURED, "registration.refused", 15.75),
        (RETRY, Status.PENDING, "registration.held", 1.0),
        (LATER, Status.PENDING, "registration.held", 0.5),
    ],
)
def test_an_answer_moves_state_restart_state_log_and_next_check(
    story: Story, events: Events, result: CheckResult, status: Status, event: str, pause: float | None
) -> None:
    loop = story.after(result)
    assert loop.state.status is status
    assert loop.state.checked_at == story.clock.now()
    assert loop.result == result
    assert story.restart_state.read()["gate_state"]["status"] == status.value
    assert CheckResult.from_fields(story.restart_state.read()["result"]) == result
    said = events.one(event)
    assert (said["reason"], said["status"], said["workload"]) == (result.reason, status.value, "6f1c")
    assert ("gate.opened" in events.names()) == (status is Status.ENTITLED)
    assert (loop.next_ask_at is None) == (pause is None)
    assert pause is None or loop.next_ask_at == pytest.approx(story.clock.monotonic() + pause)
    assert loop.counts.answers == {one.value: int(one.value == result.answer) for one in AnswerClass}
    assert all(child.closed for child in story.started)
    assert story.ended == []


def test_before_any_answer_the_gate_is_shut(story: Story) -> None:
    loop = story.loop()
    assert loop.state.status is Status.PENDING
    assert not loop.state.entitled
    assert loop.state.checked_at is None
    assert loop.retry_after_seconds() == 1


def test_after_the_start_up_budget_transient_failures_show_as_unavailable(story: Story) -> None:
    loop = story.loop(reporting(RETRY), reporting(RETRY), reporting(LATER))
    loop.check_once()
    story.clock.advance(1799)
    loop.check_once()
    assert loop.state.status is Status.PENDING
    story.clock.advance(1)
    loop.check_once()
    assert loop.state.status is Status.MISCONFIGURED
    other = story.loop(reporting(RETRY))
    other.check_once()
    assert other.state.status is Status.UNAVAILABLE


def test_backoff_grows_within_a_class_and_starts_over_with_another(story: Story) -> None:
    pauses: list[float] = []
    failing = replace(RETRY, reason="aws_failing")
    loop = story.loop(*(reporting(one) for one in (failing, failing, failing, CONFIG, CONFIG, failing)))
    for _ in range(6):
        loop.check_once()
        assert loop.next_ask_at is not None
        pauses.append(round(loop.next_ask_at - story.clock.monotonic(), 2))
    assert pauses == [0.5, 1.0, 2.0, 15.75, 31.5, 0.5]


def test_a_throttled_pod_waits_in_proportion_until_another_answer(story: Story) -> None:
    pauses: list[float] = []
    loop = story.loop(*(reporting(one) for one in (*[RETRY] * 6, CONFIG, RETRY)))
    for _ in range(8):
        loop.check_once()
        assert loop.next_ask_at is not None
        pauses.append(round(loop.next_ask_at - story.clock.monotonic(), 2))
    assert pauses == [1.0, 1.8, 1.8, 1.8, 1.92, 2.5, 15.75, 1.0]


def test_a_kept_answer_is_followed_by_the_shortest_backoff(story: Story) -> None:
    assert story.after(REOPENED).next_ask_at == story.clock.monotonic() + 0.5


def test_the_retry_time_that_aws_asks_for_is_kept_and_shown(story: Story) -> None:
    loop = story.after(replace(RETRY, retry_after_seconds=40.0))
    assert loop.next_ask_at == story.clock.monotonic() + 40
    assert loop.retry_after_seconds() == 40


def test_the_duration_of_a_check_is_counted(story: Story) -> None:
    loop = story.loop(reporting(ACCEPTED, kept=KEPT, clock=story.clock, takes=2.5))
    loop.check_once()
    assert loop.counts.seconds_last == 2.5


# -- the open gate


@pytest.mark.parametrize("later", [DENY, FORGED, CONFIG, RETRY, LATER])
def test_an_open_gate_stays_open_after_any_other_answer(story: Story, later: CheckResult) -> None:
    story.settings = {"on_denied": "exit"}
    loop = story.after(ACCEPTED, later)
    assert loop.state.entitled
    assert loop.state.reason == "registered"
    assert loop.result == ACCEPTED, "what opened the gate is what is shown"
    assert story.restart_state.read()["gate_state"]["status"] == "entitled"
    assert story.ended == []
    assert story.note.read_text() == ""


def test_an_open_gate_stays_open_after_a_crashed_child(story: Story) -> None:
    loop = story.loop(reporting(ACCEPTED, kept=KEPT), crashed(), silent())
    for _ in range(3):
        loop.check_once()
    assert loop.state.entitled


def test_the_opening_of_the_gate_is_logged_once(story: Story, events: Events) -> None:
    story.after(RETRY, ACCEPTED, ACCEPTED)
    assert len(events.of("gate.opened")) == 1


def test_a_gate_opened_by_a_kept_answer_is_checked_until_aws_accepts(story: Story) -> None:
    loop = story.after(REOPENED)
    assert loop.state.entitled
    assert loop.next_ask_at is not None
    loop = story.loop(reporting(ACCEPTED, kept=KEPT))
    loop.check_once()
    assert loop.next_ask_at is None
    assert not loop.result.from_kept_answer


def test_after_a_fresh_acceptance_no_check_is_scheduled(story: Story) -> None:
    loop = story.after(ACCEPTED)
    assert loop.next_ask_at is None
    assert loop.retry_after_seconds() == 60


# -- denied


def test_a_denial_writes_the_termination_log_and_the_process_lives(story: Story) -> None:
    story.after(DENY)
    assert story.note.read_text() == "denied (customer_not_entitled): Subscribe."
    assert story.ended == []


def test_with_exit_a_denial_ends_the_process_with_77(story: Story) -> None:
    story.settings = {"on_denied": "exit"}
    story.after(DENY)
    assert story.ended == [(Exit.DENIED, "denied (customer_not_entitled): Subscribe.")]
    assert int(Exit.DENIED) == 77


@pytest.mark.parametrize("result", [ACCEPTED, REOPENED, CONFIG, RETRY, LATER])
def test_with_exit_only_a_denial_ends_the_process(story: Story, result: CheckResult) -> None:
    story.settings = {"on_denied": "exit"}
    story.after(result)
    assert story.ended == []
    assert story.note.read_text() == ""


def test_with_exit_a_failed_child_does_not_end_the_process(story: Story) -> None:
    story.settings = {"on_denied": "exit"}
    loop = story.loop(crashed(), silent(), FakeChild())
    for _ in range(3):
        loop.check_once()
    assert story.ended == []


@pytest.mark.parametrize(
    ("result", "left"), [(ACCEPTED, ""), (CONFIG, ""), (RETRY, "denied (customer_not_entitled): Subscribe.")]
)
def test_the_termination_log_is_cleared_when_the_denial_ends(story: Story, result: CheckResult, left: str) -> None:
    story.after(DENY, result)
    assert story.note.read_text() == left


def test_the_termination_log_changes_with_the_reason_only(story: Story) -> None:
    loop = story.loop(reporting(DENY), reporting(DENY), reporting(FORGED))
    loop.check_once()
    story.note.write_text("read")
    loop.check_once()
    assert story.note.read_text() == "read"
    loop.check_once()
    assert story.note.read_text().startswith("denied (token_nonce)")


def test_a_denial_without_a_recheck_pause_is_final(story: Story) -> None:
    story.settings = {"reask_seconds": "0"}
    assert story.after(DENY).next_ask_at is None


# -- the place contradicts the settings


def test_a_settings_fault_ends_the_process_with_78_and_its_text(story: Story) -> None:
    loop = story.after(CONTRADICTION)
    assert story.ended == [(Exit.CONFIG, "SIDECAR_WORKLOAD_ID: is 'a'")]
    assert int(Exit.CONFIG) == 78
    assert not loop.state.entitled


def test_after_a_settings_fault_no_check_is_scheduled(story: Story) -> None:
    loop = story.after(CONTRADICTION)
    assert loop.next_ask_at is None or loop.next_ask_at > story.clock.monotonic()


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
def test_a_child_without_a_result_is_a_transient_failure(
    story: Story, events: Events, child: FakeChild, code: str, reason: str
) -> None:
    loop = story.loop(replace(child, lines=list(child.lines)))
    loop.check_once()
    assert (loop.state.status, loop.state.reason) == (Status.PENDING, reason)
    assert loop.result.code == code
    assert events.one("child.failed")["code"] == code
    assert story.started[0].closed
    assert story.ended == []


def test_deeply_nested_json_from_a_child_does_not_break_the_loop(story: Story) -> None:
    loop = story.loop(FakeChild(lines=[b"[" * 100_000]))
    loop.check_once()
    assert (loop.state.status, loop.state.reason) == (Status.PENDING, "asking_failed")
    assert loop.stopped_loop is None


def test_a_crash_is_logged_with_its_location_and_the_identity_stays(story: Story, events: Events) -> None:
    loop = story.loop(reporting(RETRY), crashed("KeyError at asking.py:7"))
    loop.check_once()
    loop.check_once()
    assert events.one("child.failed")["crash"] == "KeyError at asking.py:7"
    assert (loop.identity.workload, loop.identity.region) == ("6f1c", "us-east-1")
    assert "{" not in loop.state.hint


def test_a_child_that_cannot_be_started_counts_as_failed(story: Story, events: Events) -> None:
    loop = story.loop(reporting(ACCEPTED, kept=KEPT))
    story.broken = OSError("hunter2")
    loop.check_once()
    assert (loop.state.status, loop.state.reason) == (Status.PENDING, "asking_failed")
    assert loop.next_ask_at is not None
    assert events.one("child.failed")["crash"] == "OSError"
    assert "hunter2" not in repr(events.one("child.failed"))
    story.broken = None
    loop.check_once()
    assert loop.state.entitled
    assert story.ended == []


def test_a_stuck_log_delays_neither_recheck_nor_stop(story: Story) -> None:
    """The poller calls `stop`, so a lock held while stdout is stuck would stop the probes."""
    loop = story.loop()
    story.broken = OSError("no processes left")
    waited: list[bool] = []

    class Stuck(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            other = threading.Thread(target=loop.recheck, daemon=True)
            other.start()
            other.join(10)
            waited.append(other.is_alive())

    handler = Stuck()
    LOGGER.addHandler(handler)
    try:
        loop.check_once()
    finally:
        LOGGER.removeHandler(handler)
    assert waited
    assert not any(waited)


def test_the_budget_of_a_child_grows_with_the_number_of_keys(story: Story) -> None:
    child = reporting(RETRY)
    story.loop(child).check_once()
    assert child.deadlines[0] - time.monotonic() == pytest.approx(50, abs=5)


# -- keeping


def test_an_answer_that_was_kept_is_no_event(story: Story, events: Events) -> None:
    loop = story.after(ACCEPTED)
    assert loop.counts.not_kept == 0
    assert "answer.save_failed" not in events.names()


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (KeptStatus(kept=False, fault="/state: No space left on device").as_json().encode(), "No space left"),
        (None, "does not answer"),
        (b"garbage", "does not answer"),
    ],
)
def test_an_answer_that_was_not_kept_opens_the_gate_and_is_logged(
    story: Story, events: Events, line: bytes | None, fault: str
) -> None:
    child = FakeChild(lines=[POD.as_json().encode(), ACCEPTED.as_json().encode(), line])
    loop = story.loop(child)
    loop.check_once()
    assert loop.state.entitled
    assert loop.counts.not_kept == 1
    assert fault in events.one("answer.save_failed")["fault"]
    assert child.deadlines[2] - time.monotonic() <= KEPT_STATUS_SECONDS
    assert child.closed


def test_the_gate_opens_before_a_stuck_disk_has_kept_the_answer(story: Story) -> None:
    seen: list[bool] = []
    child = FakeChild(lines=[POD.as_json().encode(), ACCEPTED.as_json().encode(), None])
    loop = story.loop(child)
    child.while_read = lambda: seen.append(loop.state.entitled)
    loop.check_once()
    assert seen == [False, False, True]


@pytest.mark.parametrize("result", [REOPENED, DENY, RETRY])
def test_no_kept_status_is_read_where_nothing_is_kept(story: Story, result: CheckResult) -> None:
    child = reporting(result)
    story.loop(child).check_once()
    assert len(child.deadlines) == 2


@pytest.mark.parametrize(("result", "lines"), [(ACCEPTED, 2), (HOLDING, 3)])
def test_of_a_workload_without_a_name_seats_are_kept_and_answers_are_not(
    story: Story, result: CheckResult, lines: int
) -> None:
    """A child that nobody waits for is killed, and may not have written by then."""
    nameless = replace(POD, workload_kind="nameless").as_json().encode()
    child = FakeChild(lines=[nameless, result.as_json().encode(), KEPT.as_json().encode()])
    story.loop(child).check_once()
    assert len(child.deadlines) == lines


# -- by hand


def test_a_recheck_within_15_seconds_of_the_last_is_refused(story: Story) -> None:
    loop = story.after(DENY)
    assert loop.recheck() == RECHECK_SECONDS == 15
    story.clock.advance(14)
    assert loop.recheck() == 1
    story.clock.advance(1)
    assert loop.recheck() == 0
    assert loop.recheck() == 15, "one that was taken counts at once"


def test_the_first_check_counts_for_the_pause_between_rechecks(story: Story) -> None:
    assert story.loop().recheck() == 15


@pytest.mark.parametrize("since", [0.6, 10.7, 13.6])
def test_a_recheck_after_the_named_seconds_is_accepted(story: Story, since: float) -> None:
    loop = story.after(DENY)
    story.clock.advance(since)
    story.clock.advance(loop.recheck())
    assert loop.recheck() == 0


def test_a_recheck_ends_the_backoff(story: Story, events: Events) -> None:
    story.settings = {"reask_seconds": "0"}
    loop = story.loop(reporting(ACCEPTED, kept=KEPT), first=reporting(DENY))
    loop.start()
    assert events.wait_for("registration.denied")
    story.clock.advance(15)
    assert loop.recheck() == 0
    assert events.wait_for("gate.opened")
    loop.stop()


# -- stopping


def test_a_stopped_loop_starts_no_check(story: Story) -> None:
    loop = story.loop()
    loop.stop()
    loop.check_once()
    assert story.started == []


def test_stopping_kills_the_child_and_drops_its_result(story: Story, events: Events) -> None:
    child = reporting(ACCEPTED, kept=KEPT)
    loop = story.loop(child)
    child.while_read = loop.stop
    loop.check_once()
    assert child.killed
    assert child.closed
    assert not loop.state.entitled
    assert events.names() == []


# -- what is logged once


def test_an_unchanged_caution_is_logged_once(story: Story, events: Events) -> None:
    wary = replace(RETRY, weak_key_bits=1024, rotation_at="2026-01-01T00:00:00Z")
    torn = replace(POD, region_disagreement="AWS_REGION says x")
    loop = story.loop(*(reporting(wary, identity=torn) for _ in range(3)))
    for _ in range(3):
        loop.check_once()
    for name in ("region.disagreed", "public_key.weak", "public_key.superseded"):
        assert len(events.of(name)) == 1


def test_a_gate_shut_for_a_minute_is_explained_once_in_full(story: Story, events: Events) -> None:
    """The question itself took the minute; the loop explains before it sleeps."""
    who = replace(POD, labels={"pod": "shop-1"}, region_source="AWS_REGION")
    whole = replace(
        CONFIG,
        credential_source="IRSA (web identity)",
        role="arn:aws:iam::1:role/shop",
        partition="aws",
        request_id="r-1",
    )
    slow = reporting(whole, identity=who, clock=story.clock, takes=61.0)
    loop = story.loop(reporting(whole, identity=who), first=slow)
    loop.start()
    assert events.wait_for("gate.shut")
    story.clock.advance(15)
    assert loop.recheck() == 0
    assert events.wait_for("registration.refused", times=2)
    loop.stop()
    said = events.one("gate.shut")
    assert said["status"] == "misconfigured"
    assert said["reason"] == "access_denied"
    assert said["hint"] == "Allow it."
    for name in ("workload", "workload_kind", "region", "region_source", "labels"):
        assert said[name] == getattr(who, name)
    for name in ("host", "partition", "role"):
        assert said[name] == getattr(whole, name)
    assert (said["credential_source"], said["aws_error"], said["aws_request_id"]) == ("IRSA (web identity)", "X", "r-1")
    assert said["product_code"]
    assert said["asking_since"] == "2026-01-02T12:00:00.000Z"


# -- the outermost edge


def test_a_loop_that_breaks_with_the_gate_shut_ends_the_process_with_70(story: Story, events: Events) -> None:
    story.broken = RuntimeError("hunter2")
    loop = story.loop()
    loop.start()
    assert story.over.wait(10)
    ((code, text),) = story.ended
    assert code is Exit.SOFTWARE
    assert int(code) == 70
    assert "RuntimeError" in text
    assert "hunter2" not in text
    assert loop.stopped_loop == LOOP
    assert events.one("loop.stopped")["loop"] == LOOP


def test_a_loop_that_breaks_with_the_gate_open_leaves_it_open_and_is_named(story: Story, events: Events) -> None:
    loop = story.loop(first=reporting(ACCEPTED, kept=KEPT))
    loop.start()
    assert events.wait_for("gate.opened")
    story.broken = RuntimeError("impossible")
    story.clock.advance(15)
    assert loop.recheck() == 0
    assert events.wait_for("loop.stopped")
    assert loop.stopped_loop == LOOP
    assert loop.state.entitled
    assert story.ended == []


def test_a_loop_that_lives_is_not_named(story: Story) -> None:
    assert story.after(RETRY).stopped_loop is None


def test_the_tests_above_cover_every_class() -> None:
    used: Sequence[CheckResult] = (ACCEPTED, REOPENED, DENY, FORGED, CONFIG, RETRY, LATER)
    assert {one.verdict for one in used} == set(AnswerClass)


# -- the identity, before the answer


def test_the_identity_is_taken_before_the_result(story: Story) -> None:
    seen: list[tuple[str, bool]] = []
    child = reporting(DENY)
    loop = story.loop(child)
    child.while_read = lambda: seen.append((loop.identity.workload, loop.state.entitled))
    loop.check_once()
    assert seen == [("", False), ("6f1c", False)]
    assert story.observer.identities == [POD]
    assert loop.result == DENY
    assert loop.counts.answers == {one.value: int(one is AnswerClass.DENY) for one in AnswerClass}


def test_a_failed_child_leaves_identity_and_host_as_they_were(story: Story) -> None:
    loop = story.loop(reporting(CONFIG), reporting(None))
    loop.check_once()
    loop.check_once()
    assert (loop.identity, loop.result.host) == (POD, HOST)
    assert loop.result.code == "child_failed"


def test_an_identity_is_no_result(story: Story, events: Events) -> None:
    line = POD.as_json().encode()
    loop = story.loop(FakeChild(lines=[line, line]), FakeChild(lines=[line]))
    for _ in range(2):
        loop.check_once()
        assert events.of("child.failed")[-1]["code"] == "child_failed"
        assert loop.identity == POD
        assert not loop.state.entitled


def test_identity_and_result_share_one_budget(story: Story) -> None:
    child = reporting(DENY)
    story.loop(child).check_once()
    assert len(child.deadlines) == 2
    assert len(set(child.deadlines)) == 1


def test_a_result_without_an_identity_is_taken(story: Story) -> None:
    loop = story.loop(reporting(CONFIG, identity=None))
    loop.check_once()
    assert story.observer.identities == []
    assert loop.result == CONFIG
