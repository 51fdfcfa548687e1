"""Write what the simulation found as a section of a page, and as plots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from tests.fleet.hours import HourResult
from tests.fleet.scenarios import Metering, Starting, StartResult
from tests.fleet.svg import plot

BEGIN: Final = "<!-- made by python -m tests.fleet --write: begin -->"
END: Final = "<!-- made by python -m tests.fleet --write: end -->"
Rows = Sequence[Sequence[str]]


def seconds(value: float) -> str:
    """Return seconds as a person reads them."""
    return f"{value:,.0f} s".replace(",", " ")


def start_row(rule: str, found: StartResult) -> list[str]:
    """Return a row of the table of fleets that start."""
    scenario, (median, worst) = found.scenario, found.others_seconds
    return [
        scenario.name,
        f"{scenario.rate:g}",
        rule,
        seconds(scenario.ideal),
        f"{seconds(found.seconds)} ({found.ratio:.2f})",
        f"{found.calls:.1f} ({found.most_calls})",
        seconds(found.worst_seconds),
        f"{seconds(median)}, {seconds(worst)}",
    ]


START_HEAD: Final = (
    "Fleet",
    "Calls a second",
    "Rule",
    "Ideal",
    "All entitled (× ideal)",
    "Calls a pod (most)",
    "Worst pod waits",
    "Second product waits: median, longest",
)


def range_row(scenario: Starting, ratios: Sequence[float]) -> list[str]:
    """Return a row of the table of several seeds."""
    values = (min(ratios), median(ratios), max(ratios))
    return [scenario.name, f"{scenario.rate:g}", *(f"{value:.2f}" for value in values)]


RANGE_HEAD: Final = ("Fleet", "Calls a second", "Least", "Median", "Most")


def hour_rows(scenario: Metering, found: Sequence[HourResult]) -> Iterator[list[str]]:
    """Yield the rows of a fleet that meters: the first hour, and the last."""
    records = scenario.pods * scenario.dimensions
    for number in sorted({0, len(found) - 1}):
        hour = found[number]
        yield [
            scenario.name,
            f"{10 * scenario.times:g}",
            f"{number + 1}",
            seconds(scenario.ideal),
            seconds(hour.taken[-1]),
            f"{hour.calls / records:.2f} ({hour.most_calls})",
            f"{hour.late}",
        ]


HOUR_HEAD: Final = (
    "Fleet",
    "Calls a second",
    "Hour",
    "Ideal after the hour",
    "All taken after the hour",
    "Calls a record (most)",
    "Records too late",
)


def table(head: Sequence[str], rows: Rows) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_section(page: Path, text: str) -> None:
    """Put the text between the marks of a page. Raises ValueError where there are none."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page}: must have a line {BEGIN} and, after it, a line {END}")
    page.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}", encoding="utf-8")


def start_plot(found: dict[str, StartResult]) -> str:
    """Return how a fleet comes in under each rule, and the ideal."""
    scenario = next(iter(found.values())).scenario
    pods = scenario.pods
    curves = {
        rule: [(at - scenario.down, 100 * (number + 1) / pods) for number, at in enumerate(one.start.order)]
        for rule, one in found.items()
    }
    curves["ideal"] = [(0.0, 0.0), (scenario.ideal, 100.0)]
    title = f"{scenario.name}, {scenario.rate:g} calls a second"
    return plot(title, "seconds", "pods entitled, %", curves, 1.3 * scenario.ideal, 100)


def hours_plot(scenario: Metering, found: dict[str, HourResult]) -> str:
    """Return how AWS takes the records of some hours."""
    records = scenario.pods * scenario.dimensions
    curves = {
        name: [(at / 60, 100 * (number + 1) / records) for number, at in enumerate(hour.taken)]
        for name, hour in found.items()
    }
    title = f"{scenario.name}, {10 * scenario.times:g} calls a second"
    return plot(title, "minutes after the hour", "records taken, %", curves, 25, 100)
