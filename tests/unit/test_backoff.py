"""Waits grow by doubling, are spread by chance, and keep within floor and maximum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.backoff import ceiling_seconds, full_jitter_seconds

ATTEMPTS = st.integers(0, 100_000)
CHANCES = st.floats(0, 1, exclude_max=True)


def test_the_ceiling_doubles_up_to_the_maximum() -> None:
    assert [ceiling_seconds(attempt, first=2, most=30) for attempt in range(6)] == [2, 4, 8, 16, 30, 30]


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 0.0), (0.25, 4.0), (0.5, 8.0)])
def test_full_jitter_takes_any_part_of_the_ceiling(chance: float, seconds: float) -> None:
    assert full_jitter_seconds(3, chance, first=2, most=30) == seconds


@given(ATTEMPTS, CHANCES, st.floats(0, 1000))
def test_a_wait_is_between_floor_and_maximum(attempt: int, chance: float, floor: float) -> None:
    wait = full_jitter_seconds(attempt, chance, first=1, most=60, floor=floor)
    assert floor <= wait <= max(60, floor)


def test_a_floor_above_the_maximum_wins() -> None:
    assert full_jitter_seconds(0, 0.9, first=1, most=60, floor=300) == 300
