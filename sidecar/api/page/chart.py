"""Lay out the last 48 hours of each dimension as bars, and the same hours as rows of a table.

Invariants:
- Each state has a mark or a fill of its own besides its colour, and a word in the table.
- The bars of a dimension share one scale, so that its two days can be compared.
- Records of other hours change nothing here.
- Where periods are short (AgentCore Runtime) there are no bars: 48 of them would show one period in 360.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sidecar.metering.hours import ONE_HOUR, Hour, period
from sidecar.metering.quantities import plain
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass

PANEL_HOURS: Final = 24
HOURS: Final = 2 * PANEL_HOURS
TICK_HOURS: Final = 6

# In units of the drawing; a panel of 24 hours fits a telephone at about one pixel each.
SLOT: Final = 14
BAR: Final = 10
TOP: Final = 18
"""Above the highest bar, for its mark."""
PLOT: Final = 72
AXIS: Final = 22
LEAST: Final = 3.0
"""Height of a quantity that is not zero, however small."""
ZERO: Final = 1.0

MARKS: Final[Mapping[State, str]] = {
    State.OPEN: "…",
    State.SEALED: "↑",
    State.SETTLED: "",
    State.DISPUTED: "≠",
    State.EXPIRED: "!",
    State.REJECTED: "×",
    State.ROLLED_FORWARD: "→",
}
"""Above a bar."""
WORDS: Final[Mapping[State, str]] = {
    State.OPEN: "open: still counting",
    State.SEALED: "sealed: waits for AWS",
    State.SETTLED: "settled: AWS has it",
    State.DISPUTED: "disputed: AWS has another quantity",
    State.EXPIRED: "expired: too late for AWS",
    State.REJECTED: "rejected: waits for a person",
    State.ROLLED_FORWARD: "rolled forward: counted in a later hour",
}


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One hour of one dimension."""

    x: float
    y: float
    height: float
    state: State
    mark: str
    title: str


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A label of the time axis."""

    x: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One day."""

    title: str
    bars: Sequence[Bar]
    ticks: Sequence[Tick]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """The last hours of one dimension."""

    dimension: str
    panels: Sequence[Panel]
    peak: str
    summary: str
    """The same in a sentence."""
    rows: Sequence[UsageRecord]
    """The newest hour first."""


WIDTH: Final = SLOT * PANEL_HOURS
HEIGHT: Final = TOP + PLOT + AXIS
BASE: Final = TOP + PLOT


def first_hour(now: datetime) -> Hour:
    """Return the oldest hour that is drawn."""
    return Hour(Hour.at(now).start - timedelta(hours=HOURS - 1))


def charts(dimensions: Iterable[str], records: Iterable[UsageRecord], now: datetime) -> list[Chart]:
    """Return a chart for each of these dimensions, and for each other one that has records in these hours."""
    first, last = first_hour(now), Hour.at(now)
    found: dict[str, dict[Hour, UsageRecord]] = {name: {} for name in dimensions}
    for record in records:
        if first <= record.hour <= last:
            found.setdefault(record.dimension, {})[record.hour] = record
    return [_chart(name, of_hours, first) for name, of_hours in found.items()]


def states_in(found: Iterable[Chart]) -> list[State]:
    """Return the states that the charts show, for their legend."""
    shown = {record.state for one in found for record in one.rows}
    return [state for state in State if state in shown]


def _chart(dimension: str, of_hours: Mapping[Hour, UsageRecord], first: Hour) -> Chart:
    peak = max((record.quantity for record in of_hours.values()), default=Decimal(0))
    starts = (first, Hour(first.start + timedelta(hours=PANEL_HOURS))) if period() == ONE_HOUR else ()
    rows = [of_hours[hour] for hour in sorted(of_hours, reverse=True)]
    return Chart(
        dimension=dimension,
        panels=[_panel(of_hours, start, peak) for start in starts],
        peak=plain(peak),
        summary=_summary(rows, peak),
        rows=rows,
    )


def _panel(of_hours: Mapping[Hour, UsageRecord], first: Hour, peak: Decimal) -> Panel:
    hours = [Hour(first.start + timedelta(hours=number)) for number in range(PANEL_HOURS)]
    bars = [_bar(of_hours[hour], at * SLOT, peak) for at, hour in enumerate(hours) if hour in of_hours]
    ticks = [
        Tick(x=at * SLOT + SLOT / 2, label=_tick(hour))
        for at, hour in enumerate(hours)
        if hour.start.hour % TICK_HOURS == 0
    ]
    title = f"{hours[0].start:%d %b %H:%M} to {hours[-1].end:%d %b %H:%M} UTC"
    return Panel(title=title, bars=bars, ticks=ticks)


def _bar(record: UsageRecord, left: float, peak: Decimal) -> Bar:
    height = max(LEAST, float(record.quantity / peak) * PLOT) if record.quantity else ZERO
    return Bar(
        x=left + (SLOT - BAR) / 2,
        y=round(BASE - height, 1),
        height=round(height, 1),
        state=record.state,
        mark=MARKS[record.state],
        title=f"{record.hour.start:%d %b %H:%M} UTC: {plain(record.quantity)}, {WORDS[record.state]}",
    )


def _tick(hour: Hour) -> str:
    return f"{hour.start:%d %b}" if hour.start.hour == 0 else f"{hour.start:%H}"


def _summary(rows: Sequence[UsageRecord], peak: Decimal) -> str:
    if not rows:
        return f"No usage in the last {HOURS} hours."
    counts = {state: sum(record.state is state for record in rows) for state in State}
    states = ", ".join(f"{count} {state.value.replace('_', ' ')}" for state, count in counts.items() if count)
    what, span = ("hour", f"{HOURS}") if period() == ONE_HOUR else ("short period", f"{HOURS} hours")
    counted = f"1 {what}" if len(rows) == 1 else f"{len(rows)} {what}s"
    return f"{counted} with usage in the last {span}: {states}. Highest: {plain(peak)}."
