"""Run seeds, each in a world of its own, and say what they found.

Invariants:
- The same seed does the same, in any process and beside any other: nothing is left from one world to the next.
- A list of steps that fails is shortened by running it again, from the same seed.
"""

from __future__ import annotations

import gc
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path

from sidecar.quick_dataclasses import dataclass, field
from tests.simulation.shrink import shrink
from tests.simulation.steps import Step, draw
from tests.simulation.violation import Violation
from tests.simulation.world import World

YEAR = timedelta(days=365)
MEMORY = Path("/dev/shm")
"""Where SQLite's files are, if it is there: what is simulated here is no disk's speed."""


@dataclass
class Outcome:
    """What one seed came to."""

    seed: int
    steps: list[Step] = field(default_factory=list)
    fault: str = ""
    """What did not hold; empty where everything did."""
    years: float = 0.0
    cpu_seconds: float = 0.0
    state: str = ""
    """Where the world was when something did not hold."""
    counts: dict[str, int] = field(default_factory=dict)

    def replay(self) -> str:
        """Return the arguments that do the same again."""
        return f"--seed {self.seed} --steps {','.join(map(str, self.steps))}"


def directory() -> Path:
    """Return a directory of this process for a world."""
    parent = MEMORY if os.access(MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    return parent / f"entitlement-simulation-{os.getpid()}"


def run(seed: int, years: float = 0.0, steps: Iterable[Step] | None = None) -> Outcome:
    """Run one seed for so many years, or exactly these steps."""
    level, collecting = logging.root.manager.disable, gc.isenabled()
    logging.disable(logging.CRITICAL)
    gc.disable()  # a life is short, and leaves little in circles
    began, outcome, where = time.process_time(), Outcome(seed), directory()
    try:
        with World(seed, where) as world:
            try:
                _steps(world, outcome, years, steps)
            except Violation as exc:
                outcome.fault, outcome.state = str(exc), world.dump()
            except Exception as exc:  # an error that nobody expected is a finding like a broken invariant
                outcome.fault, outcome.state = f"{type(exc).__name__}: {exc}", world.dump()
            outcome.years = world.age / YEAR
            outcome.counts = {
                "steps": len(outcome.steps),
                "pods": world.pods,
                "starts": world.starts,
                "crashes": world.crashes,
                "pushes": world.pushes,
                "calls": world.aws.calls,
                "checks": world.auditor.checks,
                "calms": world.calms,
            }
    finally:
        logging.disable(level)
        if collecting:
            gc.enable()
        shutil.rmtree(where, ignore_errors=True)
    outcome.cpu_seconds = time.process_time() - began
    return outcome


def life(seed: int, years: float) -> Outcome:
    """Do the same, and keep the steps only of a seed that failed: ten thousand lives have millions."""
    outcome = run(seed, years)
    if not outcome.fault:
        outcome.steps = []
    return outcome


def _steps(world: World, outcome: Outcome, years: float, steps: Iterable[Step] | None) -> None:
    for step in draw(outcome.seed) if steps is None else steps:
        if steps is None and world.age >= years * YEAR:
            return
        outcome.steps.append(step)
        world.do(step)


def shortened(outcome: Outcome) -> Outcome:
    """Return the fewest steps of a failing seed that fail in the same way."""
    kind = outcome.fault.partition(":")[0]

    def fails(steps: Sequence[Step]) -> bool:
        return run(outcome.seed, steps=steps).fault.partition(":")[0] == kind

    return run(outcome.seed, steps=shrink(outcome.steps, fails))
