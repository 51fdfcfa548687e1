"""Turns paired samples into ratios, holds them against the goals, and prints them.

A ratio is baseline divided by ours within one round; above 1 we are better. Only the median ratio
is judged. Absolute numbers say what this machine did today.
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
from typing import Final

from lib import Setup, add_arguments, fake_aws, setup_from


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Ratios: below `floor` nothing is shipped, `goal` is what we mean to reach."""

    floor: float
    goal: float | None = None


GOALS: Final = {
    "C1": Goal(floor=1.5, goal=1.8),
    "C2": Goal(floor=1.5, goal=1.7),
    "C3": Goal(floor=1.5, goal=1.8),
    "C4": Goal(floor=2.5, goal=3.5),
    "M1": Goal(floor=2.5, goal=3.5),
    "M3": Goal(floor=1.0),
    "D1": Goal(floor=1 / 1.1),  # at most ten percent above the baseline
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
    rounds: int = 0
    skipped: str = ""

    @property
    def goal(self) -> Goal | None:
        return GOALS.get(self.measure) if self.gated else None

    @property
    def verdict(self) -> str:
        if self.skipped:
            return "skipped"
        if self.goal is None or self.ratio is None:
            return "info"
        if self.ratio < self.goal.floor:
            return "FAIL"
        return "pass" if self.goal.goal is None or self.ratio >= self.goal.goal else "pass (floor)"


def compare(measure: str, what: str, unit: str, pairs: Sequence[tuple[float, float]], *, gated: bool = True) -> Row:
    """The row of (baseline, ours) samples taken in the same round."""
    ratios = [baseline / ours if ours else float("inf") for baseline, ours in pairs]
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


def skipped(measure: str, what: str, unit: str, why: str) -> Row:
    return Row(measure=measure, what=what, unit=unit, skipped=why)


HEAD: Final = ("measure", "what", "baseline", "ours", "ratio (median, min–max)", "floor", "goal", "verdict")


def _cells(row: Row) -> tuple[str, ...]:
    def amount(value: float | None) -> str:
        return "–" if value is None else f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f} {row.unit}"

    def times(value: float | None) -> str:
        return "–" if value is None else f"{value:.2f}x"

    spread = f"{times(row.ratio)} ({times(row.ratio_min)}–{times(row.ratio_max)}, n={row.rounds})"
    floor, goal = (row.goal.floor, row.goal.goal) if row.goal else (None, None)
    return (
        row.measure, row.what, amount(row.baseline), amount(row.ours), row.skipped or spread,
        times(floor), times(goal), row.verdict,
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
    name, shown = Path(sys.argv[0]).name, ("gunicorn", "boto3", "flask")
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
            rows += measure(setup)
    return show(rows, options)
