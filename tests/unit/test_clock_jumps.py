"""A wall clock that moves by itself is noticed, one that goes on is not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sidecar.clock_jumps import LEAP, Leaps
from tests.fakes import FakeClock


def test_the_first_look_has_nothing_to_compare() -> None:
    assert Leaps().seen(FakeClock().now(), 5.0) is None


@pytest.mark.parametrize("moved", [timedelta(hours=3), -timedelta(hours=3), LEAP, -LEAP])
def test_a_clock_that_was_set_is_seen_at_the_next_look_and_once(moved: timedelta) -> None:
    clock, leaps = FakeClock(), Leaps()
    leaps.seen(clock.now(), clock.monotonic())
    clock.advance(30)
    clock.at += moved
    assert leaps.seen(clock.now(), clock.monotonic()) == moved
    clock.advance(30)
    assert leaps.seen(clock.now(), clock.monotonic()) is None


@pytest.mark.parametrize("seconds", [0.0, 30.0, 3600.0])
def test_time_that_passes_is_no_leap(seconds: float) -> None:
    clock, leaps = FakeClock(), Leaps()
    leaps.seen(clock.now(), clock.monotonic())
    clock.advance(seconds)
    clock.at += LEAP - timedelta(milliseconds=1)
    assert leaps.seen(clock.now(), clock.monotonic()) is None
