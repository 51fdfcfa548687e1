"""Asked again soon enough to open quickly, rarely enough to be no storm."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.retry import (
    THROTTLED_SECONDS_MAX,
    Retries,
    next_retry,
    retry_delay_seconds,
    throttled_delay_seconds,
)

ALMOST_ONE: Final = 1 - 2**-53
TRANSIENT: Final = (AnswerClass.RETRY, AnswerClass.RETRY_THEN_CONFIG)


def pause(
    answer: AnswerClass, attempt: int = 0, chance: float = 0.5, reask: int = 300, retry_after: float | None = None
) -> float | None:
    return retry_delay_seconds(answer, attempt, chance, reask, retry_after)


def test_an_open_gate_asks_no_more() -> None:
    assert pause(AnswerClass.ACCEPTED) is None
    assert pause(AnswerClass.ACCEPTED, retry_after=5) is None


def test_a_denial_is_asked_about_after_the_operators_pause() -> None:
    assert pause(AnswerClass.DENY, chance=0.0) == 300
    assert pause(AnswerClass.DENY, chance=0.0, reask=7) == 7


def test_a_denial_is_asked_about_never_where_the_operator_says_so() -> None:
    assert pause(AnswerClass.DENY, reask=0) is None
    assert pause(AnswerClass.DENY, reask=0, retry_after=5) is None


def test_pods_denied_together_do_not_ask_together() -> None:
    assert pause(AnswerClass.DENY, chance=0.1) != pause(AnswerClass.DENY, chance=0.9)
    assert 300 <= (pause(AnswerClass.DENY, chance=ALMOST_ONE) or 0) <= 330


def test_further_denials_pause_no_longer() -> None:
    assert pause(AnswerClass.DENY, attempt=50, chance=0.0) == 300


@pytest.mark.parametrize("answer", TRANSIENT)
def test_transient_trouble_backs_off_by_doubling_up_to_a_minute(answer: AnswerClass) -> None:
    most = [pause(answer, attempt, ALMOST_ONE) for attempt in range(8)]
    assert most == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])


@pytest.mark.parametrize("answer", TRANSIENT)
def test_transient_trouble_has_full_jitter(answer: AnswerClass) -> None:
    assert pause(answer, 5, 0.0) == 0
    assert pause(answer, 5, 0.25) == pytest.approx(8)


def test_a_mistake_here_is_asked_about_from_fifteen_seconds_to_five_minutes() -> None:
    least = [pause(AnswerClass.CONFIG, attempt, 0.0) for attempt in range(7)]
    assert least == [15, 30, 60, 120, 240, 300, 300]


def test_a_mistake_here_is_never_asked_about_sooner() -> None:
    assert all((pause(AnswerClass.CONFIG, 0, chance) or 0) >= 15 for chance in (0.0, 0.5, ALMOST_ONE))


@pytest.mark.parametrize("answer", [AnswerClass.RETRY, AnswerClass.RETRY_THEN_CONFIG, AnswerClass.CONFIG])
def test_what_aws_asks_for_is_a_floor(answer: AnswerClass) -> None:
    assert pause(answer, 0, 0.0, retry_after=120.0) == 120


def test_what_aws_asks_for_is_no_ceiling() -> None:
    assert pause(AnswerClass.CONFIG, 4, 0.0, retry_after=1.0) == 240
    assert pause(AnswerClass.RETRY, 5, 0.5, retry_after=0.0) == pytest.approx(16)


@settings(max_examples=200, deadline=None, database=None)
@given(
    answer=st.sampled_from([AnswerClass.RETRY, AnswerClass.RETRY_THEN_CONFIG, AnswerClass.CONFIG]),
    attempt=st.integers(0, 10**9),
    chance=st.floats(0, ALMOST_ONE),
    retry_after=st.none() | st.floats(0, 300),
)
def test_however_long_it_lasts_the_pause_stays_within_minutes(
    answer: AnswerClass, attempt: int, chance: float, retry_after: float | None
) -> None:
    found = pause(answer, attempt, chance, retry_after=retry_after)
    assert found is not None
    assert 0 <= found <= 330


def throttled(before: Retries, chance: float = 0.5, **answer: float) -> Retries:
    return next_retry(before, AnswerClass.RETRY, chance, 300, throttled=True, **answer)


def failed(before: Retries, answer: AnswerClass = AnswerClass.RETRY, chance: float = 0.5) -> Retries:
    return next_retry(before, answer, chance, 300)


def test_the_first_throttled_answer_is_followed_within_two_seconds() -> None:
    assert throttled(Retries(), ALMOST_ONE).delay_seconds == pytest.approx(2)
    assert throttled(Retries(), 0.0).delay_seconds == 0


def test_a_throttled_pod_waits_a_share_of_what_it_has_waited() -> None:
    before = Retries(throttled_seconds=100)
    assert throttled(before, 0.0).delay_seconds == pytest.approx(20)
    assert throttled(before, ALMOST_ONE).delay_seconds == pytest.approx(40)


def test_what_a_throttled_pod_waits_adds_up() -> None:
    state, total = Retries(), 0.0
    for _ in range(30):
        state = throttled(state)
        total += state.delay_seconds or 0
    assert state.throttled_seconds == pytest.approx(total)


@given(waited=st.floats(0, 10**9), chance=st.floats(0, ALMOST_ONE))
def test_a_throttled_pod_asks_again_within_ten_minutes(waited: float, chance: float) -> None:
    assert 0 <= throttled_delay_seconds(waited, chance) <= THROTTLED_SECONDS_MAX


def test_a_throttled_pod_waits_as_long_as_aws_asks() -> None:
    assert throttled(Retries(), 0.0, retry_after_seconds=90).delay_seconds == 90
    assert throttled(Retries(throttled_seconds=1000), 0.0, retry_after_seconds=90).delay_seconds == pytest.approx(200)


def test_a_pod_that_is_not_throttled_is_not_slowed_by_the_quota() -> None:
    state = Retries()
    for attempt in range(8):
        state = failed(state, chance=ALMOST_ONE)
        assert state.delay_seconds == pause(AnswerClass.RETRY, attempt, ALMOST_ONE)


def test_a_failure_between_two_throttled_answers_forgets_nothing() -> None:
    before = Retries(throttled_seconds=100)
    assert throttled(failed(before), 0.0).delay_seconds == pytest.approx(20)


@pytest.mark.parametrize("answer", [AnswerClass.ACCEPTED, AnswerClass.DENY, AnswerClass.CONFIG])
def test_an_answer_to_the_question_ends_the_waiting_for_the_quota(answer: AnswerClass) -> None:
    after = failed(Retries(throttled_seconds=100), answer)
    assert throttled(after, ALMOST_ONE).delay_seconds == pytest.approx(2)


def test_answers_of_one_class_in_a_row_are_counted() -> None:
    first = failed(Retries())
    assert (first.attempt, failed(first).attempt, failed(first, AnswerClass.CONFIG).attempt) == (0, 1, 0)
