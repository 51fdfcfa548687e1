"""The last 48 hours of a dimension become two days of bars on one scale, and rows."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from sidecar.api.page import chart
from sidecar.metering import hours
from sidecar.metering.hours import Hour
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from tests.fakes.clock import NOON
from tests.unit.api.page.samples import record


def only(*records: object, dimensions: tuple[str, ...] = ("requests",)) -> chart.Chart:
    (found,) = chart.charts(dimensions, records, NOON)  # type: ignore[arg-type]
    return found


def test_the_newest_hour_is_the_last_bar_of_the_second_day() -> None:
    first, second = only(record(0, State.OPEN)).panels
    assert not first.bars
    assert second.bars[0].x == chart.WIDTH - chart.SLOT + (chart.SLOT - chart.BAR) / 2


def test_the_oldest_hour_is_the_first_bar_of_the_first_day() -> None:
    first, second = only(record(chart.HOURS - 1, State.SETTLED)).panels
    assert (first.bars[0].x, second.bars) == ((chart.SLOT - chart.BAR) / 2, [])


@pytest.mark.parametrize("hours_ago", [chart.HOURS, chart.HOURS + 500, -1])
def test_an_hour_outside_is_not_drawn(hours_ago: int) -> None:
    found = only(record(hours_ago, State.SETTLED))
    assert (found.rows, [panel.bars for panel in found.panels]) == ([], [[], []])


def test_both_days_share_one_scale() -> None:
    first, second = only(record(30, State.SETTLED, "100"), record(3, State.SETTLED, "25")).panels
    assert (first.bars[0].height, second.bars[0].height) == (chart.PLOT, chart.PLOT / 4)


def test_a_small_quantity_is_visible_and_zero_is_lower() -> None:
    found = only(
        record(3, State.SETTLED, "1000000"), record(2, State.SETTLED, "0.000001"), record(1, State.SETTLED, "0")
    )
    assert [bar.height for bar in found.panels[1].bars] == [chart.PLOT, chart.LEAST, chart.ZERO]


def test_hours_of_nothing_but_zero_are_drawn() -> None:
    assert [bar.height for bar in only(record(1, State.SETTLED, "0")).panels[1].bars] == [chart.ZERO]


def test_every_state_has_words_and_all_but_two_fills_a_mark() -> None:
    assert set(chart.MARKS) == set(chart.WORDS) == set(State)
    marks = [mark for mark in chart.MARKS.values() if mark]
    assert len(set(marks)) == len(marks) == len(State) - 1


def test_a_dimension_without_usage_has_a_chart_that_says_so() -> None:
    assert only().summary == "No usage in the last 48 hours."


def test_a_dimension_that_is_no_longer_configured_is_drawn_too() -> None:
    found = chart.charts(["requests"], [record(1, State.SEALED, dimension="old")], NOON)
    assert [one.dimension for one in found] == ["requests", "old"]


def test_the_summary_counts_the_states() -> None:
    found = only(record(2, State.SETTLED, "7"), record(1, State.SETTLED, "9"), record(0, State.OPEN, "1"))
    assert found.summary == "3 hours with usage in the last 48: 1 open, 2 settled. Highest: 9."
    assert [one.quantity for one in found.rows] == [Decimal(1), Decimal(9), Decimal(7)]


def test_the_legend_has_the_states_that_are_shown() -> None:
    assert chart.states_in([only(record(1, State.DISPUTED), record(0, State.OPEN))]) == [State.OPEN, State.DISPUTED]


def test_short_periods_are_rows_without_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_length", "_micros"):
        monkeypatch.setattr(hours, name, getattr(hours, name))
    hours.use_short_periods()
    recent = [replace(record(0, State.SETTLED), hour=Hour.at(NOON - timedelta(minutes=ago))) for ago in (1, 2)]
    found = only(*recent)
    assert (len(found.rows), found.panels) == (2, [])
    assert found.summary.startswith("2 short periods with usage in the last 48 hours: 2 settled.")
