"""Turns paired samples into ratios, holds them against the goals, and prints them.

A ratio is baseline divided by ours within one round, or ours divided by baseline where more is better;
above 1 we are better. The median ratio is judged. Other absolute numbers say what this machine did
today, except where a goal says so: what a ledger holds per event is a property of the design.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final, Literal

from lib import Setup, add_arguments, fake_aws, setup_from


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Below `floor` nothing is shipped, `goal` is what we mean to reach."""

    floor: float | None = None
    goal: float | None = None
    limit: float | None = None
    """Of a ratio's goal: ours must be at most this, too."""
    judged: Literal["ratio", "at most", "at least"] = "ratio"
    """`at most`, `at least`: floor and goal are for ours, not for the ratio."""

    def reached(self, row: Row, threshold: float | None) -> bool:
        """Whether the median of a row is on the good side; what is not a number never is."""
        if threshold is None:
            return True
        if self.judged == "ratio":
            return row.ratio is not None and row.ratio >= threshold
        if row.ours is None:
            return False
        return row.ours <= threshold if self.judged == "at most" else row.ours >= threshold

    def within(self, row: Row) -> bool:
        return self.limit is None or (row.ours is not None and row.ours <= self.limit)


GOALS: Final = {
    "C1": Goal(floor=1.8, goal=2.6),
    "C2": Goal(floor=1.5, goal=1.7),
    "C3": Goal(floor=1.8, goal=2.0),
    "C4": Goal(floor=3.5, goal=4.5),
    "M1": Goal(floor=3.5, goal=4.2, limit=15.0),
    "M2": Goal(floor=3.0, goal=3.5, limit=21.0),
    "M2+": Goal(goal=0.5, judged="at most"),
    "M3": Goal(floor=50.0, goal=36.0, judged="at most"),
    "I1": Goal(floor=2.0, goal=10.0),
    "I2": Goal(floor=2.0, goal=3.0),
    "I3/16": Goal(floor=4.0, goal=8.0),
    "I3/64": Goal(floor=8.0, goal=30.0),
    "I4": Goal(floor=36.0, goal=32.0, judged="at most"),
    "I5": Goal(floor=0.8, goal=0.9, judged="at least"),
    "I6": Goal(floor=0.0, judged="at most"),
    "P1": Goal(floor=1.5, goal=10.0, limit=1.0),
    "P2": Goal(goal=4.0, limit=2.0),
    "Q1": Goal(floor=1.05, judged="at most"),  # one for each commit; checkpoints add up to a twentieth
    "Q1/ack": Goal(floor=1.0, judged="at most"),
    "H1": Goal(goal=1 / 1.3),  # at most 1.3 times a bare interpreter
    "D1": Goal(floor=1 / 1.1, goal=10.0),  # a tenth of the wake-ups and of the CPU
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One measure; `baseline`, `ours` and the ratios are None where it was skipped."""

    measure: str
    what: str
    unit: str
    gated: bool = True
    """False: printed, never judged."""
    baseline: float | None = None
    ours: float | None = None
    ratio: float | None = None
    ratio_min: float | None = None
    ratio_max: float | None = None
    ours_min: float | None = None
    ours_max: float | None = None
    """Where the number itself is judged, not the ratio."""
    rounds: int = 0
    skipped: str = ""
    broken: str = ""
    """Why a benchmark ended before it had a number."""

    @property
    def goal(self) -> Goal | None:
        return GOALS.get(self.measure) if self.gated else None

    @property
    def verdict(self) -> str:
        if self.broken:
            return "FAIL"
        if self.skipped:
            return "skipped"
        goal = self.goal
        if goal is None:
            return "info"
        if not goal.reached(self, goal.floor):
            return "FAIL"
        return "pass" if goal.reached(self, goal.goal) and goal.within(self) else "goal not reached"


def compare(
    measure: str,
    what: str,
    unit: str,
    pairs: Sequence[tuple[float, float]],
    *,
    gated: bool = True,
    more_is_better: bool = False,
) -> Row:
    """The row of (baseline, ours) samples taken in the same round."""
    ratios = [_ratio(ours, baseline) if more_is_better else _ratio(baseline, ours) for baseline, ours in pairs]
    return Row(
        measure=measure,
        what=what,
        unit=unit,
        gated=gated,
        baseline=median(baseline for baseline, _ in pairs),
        ours=median(ours for _, ours in pairs),
        ratio=median(ratios),
        ratio_min=min(ratios),
        ratio_max=max(ratios),
        rounds=len(pairs),
    )


def _ratio(above: float, below: float) -> float:
    return above / below if below else float("inf")


def absolute(measure: str, what: str, unit: str, pairs: Sequence[tuple[float, float]]) -> Row:
    """The row of a number that means something by itself."""
    ours = [one for _, one in pairs]
    return Row(
        measure=measure, what=what, unit=unit, rounds=len(pairs),
        baseline=median(one for one, _ in pairs), ours=median(ours), ours_min=min(ours), ours_max=max(ours),
    )  # fmt: skip


def skipped(measure: str, what: str, unit: str, why: str) -> Row:
    return Row(measure=measure, what=what, unit=unit, skipped=why)


BROKEN_SHOWN: Final = 100
"""Characters of a failure's first line; all of it goes to stderr."""
HEAD: Final = ("measure", "what", "baseline", "ours", "ratio (median, min–max)", "floor", "goal", "verdict")


def _cells(row: Row) -> tuple[str, ...]:
    def amount(value: float | None) -> str:
        return (
            "–" if value is None else f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {row.unit}".rstrip()
        )

    def times(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}x"

    spread = f"{times(row.ratio)} ({times(row.ratio_min)}–{times(row.ratio_max)}, n={row.rounds})"
    if row.ours_min is not None:
        spread = f"({amount(row.ours_min)}–{amount(row.ours_max)}, n={row.rounds})"
    elif row.ratio is None:
        spread = f"n={row.rounds}" if row.rounds else "–"
    floor = goal = "–"
    if row.goal and row.goal.judged == "ratio":
        floor, goal = times(row.goal.floor), times(row.goal.goal)
        goal += f", ≤ {row.goal.limit:g} {row.unit}" if row.goal.limit is not None else ""
    elif row.goal:
        sign = "≤" if row.goal.judged == "at most" else "≥"
        floor, goal = (
            "–" if value is None else f"{sign} {value:g} {row.unit}".rstrip()
            for value in (row.goal.floor, row.goal.goal)
        )
    return (
        row.measure, row.what, amount(row.baseline), amount(row.ours), row.skipped or row.broken or spread,
        floor, goal, row.verdict,
    )  # fmt: skip


def as_text(rows: Sequence[Row]) -> str:
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEAD))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)


def as_markdown(rows: Sequence[Row]) -> str:
    lines = [HEAD, tuple("---" for _ in HEAD), *(_cells(row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def context() -> dict[str, str | int]:
    """What made these numbers."""
    name, shown = Path(sys.argv[0]).name, ("gunicorn", "h11", "boto3", "flask")
    versions = " ".join(f"{package} {importlib.metadata.version(package)}" for package in shown)
    return {
        "command": shlex.join([os.environ.get("BENCH_COMMAND") or f"bench/{name}", *sys.argv[1:]]),
        "python": platform.python_version(),
        "cpus": os.cpu_count() or 0,
        "machine": f"{platform.system()} {platform.release()} {platform.machine()}",
        "packages": versions,
    }


def as_json(rows: Sequence[Row]) -> str:
    found = [asdict(row) | {"verdict": row.verdict, "goal": row.goal and asdict(row.goal)} for row in rows]
    return json.dumps({"context": context(), "rows": found}, indent=2)


def show(rows: Sequence[Row], options: argparse.Namespace) -> int:
    """Print in the asked form; 1 when a floor is missed."""
    made_by = "Made by `{command}`: Python {python}, {cpus} CPUs, {machine}, {packages}.".format(**context())
    if options.json:
        print(as_json(rows))
    elif getattr(options, "markdown", False):
        print(f"{as_markdown(rows)}\n\n{made_by}")
    else:
        print(f"{as_text(rows)}\n\n{made_by}")
    return int(any(row.verdict == "FAIL" for row in rows))


def _finished(measure: Callable[[Setup], list[Row]], setup: Setup) -> list[Row]:
    """Its rows, or one that says why there are none: what others measured before is not lost."""
    try:
        return measure(setup)
    except SystemExit as stop:
        if not isinstance(stop.code, str):
            raise
        name = Path(measure.__code__.co_filename).stem
        print(f"{name}: {stop.code}", file=sys.stderr)
        return [Row(measure=name, what="did not finish", unit="", broken=stop.code.partition("\n")[0][:BROKEN_SHOWN])]


def main(doc: str, *measures: Callable[[Setup], list[Row]]) -> int:
    """The command line that every benchmark shares."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser)
    parser.add_argument("--markdown", action="store_true", help="results as a Markdown table")
    options = parser.parse_args()
    setup = setup_from(options)
    rows: list[Row] = []
    with fake_aws(setup):
        for measure in measures:
            rows += _finished(measure, setup)
    return show(rows, options)
