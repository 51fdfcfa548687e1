"""A wall clock that moves by itself is noticed, one that goes on is not."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sidecar.clock import JUMP, ClockJumpDetector
from tests.fakes.clock import FakeClock


def test_the_first_look_has_nothing_to_compare() -> None:
    assert ClockJumpDetector().check(FakeClock().now(), 5.0) is None


@pytest.mark.parametrize("moved", [timedelta(hours=3), -timedelta(hours=3), JUMP, -JUMP])
def test_a_clock_that_was_set_is_seen_at_the_next_look_and_once(moved: timedelta) -> None:
    clock, jumps = FakeClock(), ClockJumpDetector()
    jumps.check(clock.now(), clock.monotonic())
    clock.advance(30)
    clock.at += moved
    assert jumps.check(clock.now(), clock.monotonic()) == moved
    clock.advance(30)
    assert jumps.check(clock.now(), clock.monotonic()) is None


@pytest.mark.parametrize("seconds", [0.0, 30.0, 3600.0])
def test_time_that_passes_is_no_jump(seconds: float) -> None:
    clock, jumps = FakeClock(), ClockJumpDetector()
    jumps.check(clock.now(), clock.monotonic())
    clock.advance(seconds)
    clock.at += JUMP - timedelta(milliseconds=1)
    assert jumps.check(clock.now(), clock.monotonic()) is None
