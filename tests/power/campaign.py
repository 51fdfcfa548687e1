"""Record lives of a process, cut the power at many points of each, and judge what the disk could hold then.

Invariants:
- A life begins with what an earlier failure left, so that failures during recovery count too; after `LIVES` a new
  story begins.
- Threads make each trace another one. A trace and its seed give the same cuts again: what fails is kept, with the
  image of the disk.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from sidecar.quick_dataclasses import asdict, dataclass, field
from tests.acceptance.support import clean_environment
from tests.power import trace, usage
from tests.power.disk import Loss
from tests.power.judge import Said, newest_versions, problems
from tests.power.workload import FAULTS, Orders

ROOT: Final = Path(__file__).parents[2]
LIVES: Final = 3
"""Lives of one story: ids are known for a day."""
CUTS_A_LIFE: Final = 250
SECONDS: Final = 120
PYTHON: Final = [sys.executable, "-m", "tests.power.workload"]


@dataclass
class Report:
    """What a campaign came to."""

    seed: int
    cuts: int = 0
    lives: int = 0
    calls: int = 0
    acknowledged: int = 0
    """Pushes, over all lives."""
    judged: int = 0
    """Acknowledged pushes that were looked for after a cut, over all cuts."""
    in_doubt: int = 0
    """Cuts after which the last commit, which was not acknowledged, was left out and said so."""
    faults: Counter[str] = field(default_factory=Counter)
    """Lives, by the fault of their disk."""
    failed: Counter[str] = field(default_factory=Counter)
    """Calls that failed alone, by their name."""
    refused: Counter[str] = field(default_factory=Counter)
    """What was refused meanwhile, by its reason."""
    losses: Counter[str] = field(default_factory=Counter)
    """Cuts, by what became of that which was not synced."""
    failures: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    def as_json(self) -> str:
        """Return all of it."""
        return json.dumps(vars(self), indent=2)


@dataclass
class State:
    """What one life leaves to the next."""

    files: dict[str, bytes] = field(default_factory=dict)
    marks: list[Any] = field(default_factory=list)


class Campaign:
    """Many lives and many cuts of each, from one seed."""

    def __init__(self, seed: int, work: Path, keep: Path | None = None, *, unsynced: bool = False) -> None:
        """Work below `work`, in memory where that is possible. `unsynced`: the disk lies, and something must fail."""
        self.report = Report(seed)
        self._chance = random.Random(seed)
        self._work, self._keep, self._unsynced = work.resolve(), keep, unsynced
        self._directory, self._record = self._work / "state", self._work / "trace"
        self._shim = trace.compile_shim(work)

    def run(
        self, cuts: int, *, pushes: int = 24, cuts_a_life: int = CUTS_A_LIFE, show: Callable[[str], object] = str
    ) -> Report:
        """Make this many cuts."""
        started, state = time.monotonic(), State()
        while self.report.cuts < cuts:
            life = self.report.lives % LIVES
            state = State() if life == 0 else state
            calls = self._live(life, pushes, state)
            number = min(cuts_a_life, cuts - self.report.cuts)
            at = Counter(self._chance.randint(0, len(calls)) for _ in range(number))
            state = self._cut(life, calls, state, {place: [None] * count for place, count in at.items()})
            show(f"{self.report.cuts} of {cuts} cuts, {len(self.report.failures)} failures")
        self.report.seconds = round(time.monotonic() - started, 1)
        return self.report

    def _live(self, life: int, pushes: int, state: State) -> list[trace.Call]:
        """Record one process that begins with these files."""
        self.report.lives += 1
        return self._recorded(self._orders(self._directory, life, pushes, Said.of(state.marks)), state)

    def _recorded(self, orders: Orders, state: State) -> list[trace.Call]:
        self._record.unlink(missing_ok=True)
        write(self._directory, state.files)
        ended, words = self._run(orders)
        calls = trace.read(self._record)
        said = Said.of(json.loads(call.data) for call in calls if call.op == "M")
        self.report.faults[orders.fault] += 1
        self.report.calls += len(calls)
        self.report.acknowledged += len(said.acknowledged)
        self.report.refused.update(said.refused)
        if ended != -9:
            self._failed(orders.life, -1, Loss.KEPT, [words], {})
        return calls

    def _run(self, orders: Orders) -> tuple[int, str]:
        """Run one process; return how it ended, and what it printed."""
        environment = trace.environment(self._shim, self._directory, self._record, unsynced=self._unsynced)
        process = subprocess.run(
            [*PYTHON, json.dumps(asdict(orders))],
            env=clean_environment() | environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        return process.returncode, process.stderr

    def _orders(self, directory: Path, life: int, pushes: int, said: Said) -> Orders:
        chance = random.Random(f"{self.report.seed}-{self.report.lives}")  # whatever the calls before came to
        fault = chance.choice(["none", "none", *FAULTS[1:]])
        return Orders(
            directory=str(directory),
            life=life,
            seed=f"{self.report.seed}-{self.report.lives}",
            pushes=pushes,
            kept_from=newest_versions(said, list(usage.kept_paths(directory))),
            fault=fault,
            each=chance.choice([2, 3, 5, 7, 13, 29, 61]),
            checkpoint_pages=chance.choice([1000, 100, 20]),
            ends=chance.choice(["kill", "close"]),
        )

    def _cut(self, life: int, calls: list[trace.Call], state: State, at: Mapping[int, Sequence[Loss | None]]) -> State:
        """Judge images of cuts before these calls, each with a loss or with any, and return one for the next life."""
        following = self._chance.choice(sorted(at))
        replay = trace.Replay(state.files, self._work / "state", self._chance)
        said, heard, left = Said.of(state.marks), 0, state
        for number in replay.play(calls):
            for given in at.get(number, ()):
                for mark in replay.marks[heard:]:
                    said.take(mark)
                heard = len(replay.marks)
                by_chance = self._chance.choice(list(Loss)) if replay.disk.unsynced else Loss.DROPPED
                loss = given or by_chance
                image = replay.disk.image(loss, self._chance)
                self._judge(life, number, loss, image, said)
                if number == following:
                    left = State(image, [*state.marks, *replay.marks])
        return left

    def _judge(self, life: int, number: int, loss: Loss, image: dict[str, bytes], said: Said) -> None:
        directory, doubts = self._work / "image", list[Path]()
        write(directory, image)
        found = self._problems(directory, said, life, doubts)
        self.report.cuts += 1
        self.report.losses[loss.value] += 1
        self.report.judged += len(said.acknowledged)
        self.report.in_doubt += len(doubts)
        if found:
            self._failed(life, number, loss, found, image)

    def _problems(self, directory: Path, said: Said, life: int, doubts: list[Path]) -> list[str]:
        return problems(directory, said, life, doubts)

    def _failed(self, life: int, number: int, loss: Loss, found: list[str], image: dict[str, bytes]) -> None:
        where = {"story": self.report.lives, "life": life, "call": number, "loss": loss.value}
        self.report.failures.append({**where, "problems": found})
        if self._keep and len(self.report.failures) <= 10:
            place = self._keep / f"failure-{len(self.report.failures)}"
            write(place, image)
            shutil.copy(self._work / "trace", place / "trace")
            (place / "failure.json").write_text(json.dumps(self.report.failures[-1], indent=2))


def write(directory: Path, files: dict[str, bytes]) -> None:
    """Make these the only files of a directory."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
