"""The gate opens for a proof, and only for that; once open it stays open."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Final

import pytest

from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.status import TRANSITIONS, Event, GateState, Status, event_for, initial_state, next_state

START: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
BUDGET: Final = timedelta(minutes=30)
LATE: Final = START + BUDGET
P, E, D, U, M = Status.PENDING, Status.ENTITLED, Status.DENIED, Status.UNAVAILABLE, Status.MISCONFIGURED


def gate_in(status: Status, *, reason: str = "before", hint: str = "what was said") -> GateState:
    return GateState(status=status, reason=reason, hint=hint, checked_at=None, asking_since=START)


def then(before: GateState, answer: AnswerClass, now: datetime = START, reason: str = "now") -> GateState:
    return next_state(before, answer, reason, "what is said", now, now - before.asking_since >= BUDGET)


def test_every_status_knows_what_to_do_with_every_event() -> None:
    assert set(TRANSITIONS) == set(product(Status, Event))


@pytest.mark.parametrize("before", Status)
def test_a_proof_opens_the_gate_from_anywhere(before: Status) -> None:
    assert then(gate_in(before), AnswerClass.ACCEPTED).entitled


@pytest.mark.parametrize("before", [status for status in Status if status is not E])
@pytest.mark.parametrize("answer", [answer for answer in AnswerClass if answer is not AnswerClass.ACCEPTED])
@pytest.mark.parametrize("now", [START, LATE, LATE + timedelta(days=9)])
def test_nothing_but_a_proof_opens_it(before: Status, answer: AnswerClass, now: datetime) -> None:
    assert not then(gate_in(before), answer, now).entitled


@pytest.mark.parametrize("answer", AnswerClass)
@pytest.mark.parametrize("now", [START, LATE, LATE + timedelta(days=9)])
def test_nothing_shuts_it_once_it_is_open(answer: AnswerClass, now: datetime) -> None:
    assert then(gate_in(E), answer, now).entitled


MOVES: Final = [
    # before, answer, in time, late
    (P, AnswerClass.DENY, D, D),
    (P, AnswerClass.CONFIG, M, M),
    (P, AnswerClass.RETRY, P, U),
    (P, AnswerClass.RETRY_THEN_CONFIG, P, M),
    (U, AnswerClass.DENY, D, D),
    (U, AnswerClass.CONFIG, M, M),
    (U, AnswerClass.RETRY, U, U),
    (U, AnswerClass.RETRY_THEN_CONFIG, U, M),
    (M, AnswerClass.DENY, D, D),
    (M, AnswerClass.CONFIG, M, M),
    (M, AnswerClass.RETRY, P, U),
    (M, AnswerClass.RETRY_THEN_CONFIG, P, M),
    (D, AnswerClass.DENY, D, D),
    (D, AnswerClass.CONFIG, M, M),
    (D, AnswerClass.RETRY, D, D),
    (D, AnswerClass.RETRY_THEN_CONFIG, D, D),
    (E, AnswerClass.DENY, E, E),
    (E, AnswerClass.CONFIG, E, E),
    (E, AnswerClass.RETRY, E, E),
    (E, AnswerClass.RETRY_THEN_CONFIG, E, E),
]


@pytest.mark.parametrize(("before", "answer", "in_time", "late"), MOVES)
def test_where_an_answer_leads_depends_on_where_we_stand_and_how_long_we_ask(
    before: Status, answer: AnswerClass, in_time: Status, late: Status
) -> None:
    assert then(gate_in(before), answer, START).status is in_time
    assert then(gate_in(before), answer, LATE).status is late


def test_a_denial_stands_while_aws_cannot_be_reached() -> None:
    denied = gate_in(D, reason="customer_not_entitled", hint="subscribe")
    for now in (START, LATE):
        moved = then(denied, AnswerClass.RETRY, now)
        assert (moved.status, moved.reason, moved.hint) == (D, "customer_not_entitled", "subscribe")
        assert moved.checked_at == now


def test_a_mistake_here_does_not_stand_while_aws_cannot_be_reached() -> None:
    moved = then(gate_in(M, reason="access_denied"), AnswerClass.RETRY)
    assert (moved.status, moved.reason) == (P, "now")


def test_a_second_denial_says_its_own_reason() -> None:
    assert then(gate_in(D), AnswerClass.DENY).reason == "now"


def test_an_open_gate_keeps_the_reason_it_opened_for() -> None:
    opened = gate_in(E, reason="registered", hint="it verified")
    for answer in (AnswerClass.DENY, AnswerClass.CONFIG, AnswerClass.RETRY, AnswerClass.RETRY_THEN_CONFIG):
        moved = then(opened, answer, LATE)
        assert (moved.reason, moved.hint, moved.checked_at) == ("registered", "it verified", LATE)


def test_an_open_gate_takes_the_reason_of_a_better_proof() -> None:
    assert then(gate_in(E, reason="kept_answer"), AnswerClass.ACCEPTED, reason="registered").reason == "registered"


def test_a_gate_that_moves_says_why() -> None:
    moved = then(gate_in(P), AnswerClass.DENY)
    assert (moved.reason, moved.hint, moved.checked_at) == ("now", "what is said", START)


def test_a_pending_gate_says_the_latest_trouble() -> None:
    assert then(gate_in(P), AnswerClass.RETRY).reason == "now"
    assert then(gate_in(U), AnswerClass.RETRY, LATE).reason == "now"


def test_the_start_up_budget_ends_on_its_last_instant_and_not_before() -> None:
    just = timedelta(microseconds=1)
    assert then(gate_in(P), AnswerClass.RETRY, LATE - just).status is P
    assert then(gate_in(P), AnswerClass.RETRY, LATE).status is U


def test_without_a_budget_the_first_failure_is_late() -> None:
    assert next_state(gate_in(P), AnswerClass.RETRY, "r", "h", START, late=True).status is U


def test_the_budget_counts_from_the_first_question_however_often_it_is_asked() -> None:
    now, here = START, initial_state(START)
    while here.status is P:
        now += timedelta(minutes=1)
        here = then(here, AnswerClass.RETRY, now)
    assert now == LATE
    assert here.asking_since == START


def test_before_any_answer_the_gate_is_shut_and_says_that_it_asks() -> None:
    first = initial_state(START)
    assert (first.status, first.entitled, first.reason) == (P, False, "asking")
    assert first.checked_at is None
    assert first.asking_since == START
    assert first.hint


@pytest.mark.parametrize(
    ("answer", "in_time", "late"),
    [
        (AnswerClass.ACCEPTED, Event.ACCEPTED, Event.ACCEPTED),
        (AnswerClass.DENY, Event.DENIED, Event.DENIED),
        (AnswerClass.CONFIG, Event.CONFIG, Event.CONFIG),
        (AnswerClass.RETRY, Event.RETRY, Event.RETRY_LATE),
        (AnswerClass.RETRY_THEN_CONFIG, Event.RETRY, Event.CONFIG_LATE),
    ],
)
def test_only_what_is_transient_can_be_late(answer: AnswerClass, in_time: Event, late: Event) -> None:
    assert event_for(answer, late=False) is in_time
    assert event_for(answer, late=True) is late


def test_a_denial_stands_while_the_credentials_endpoint_does_not_answer_in_time() -> None:
    assert then(gate_in(D), AnswerClass.RETRY_THEN_CONFIG, START).status is D


def test_a_denial_stays_while_the_credentials_endpoint_is_silent() -> None:
    """It is no answer of AWS's, however long it lasts: a denied workload would look merely misconfigured."""
    assert then(gate_in(D), AnswerClass.RETRY_THEN_CONFIG, LATE).status is D
