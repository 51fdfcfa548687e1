"""The entitlement loop in a worker that follows another one."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sidecar.entitlement.hold import Hold
from sidecar.entitlement.status import Status
from sidecar.gate import open_check, question
from sidecar.gate.messages import CheckResult
from sidecar.quick_dataclasses import replace
from tests.fakes.child import FakeChild, reporting
from tests.fakes.config import check_request, settings

from .support import ACCEPTED, CONFIG, DENY, HOLDING, KEPT, OPEN, REOPENED, RETRY, Story

# -- a new worker


def test_a_new_worker_starts_with_the_state_of_the_last(story: Story) -> None:
    old = story.after(RETRY, DENY)
    story.clock.advance(100)
    new = story.loop()
    assert new.state == old.state
    assert new.result == old.result


def test_a_new_worker_keeps_the_gate_open(story: Story) -> None:
    story.after(ACCEPTED)
    assert story.loop().state.entitled


def test_a_new_worker_spends_the_same_start_up_budget(story: Story) -> None:
    story.after(RETRY)
    story.clock.advance(1800)
    new = story.loop(reporting(RETRY))
    new.check_once()
    assert new.state.status is Status.UNAVAILABLE


class Died(BaseException):
    """The worker's end, in the middle of what it does."""


def dying() -> FakeChild:
    """A child whose worker ends before there is a result."""

    def end() -> None:
        raise Died

    return FakeChild(while_read=end)


def test_the_first_child_is_read_by_one_worker(story: Story) -> None:
    assert open_check.begin_first(story.restart_state, story.clock.monotonic())
    with pytest.raises(Died):
        story.loop(first=dying()).check_once()
    assert not open_check.begin_first(story.restart_state, story.clock.monotonic()), "the next worker forks none"
    new = story.loop(reporting(ACCEPTED, kept=KEPT))
    new.check_once()
    assert len(story.started) == 1, "and asks by a child of its own"
    assert new.state.entitled


def test_a_worker_that_died_unread_leaves_the_first_child_to_the_next(story: Story) -> None:
    """What that child is told is lost with the pipe; that it has asked is not."""
    assert open_check.begin_first(story.restart_state, story.clock.monotonic())
    story.loop(first=reporting(RETRY))
    new = story.loop(reporting(ACCEPTED, kept=KEPT))
    new.start()
    asked = story.asked.wait(0.3)
    new.stop()
    assert not asked, "not at once"
    assert new.next_ask_at is not None
    assert new.next_ask_at - story.clock.monotonic() == 0.75


def test_workers_that_die_of_asking_ask_less_and_less_often(story: Story) -> None:
    assert open_check.begin_first(story.restart_state, story.clock.monotonic())
    with pytest.raises(Died):
        story.loop(first=dying()).check_once()
    waits = []
    for _ in range(8):
        new = story.loop(dying())
        assert new.next_ask_at is not None
        waits.append(new.next_ask_at - story.clock.monotonic())
        story.clock.advance(waits[-1])
        with pytest.raises(Died):
            new.check_once()
    assert waits == [0.75, 1.5, 3, 6, 12, 24, 45, 45]
    story.loop(reporting(RETRY)).check_once()
    after = story.loop().next_ask_at
    assert after is not None
    assert after - story.clock.monotonic() == 1, "a result ends the series"


def test_a_start_up_budget_begins_with_the_first_question_whoever_asked_it(story: Story) -> None:
    assert open_check.begin_first(story.restart_state, story.clock.monotonic())
    story.clock.advance(1800)
    new = story.loop(reporting(RETRY))
    new.check_once()
    assert new.state.status is Status.UNAVAILABLE


def test_a_worker_that_dies_of_a_later_question_does_not_bring_it_forward(story: Story) -> None:
    story.after(DENY)
    planned = story.loop().next_ask_at
    assert planned is not None
    story.clock.advance(planned - story.clock.monotonic())
    with pytest.raises(Died):
        story.loop(dying()).check_once()
    assert story.loop().next_ask_at == story.clock.monotonic() + 0.75


def test_a_worker_that_dies_rechecking_what_is_accepted_asks_no_more(story: Story) -> None:
    story.after(ACCEPTED)
    with pytest.raises(Died):
        story.loop(dying()).check_once()
    assert story.loop().next_ask_at is None


def test_a_new_worker_with_an_open_gate_does_not_register_again(story: Story) -> None:
    story.after(ACCEPTED)
    story.asked.clear()
    new = story.loop(reporting(ACCEPTED, kept=KEPT))
    new.start()
    asked = story.asked.wait(0.5)
    new.stop()
    assert not asked


def test_a_new_worker_with_a_kept_answer_checks_again(story: Story) -> None:
    story.after(REOPENED)
    story.asked.clear()
    story.clock.advance(60)
    new = story.loop(reporting(ACCEPTED, kept=KEPT))
    new.start()
    assert story.asked.wait(10)
    new.stop()


@pytest.mark.parametrize("result", [DENY, CONFIG])
def test_a_new_worker_keeps_the_backoff_of_the_last(story: Story, result: CheckResult) -> None:
    """Or a worker that crashes in a loop would ask AWS in a loop."""
    paused = story.after(result).next_ask_at
    story.asked.clear()
    new = story.loop(reporting(ACCEPTED, kept=KEPT))
    new.start()
    asked = story.asked.wait(0.3)
    new.stop()
    assert not asked
    assert new.next_ask_at == paused


@pytest.mark.parametrize(
    ("result", "pauses"),
    [
        (replace(RETRY, reason="unreachable"), [0.5, 1, 2, 4, 8]),
        (RETRY, [1, 1.8, 1.8, 1.8, 1.92]),
        (CONFIG, [15.75, 31.5, 63, 126, 252]),
    ],
)
def test_workers_that_die_after_each_answer_ask_as_rarely_as_one_that_lives(
    story: Story, result: CheckResult, pauses: list[float]
) -> None:
    waits = []
    for _ in pauses:
        new = story.loop(reporting(result))
        new.check_once()
        assert new.next_ask_at is not None
        waits.append(round(new.next_ask_at - story.clock.monotonic(), 2))
        story.clock.advance(waits[-1])
    assert waits == pytest.approx(pauses)


def test_a_new_worker_with_an_open_gate_asks_as_one_that_has_seats_in_use(story: Story) -> None:
    story.after(ACCEPTED)
    story.loop(reporting(DENY)).check_once()
    assert story.requests[-1].opened


def test_a_new_worker_whose_gate_never_opened_asks_as_one_that_has_none(story: Story) -> None:
    story.after(DENY)
    story.loop(reporting(DENY)).check_once()
    assert not story.requests[-1].opened


def test_the_start_up_budget_is_measured_monotonically(story: Story) -> None:
    story.settings = {"startup_retry_seconds": "100"}
    loop = story.loop(reporting(RETRY), reporting(RETRY), reporting(RETRY))
    loop.check_once()
    story.clock.at += timedelta(days=1)
    loop.check_once()
    assert loop.state.status is Status.PENDING
    story.clock.advance(100)
    loop.check_once()
    assert loop.state.status is Status.UNAVAILABLE


# -- other settings than those of the last worker


OTHERS = {
    "product": {"product_code": "premium"},
    "endpoint": {"endpoint_url": "http://127.0.0.1:9"},
    "workload": {"workload_id": "another"},
    "check": {"entitlement_check": "meter_usage", "dimensions": "seats"},
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_worker_with_another_question_asks_it(story: Story, other: dict[str, str]) -> None:
    story.after(ACCEPTED).set_hold(Hold.METERING_OVERDUE)
    story.settings = other
    new = story.loop(reporting(DENY))
    assert not new.state.entitled
    assert new.state.reason == "asking"
    assert new.hold is None
    assert new.result.verdict.value == "retry"
    story.asked.clear()
    new.start()
    assert story.asked.wait(10), "at once"
    new.stop()


def test_a_worker_with_another_question_that_dies_of_it_makes_no_loop_of_questions(story: Story) -> None:
    story.after(ACCEPTED)
    story.settings = OTHERS["product"]
    with pytest.raises(Died):
        story.loop(dying()).check_once()
    after = story.loop().next_ask_at
    assert after == story.clock.monotonic() + 0.75


def test_a_worker_whose_other_settings_change_no_question_keeps_the_gate_open(story: Story) -> None:
    story.after(ACCEPTED)
    story.settings = {"startup_retry_seconds": "100"}
    assert story.loop().state.entitled


def test_an_answer_whose_settings_are_lost_opens_nothing(story: Story) -> None:
    story.after(ACCEPTED)
    question.forget(story.restart_state)
    new = story.loop(reporting(ACCEPTED, kept=KEPT))
    assert not new.state.entitled
    new.check_once()
    assert new.state.entitled
    assert story.loop().state.entitled, "and this answer stands"


def test_nothing_is_forgotten_where_nothing_was_answered(story: Story) -> None:
    question.forget(story.restart_state)
    assert story.restart_state.read() == {}


def test_the_name_of_a_question_tells_nothing_of_it() -> None:
    name = question.name_of(check_request(settings(product_code="prod1")))
    assert len(name) == 32
    assert "prod1" not in name
    assert name == question.name_of(check_request(settings(product_code="prod1")))


# -- a contract


def test_the_token_of_a_seat_is_not_in_the_restart_state(story: Story) -> None:
    old = story.after(HOLDING)
    assert old.result.held[0].consumption_token == "opaque-token"
    assert "opaque-token" not in str(story.restart_state.read())
    new = story.loop()
    assert (new.result.held, new.result.granted) == ((), HOLDING.granted)


def test_an_open_checkout_is_repeated_until_its_outcome_is_known(story: Story) -> None:
    open_still = replace(RETRY, open_checkout=OPEN)
    story.after(open_still, open_still, DENY, RETRY)
    assert [one.open_checkout for one in story.requests] == [None, OPEN, OPEN, None]
