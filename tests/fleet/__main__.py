"""Simulate fleets against AWS's quotas: `python -m tests.fleet`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.arguments import positive_integer
from tests.fleet import report
from tests.fleet.scenarios import (
    AT_ONCE,
    BACK,
    HOURLY,
    HOURLY_BACK,
    HOURLY_BEFORE,
    HOURLY_MORE,
    LONGER,
    MINUTE,
    OVER_AN_HOUR,
    RULES,
    SIDECAR,
    SMALLER,
    TOLD,
    Starting,
    StartResult,
)

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGE: Final = DOCS / "reference" / "evidence.md"
START_PLOT: Final = DOCS / "images" / "fleet-start.svg"
HOURS_PLOT: Final = DOCS / "images" / "fleet-hours.svg"
SEED: Final = 1


def rules_of(scenario: Starting) -> Iterator[str]:
    """Yield the rules that a fleet is tried with: the largest takes too long with the others."""
    yield SIDECAR
    if scenario.pods <= 10_000:
        yield MINUTE
    if scenario.pods <= 10_000 and not scenario.down:
        yield LONGER
        yield TOLD


def main(arguments: list[str]) -> int:
    """Print the tables, and with `--write` put them and the plots into the documentation."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet", description=__doc__)
    parser.add_argument("--seed", type=int, default=SEED, help="the same seed gives the same numbers (%(default)s)")
    parser.add_argument(
        "--write",
        action="store_true",
        help="put the tables into docs/reference/evidence.md, and the plots into docs/images",
    )
    parser.add_argument("--largest", action="store_true", help="also 100 000 pods against 5 calls a second: a minute")
    parser.add_argument(
        "--seeds", type=positive_integer, default=1, help="also the range of the first N seeds (%(default)s)"
    )
    given = parser.parse_args(arguments)
    starts: list[list[str]] = []
    shown: dict[str, StartResult] = {}
    for scenario in (*SMALLER, *AT_ONCE, *BACK, *OVER_AN_HOUR[0 if given.largest else 1 :]):
        for rule in rules_of(scenario):
            found = scenario.run(RULES[rule](scenario), given.seed)
            starts.append(report.start_row(rule, found))
            print("\t".join(starts[-1]), flush=True)
            if scenario is AT_ONCE[0]:
                shown[rule] = found
    hours: list[list[str]] = []
    curves = {}
    for metering in (*HOURLY, HOURLY_BEFORE, HOURLY_MORE, HOURLY_BACK):
        results = metering.run(given.seed)
        hours += report.hour_rows(metering, results)
        print("\n".join("\t".join(row) for row in hours[-2:]), flush=True)
        if metering is HOURLY[0]:
            curves = {"first hour": results[0], "fourth hour": results[-1]}
        if metering is HOURLY_BEFORE:
            curves["each as if alone"] = results[-1]
    ranges: list[list[str]] = []
    for scenario in (*SMALLER, *AT_ONCE, *BACK) if given.seeds > 1 else ():
        ratios = [scenario.run(RULES[SIDECAR](scenario), seed).ratio for seed in range(1, given.seeds + 1)]
        ranges.append(report.range_row(scenario, ratios))
        print("\t".join(ranges[-1]), flush=True)
    if given.write:
        START_PLOT.write_text(report.start_plot(shown), encoding="utf-8")
        HOURS_PLOT.write_text(report.hours_plot(HOURLY[0], curves), encoding="utf-8")
        text = f"Seed {given.seed}. Fleets that start:\n\n{report.table(report.START_HEAD, starts)}\n"
        if ranges:
            text += f"Seeds 1 to {given.seeds}, the sidecar's rule. All entitled, times the ideal:\n\n"
            text += f"{report.table(report.RANGE_HEAD, ranges)}\n"
        text += f"Fleets that meter:\n\n{report.table(report.HOUR_HEAD, hours)}"
        report.write_section(PAGE, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
