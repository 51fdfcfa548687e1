"""Simulate pod-years and say whether everything held: `python -m tests.simulation --seed N --years Y`.

A seed that fails is printed at once on stderr, with the command that runs it alone.

Exit codes: 0 everything held · 1 something did not, and the seed with the fewest steps is printed · 2 bad arguments.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from bench.arguments import positive_integer
from sidecar.quick_dataclasses import asdict
from tests.simulation.run import Outcome, life, run, shortened
from tests.simulation.steps import Step

LIFE_YEARS = 0.5
"""Of one seed: a volume with its pods. Many short lives find more than a few long ones, whose files only grow."""

LIVES_LINE = 200
"""Lives after which a line is printed where no terminal shows each."""


def main(arguments: list[str] | None = None) -> int:
    """Run what the arguments say, and print what it came to."""
    given = _parser().parse_args(arguments)
    if given.steps:
        return _report([run(given.seed, steps=given.steps)], given.json, 0.0)
    began = time.monotonic()
    lives = max(1, math.ceil(given.years / LIFE_YEARS))
    each = given.years / lives
    seeds = range(given.seed, given.seed + lives)
    outcomes: list[Outcome] = []
    with ProcessPoolExecutor(given.jobs) as pool:
        for outcome in pool.map(life, seeds, [each] * lives):
            outcomes.append(outcome)
            _progress(len(outcomes), lives, outcomes)
            if outcome.fault:
                _announce(outcome, each)
            if outcome.fault and not given.keep_going:
                pool.shutdown(cancel_futures=True)
                break
    return _report(outcomes, given.json, time.monotonic() - began)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed; each seed is the life of one volume")
    parser.add_argument("--years", type=_years, default=1.0, help="pod-years to simulate, over all seeds")
    parser.add_argument("--jobs", type=positive_integer, default=1, help="processes at once")
    parser.add_argument("--steps", type=_steps, help="do these steps, as a failing seed printed them")
    parser.add_argument("--keep-going", action="store_true", help="run every seed, also after one that fails")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    return parser


def _years(text: str) -> float:
    years = float(text)
    if not 0 < years <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is not above 0 and up to 1000000.")
    return years


def _steps(text: str) -> list[Step]:
    try:
        return [Step.parse(one) for one in text.split(",")]
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _progress(done: int, lives: int, outcomes: list[Outcome]) -> None:
    terminal = sys.stderr.isatty()
    if terminal or not done % LIVES_LINE:
        years = sum(one.years for one in outcomes)
        begin, end = ("\r", "\n" if done == lives else "") if terminal else ("", "\n")
        print(f"{begin}{done}/{lives} lives, {years:.1f} pod-years", end=end, file=sys.stderr, flush=True)


def _announce(outcome: Outcome, years: float) -> None:
    """Print a seed that fails while the others still run; its fewest steps follow at the end."""
    again = f"python -m tests.simulation --seed {outcome.seed} --years {years}"
    print(f"\nseed {outcome.seed} does not hold: {outcome.fault}\nagain: {again}", file=sys.stderr, flush=True)


def _report(outcomes: list[Outcome], as_json: bool, seconds: float) -> int:
    failed = [one for one in outcomes if one.fault]
    found = figures(outcomes, seconds)
    shortest = [shortened(one) for one in failed]
    if as_json:
        print(json.dumps({**found, "failed": [{**asdict(one), "replay": one.replay()} for one in shortest]}))
    else:
        print("  ".join(f"{name}: {value}" for name, value in found.items()))
        for one in shortest:
            print(
                f"\nseed {one.seed} does not hold: {one.fault}\n{one.state}\nagain: python -m tests.simulation"
                f" {one.replay()}"
            )
    return 1 if failed else 0


def figures(outcomes: list[Outcome], seconds: float) -> dict[str, object]:
    """Return what was run, by name; CPU time is that of the processes that ran it."""
    years, cpu = sum(one.years for one in outcomes), sum(one.cpu_seconds for one in outcomes)
    counts = {name: sum(one.counts.get(name, 0) for one in outcomes) for name in outcomes[0].counts}
    return {
        "seeds": f"{outcomes[0].seed}-{outcomes[-1].seed}",
        "failed": sum(bool(one.fault) for one in outcomes),
        "pod_years": round(years, 2),
        **counts,
        "cpu_seconds": round(cpu, 1),
        "seconds": round(seconds, 1),
        "pod_years_per_cpu_hour": round(3600 * years / cpu) if cpu else 0,
    }


if __name__ == "__main__":
    sys.exit(main())
