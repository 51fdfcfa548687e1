"""Counters that grow and fall, levels over time: what is counted, and what is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.metering.quantities import QuantityOutOfRange, micros_to_decimal
from sidecar.metering.readings import GAP_MAX, Reading, counter_increase, level_integral, level_micros

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def reading(value: str, seconds: float = 0, note: str = "", rest: str = "0") -> Reading:
    at = NOON + timedelta(seconds=seconds)
    return Reading(series="[]", value=Decimal(value), at=at, note=note, rest=Decimal(rest))


def counted(*values: str, from_zero: bool = False) -> Decimal:
    """Return what a counter comes to that is read to be each of these in turn."""
    before: Reading | None = None
    total = Decimal(0)
    for value in values:
        micros, before = counter_increase(before, reading(value), from_zero=from_zero)
        total += micros_to_decimal(micros)
    return total


def test_a_counter_counts_what_it_grew_by() -> None:
    assert counted("100", "107", "107", "120.5") == Decimal("20.5")


def test_what_a_counter_was_before_is_not_counted_unless_it_began_here() -> None:
    assert counted("100", "101") == 1
    assert counted("100", "101", from_zero=True) == 101


def test_a_counter_that_fell_began_at_zero() -> None:
    assert counted("100", "110", "3", "5") == 15


def test_a_counter_that_only_stands_still_counts_nothing() -> None:
    assert counted("100", "100", "100") == 0


def test_a_counter_that_was_created_later_began_at_zero_though_it_is_higher() -> None:
    _, before = counter_increase(None, reading("5", note="1000.25"), from_zero=False)
    assert counter_increase(before, reading("9", note="1000.25"), from_zero=False)[0] == 4_000_000
    assert counter_increase(before, reading("9", note="2000.5"), from_zero=False)[0] == 9_000_000


def test_an_earlier_or_a_missing_creation_is_no_new_beginning() -> None:
    _, before = counter_increase(None, reading("5", note="1000.25"), from_zero=False)
    for note in ("999", ""):
        assert counter_increase(before, reading("9", note=note), from_zero=False)[0] == 4_000_000


def test_what_is_below_a_millionth_waits_and_is_counted_later() -> None:
    micros, kept = counter_increase(reading("0"), reading("0.0000004"), from_zero=False)
    assert (micros, kept.rest) == (0, Decimal("0.0000004"))
    micros, kept = counter_increase(kept, reading("0.0000012"), from_zero=False)
    assert (micros, kept.rest) == (1, Decimal("0.0000002"))


def test_what_one_event_cannot_carry_is_counted_later() -> None:
    micros, kept = counter_increase(reading("0"), reading("25000000000"), from_zero=False)
    again, kept = counter_increase(kept, reading("25000000000"), from_zero=False)
    last, kept = counter_increase(kept, reading("25000000000"), from_zero=False)
    assert micros_to_decimal(micros + again + last) == 25_000_000_000
    assert kept.rest == 0


@given(st.lists(st.decimals(min_value=0, max_value=10**12, places=9), min_size=1, max_size=12))
def test_nothing_is_lost_however_often_a_counter_is_read(steps: list[Decimal]) -> None:
    before, value, total = reading("0"), Decimal(0), 0
    for step in steps:
        value += step
        micros, before = counter_increase(before, reading(f"{value:f}"), from_zero=False)
        total += micros
    assert micros_to_decimal(total) + before.rest == value


def test_a_level_counts_the_time_it_was_held() -> None:
    micros, kept, _ = level_integral(reading("4"), reading("10", seconds=90))
    assert micros_to_decimal(micros) == Decimal("0.1")
    assert kept.value == 10


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 600_000_000)), min_size=1, max_size=12))
def test_an_integral_is_exact_over_any_number_of_readings(steps: list[tuple[int, int]]) -> None:
    before, at, total, area = reading("3"), NOON, 0, 0
    for value, microseconds in steps:
        area += int(before.value) * microseconds
        at += timedelta(microseconds=microseconds)
        micros, before, gap = level_integral(before, Reading(series="[]", value=Decimal(value), at=at))
        assert not gap
        total += micros
    assert total * 3600 + before.rest == area


def test_a_gap_is_not_invented() -> None:
    late = GAP_MAX + timedelta(seconds=1)
    micros, kept, gap = level_integral(reading("4", rest="7"), reading("5", seconds=late.total_seconds()))
    assert (micros, kept.rest, gap) == (0, 7, late)
    assert level_integral(reading("6"), reading("6", seconds=GAP_MAX.total_seconds()))[::2] == (1_000_000, timedelta(0))


def test_a_clock_that_was_set_back_counts_nothing() -> None:
    assert level_integral(reading("4", seconds=60), reading("4"))[0] == 0


def test_a_first_reading_of_a_level_counts_nothing_yet() -> None:
    assert level_integral(None, reading("4"))[0] == 0


def test_a_level_is_cut_to_a_millionth_and_never_above_what_an_event_carries() -> None:
    assert level_micros(Decimal("1.2345679")) == 1_234_567
    with pytest.raises(QuantityOutOfRange):
        level_micros(Decimal("10000000000"))
