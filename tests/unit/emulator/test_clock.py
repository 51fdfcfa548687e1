"""A clock over another one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from sidecar.emulator.clock import SPEED_MAX, EmulatedClock
from sidecar.emulator.refusals import BadCommand

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
LEAP_DAY = datetime(2028, 2, 29, 12, 0, tzinfo=UTC)


class Hand:
    """The real time, moved by hand: both of its readings."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return 50.0 + self.seconds


def test_until_it_is_moved_it_is_the_real_one() -> None:
    real = Hand()
    clock = EmulatedClock(real)
    clock.set(speed=1)
    real.seconds = 7
    assert (clock.now(), clock.monotonic(), clock.speed) == (real.now(), real.monotonic(), 1)


def test_it_runs_on_from_where_it_was_put() -> None:
    real = Hand()
    clock = EmulatedClock(real, start=LEAP_DAY, speed=60)
    real.seconds = 2.5
    assert clock.now() == LEAP_DAY + timedelta(seconds=150)
    assert clock.as_json() == {"now": clock.now().timestamp(), "speed": 60}


def test_a_change_of_speed_is_no_jump() -> None:
    real = Hand()
    clock = EmulatedClock(real)
    real.seconds = 10
    clock.set(speed=3600)
    assert clock.now() == real.now()
    real.seconds = 11
    clock.set(speed=0)
    real.seconds = 99
    assert clock.now() == NOON + timedelta(seconds=10, hours=1)


def test_a_jump_is_no_change_of_speed() -> None:
    real = Hand()
    clock = EmulatedClock(real, speed=10)
    clock.set(now=LEAP_DAY)
    real.seconds = 1
    assert clock.now() == LEAP_DAY + timedelta(seconds=10)


def test_it_can_be_put_back() -> None:
    clock = EmulatedClock(Hand(), start=LEAP_DAY)
    clock.set(now=NOON.astimezone(timezone(timedelta(hours=5))))
    assert (clock.now(), clock.now().tzinfo) == (NOON, UTC)


@pytest.mark.parametrize("speed", [-0.1, SPEED_MAX + 1, float("nan"), float("inf")])
def test_a_speed_no_calendar_can_bear_is_refused(speed: float) -> None:
    clock = EmulatedClock(Hand(), start=LEAP_DAY)
    with pytest.raises(BadCommand, match=r"^speed: must be 0 to 100000"):
        clock.set(now=NOON, speed=speed)
    assert clock.now() == LEAP_DAY
