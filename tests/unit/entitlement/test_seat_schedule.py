"""When a seat is extended, lost, and asked for again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sidecar.entitlement import seat_schedule as schedule
from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.seat_schedule import SeatFault, SeatState
from sidecar.quick_dataclasses import replace
from tests.fakes.clock import NOON

HOUR = timedelta(hours=1)
AWAY = SeatFault(answer=AnswerClass.RETRY, reason="unreachable", hint="It is asked on.")
DENIED = SeatFault(answer=AnswerClass.DENY, reason="no_entitlements_allowed", hint="Buy more.")
FORBIDDEN = SeatFault(answer=AnswerClass.CONFIG, reason="access_denied", hint="Allow it.")
REASK = 300


def held(life: timedelta = HOUR, chance: float = 0.0) -> SeatState:
    return schedule.held(NOON + life, NOON, chance)


def failed(seat: SeatState, fault: SeatFault = AWAY, after: timedelta | None = None, reask: int = REASK) -> SeatState:
    """The seat after a failed attempt, made when it was due or `after` noon."""
    at = NOON + after if after is not None else seat.ask_at
    assert at is not None
    return schedule.failed(seat, fault, at, 0.5, reask)


# -- a seat that is held


@pytest.mark.parametrize("minutes", [2, 10, 60, 1440])
def test_a_seat_is_extended_about_half_way_to_its_expiration(minutes: int) -> None:
    life = timedelta(minutes=minutes)
    assert held(life).ask_at == NOON + life / 2
    latest = held(life, chance=0.999).ask_at
    assert latest is not None
    assert NOON + 0.4 * life <= latest < NOON + 0.41 * life


def test_a_seat_is_not_due_before_its_time() -> None:
    seat = held()
    assert not schedule.due(seat, NOON + timedelta(minutes=29))
    assert schedule.due(seat, NOON + timedelta(minutes=30))


def test_a_seat_that_expired_before_it_was_given_is_held_for_a_minute() -> None:
    """The host's clock is ahead; AWS has just said that the seat is ours."""
    seat = schedule.held(NOON - HOUR, NOON, 0.0)
    assert not seat.lost
    assert seat.ask_at == NOON + timedelta(seconds=30)


# -- while AWS is away


@pytest.mark.parametrize("chance", [0.0, 0.999])
@pytest.mark.parametrize("minutes", [5, 60])
def test_an_outage_that_ends_seconds_before_the_expiration_costs_nothing(minutes: int, chance: float) -> None:
    seat = schedule.held(NOON + timedelta(minutes=minutes), NOON, chance)
    attempts = []
    while not seat.lost and seat.ask_at is not None and seat.ask_at < seat.expires_at:
        attempts.append(seat.ask_at)
        seat = schedule.failed(seat, AWAY, seat.ask_at, chance, REASK)
    assert seat.expires_at - attempts[-1] <= timedelta(seconds=3)
    assert len(attempts) < 80, "AWS is not hammered"


def test_no_pause_is_longer_than_a_quarter_of_the_life_that_is_left() -> None:
    seat = replace(failed(held()), attempt=30)
    again = failed(seat, after=timedelta(minutes=56))
    assert again.ask_at is not None
    assert again.ask_at <= NOON + timedelta(minutes=57)


def test_what_aws_asks_to_wait_is_waited_but_not_past_the_expiration() -> None:
    asked = replace(AWAY, retry_after_seconds=60.0)
    assert failed(held(), asked).ask_at == NOON + timedelta(minutes=31)
    late = failed(held(), replace(AWAY, retry_after_seconds=3600.0))
    assert late.ask_at is not None
    assert late.ask_at < NOON + HOUR


def test_a_seat_is_held_until_its_expiration_whatever_fails() -> None:
    for fault in (AWAY, FORBIDDEN):
        assert not schedule.passed(failed(held(), fault), NOON + timedelta(minutes=59)).lost


def test_a_seat_that_expired_while_aws_was_away_is_lost() -> None:
    seat = schedule.passed(failed(held()), NOON + HOUR)
    assert seat.lost_at == NOON + HOUR
    assert schedule.due(seat, NOON + HOUR), "it is asked for at once"


def test_a_seat_that_expired_by_the_clock_alone_is_asked_about_before_it_is_lost() -> None:
    """The host was suspended, or its clock was set."""
    seat = schedule.passed(held(), NOON + 3 * HOUR)
    assert not seat.lost
    assert schedule.due(seat, NOON + 3 * HOUR)
    assert failed(seat, after=3 * HOUR).lost


def test_an_extension_after_failures_starts_again_with_short_pauses() -> None:
    seat = failed(failed(held()))
    assert seat.attempt == 2
    assert held().attempt == 0


# -- lost


def test_a_refusal_loses_the_seat_at_once() -> None:
    assert failed(held(), DENIED).lost_at == NOON + timedelta(minutes=30)


def test_a_mistake_here_does_not_lose_the_seat_before_it_expires() -> None:
    assert not failed(held(), FORBIDDEN).lost
    assert failed(held(), FORBIDDEN, after=HOUR).lost


def test_a_lost_seat_is_asked_for_with_backoff_while_aws_is_away() -> None:
    seat = schedule.passed(failed(held()), NOON + HOUR)
    pauses = []
    for _ in range(12):
        assert seat.ask_at is not None
        before, seat = seat.ask_at, failed(seat)
        assert seat.ask_at is not None
        pauses.append((seat.ask_at - before).total_seconds())
    assert pauses[0] < 2
    assert pauses[-1] == 30, "full jitter, a minute at most"


def test_a_refused_seat_is_asked_for_again_after_the_operators_pause() -> None:
    seat = failed(held(), DENIED)
    assert seat.ask_at == NOON + timedelta(minutes=30, seconds=REASK * 1.05)


def test_a_refused_seat_is_not_asked_for_where_the_pause_is_zero() -> None:
    seat = failed(held(), DENIED, reask=0)
    assert seat.ask_at is None
    assert schedule.next_at([seat]) is None
    assert schedule.due(schedule.at_once(seat, NOON + HOUR), NOON + HOUR), "a person may ask"


def test_a_seat_stays_lost_since_when_it_was_lost() -> None:
    seat = failed(failed(held(), DENIED), AWAY, after=2 * HOUR)
    assert seat.lost_at == NOON + timedelta(minutes=30)


# -- when something is to be done


def test_the_next_instant_is_that_of_the_first_seat() -> None:
    assert schedule.next_at([held(), held(2 * HOUR)]) == NOON + timedelta(minutes=30)
    assert schedule.next_at([]) is None


def test_the_expiration_of_a_failing_seat_is_an_instant_of_its_own() -> None:
    seat = replace(failed(held()), ask_at=NOON + 2 * HOUR)
    assert schedule.next_at([seat]) == NOON + HOUR
    assert schedule.next_at([replace(held(), ask_at=NOON + 2 * HOUR)]) == NOON + 2 * HOUR
