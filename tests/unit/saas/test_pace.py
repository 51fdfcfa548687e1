"""Calls leave at most ten times a second, however fast or slow AWS answers."""

from __future__ import annotations

import pytest

from sidecar.saas.pace import Pace
from tests.fakes.clock import FakeClock

QUOTA = 10
"""Calls a second, of an account and region (AWS Marketplace service quotas)."""


def leaving(chance: float, answer_seconds: float, calls: int) -> list[float]:
    """Return when each call leaves where each is answered after so long."""
    clock, left = FakeClock(), []
    pace = Pace(clock.monotonic, clock.advance, lambda: chance)
    for _ in range(calls):
        pace.wait()
        left.append(clock.monotonic())
        clock.advance(answer_seconds)
    return left


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
@pytest.mark.parametrize("answer_seconds", [0.0, 0.03, 0.0999, 0.4])
def test_no_second_has_more_calls_than_the_quota(chance: float, answer_seconds: float) -> None:
    left = leaving(chance, answer_seconds, 100)
    most = max(sum(at <= one < at + 0.999999 for one in left) for at in left)
    assert most <= QUOTA
    assert most >= min(QUOTA * 0.7, 1 / max(answer_seconds, 0.1)) - 1, "and no fewer than the quota wants"


def test_a_call_that_was_slow_is_followed_at_once() -> None:
    first, second = leaving(0.0, 5.0, 2)
    assert second - first == 5.0


def test_a_pause_is_not_made_up_for_by_a_burst() -> None:
    clock = FakeClock()
    pace = Pace(clock.monotonic, clock.advance, lambda: 0.0)
    pace.wait()
    clock.advance(60)
    pace.wait()
    before = clock.monotonic()
    pace.wait()
    assert clock.monotonic() - before == pytest.approx(0.1)
