"""The entitlement loop in a worker that follows another one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from sidecar.entitlement.status import Status
from sidecar.gate.messages import CheckResult
from tests.fakes.child import reporting

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


def test_each_worker_reads_the_first_child_of_its_own(story: Story) -> None:
    first = reporting(RETRY)
    story.loop(first=first).check_once()
    assert first.closed
    assert story.started == []
    again = reporting(ACCEPTED, kept=KEPT)
    new = story.loop(first=again)
    new.check_once()
    assert again.closed
    assert story.started == []
    assert new.state.entitled


def test_a_worker_that_died_unread_is_followed_by_one_that_asks(story: Story) -> None:
    story.loop(first=reporting(RETRY))
    first = reporting(ACCEPTED, kept=KEPT)
    new = story.loop(first=first)
    new.check_once()
    assert new.state.entitled
    assert story.started == []


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
