"""Fail each call of four short lives on one volume, one call at a time, for each kind of fault.

Invariants:
- The first life begins a ledger and is killed, the second opens what that left and closes it, the third opens what was
  closed. The fourth is another workload's: it takes over what is left.
- A life does one thing after the other, so that the same number is the same call each time. All calls count: opening,
  pushing, sealing, settling, closing, the kept files; with EIO those that read, too.
- After each the files are judged as they are, and after two power cuts: one at the end, one at any point before.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sidecar.quick_dataclasses import asdict
from tests.acceptance.support import clean_environment
from tests.power import trace, usage
from tests.power.campaign import ROOT, Campaign, Report, State
from tests.power.disk import Loss
from tests.power.judge import Said, problems, problems_of_two
from tests.power.workload import FAULTS, Orders

PUSHES: Final = 4
VERSIONS: Final = PUSHES // 2
"""Of each kept file in one life."""
ENDS: Final = ("kill", "close", "kill", "kill")
"""How each life ends; the last is the successor's."""
SUCCESSOR: Final = len(ENDS) - 1
FORKS: Final = [sys.executable, "-m", "tests.power.one_fault"]


class Sweep(Campaign):
    """Four lives, each once for each call that can fail."""

    def run_each(self, most: int = 0, show: Callable[[str], object] = str) -> Report:
        """Fail every call, or of each life and kind of fault this many, evenly chosen."""
        started = time.monotonic()
        with self._forks():
            state = State()
            for life in range(len(ENDS)):
                for fault in FAULTS[1:]:
                    calls = self._said(self._recorded(self._one(life, fault, 0, state), state)).calls
                    for number in evenly(calls, most):
                        self._fail_one(life, fault, number, state)
                        show(f"life {life}, {fault}: call {number} of {calls}, {len(self.report.failures)} failures")
                state = self._left(self._recorded(self._one(life, "none", 0, state), state), state)
        self.report.seconds = round(time.monotonic() - started, 1)
        return self.report

    def _fail_one(self, life: int, fault: str, number: int, state: State) -> None:
        self.report.lives += 1
        calls = self._recorded(self._one(life, fault, number, state), state)
        self.report.failed.update(call.data.decode() for call in calls if call.op == "F")
        cuts: dict[int, list[Loss | None]] = {self._chance.randint(0, len(calls)): [None]}
        cuts[len(calls)] = [*cuts.get(len(calls), []), Loss.KEPT, None]
        self._cut(life, calls, state, cuts)

    def _one(self, life: int, fault: str, number: int, state: State) -> Orders:
        said, version = Said.of(state.marks), VERSIONS * life
        return Orders(
            directory=str(self._directory),
            life=life,
            seed=f"{self.report.seed}-{life}",
            pushes=PUSHES,
            kept_from=dict.fromkeys(usage.kept_paths(self._directory), version) | {"seats": version + 1},
            fault=fault,
            each=number,
            ends=ENDS[life],
            owed={one.name: f"{usage.owed(said.begun, one.name).normalize():f}" for one in usage.DIMENSIONS},
            repeats=sorted(said.acknowledged) if life == SUCCESSOR else [],
        )

    def _problems(self, directory: Path, said: Said, life: int, doubts: list[Path]) -> list[str]:
        return (problems_of_two if life == SUCCESSOR else problems)(directory, said, life, doubts)

    def _said(self, calls: list[trace.Call]) -> Said:
        return Said.of(json.loads(call.data) for call in calls if call.op == "M")

    def _left(self, calls: list[trace.Call], state: State) -> State:
        """Return what a life leaves after which the power stays on."""
        replay = trace.Replay(state.files, self._directory, self._chance)
        list(replay.play(calls))
        return State(replay.disk.image(Loss.KEPT, self._chance), [*state.marks, *replay.marks])

    @contextmanager
    def _forks(self) -> Iterator[None]:
        """Have one process that is forked for each life: Python and the packages are loaded once."""
        environment = clean_environment() | {"LD_PRELOAD": str(self._shim)}
        with (self._work / "errors").open("w+") as self._errors:
            given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._errors}
            with subprocess.Popen(FORKS, env=environment, cwd=ROOT, text=True, **given) as self._forking:  # type: ignore[call-overload]
                yield

    def _run(self, orders: Orders) -> tuple[int, str]:
        forking, errors = self._forking, self._errors
        place = trace.environment(self._shim, self._directory, self._record, unsynced=self._unsynced)
        at = errors.seek(0, os.SEEK_END)
        print(json.dumps({"orders": asdict(orders), "place": place}), file=forking.stdin, flush=True)
        ended = int(forking.stdout.readline() or 0)
        errors.seek(at)
        return ended, f"{orders.fault} at call {orders.each}: {errors.read()}"


def evenly(count: int, most: int) -> list[int]:
    """Return the numbers from 1 to `count`, or this many of them, the first and the last among them; 0: all."""
    if not 1 < most < count:
        return list(range(1, count + 1))
    return sorted({1 + round(place * (count - 1) / (most - 1)) for place in range(most)})
