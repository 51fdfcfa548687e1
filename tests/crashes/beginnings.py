"""Kill sidecars while they begin: `python -m tests.crashes.beginnings --beginnings 200 --seed 1`.

Each beginning has a new workload and a new volume. Its sidecar is killed one to three times, at random instants of a
start or soon after the ledger's file is there. The next start takes a push, which must be in the present hour: the pod
may be gone in the next one. Exits with 0 where all were, with 1 otherwise. At SIGTERM and SIGINT the beginning that
runs is finished, and what was reached is printed. What is done comes from the seed; when a signal meets the process is
the machine's matter.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from bench.arguments import positive_integer
from sidecar.cli.progress import Progress
from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from sidecar.quick_dataclasses import dataclass, field
from tests.acceptance.billing.metered import SLOW, Metered, Product, books, marketplace
from tests.acceptance.support import eventually
from tests.crashes.story import hour_of

LEDGERS: Final = "ledger-*.sqlite3"
KILLS_MAX: Final = 3
SOON_SECONDS: Final = 0.03
"""After the ledger's file is there: a little longer than it takes to begin one."""
NOTHING, CUT_OFF, WHOLE = "no file", "a file without an owner", "a whole file"
"""What a kill leaves of the ledger: the owner is written last."""


@dataclass
class Outcome:
    """What beginnings came to."""

    beginnings: int = 0
    left: Counter[str] = field(default_factory=Counter)
    """How many kills left what."""
    wrong: list[str] = field(default_factory=list)

    def tell(self, name: str, present: datetime, hours: Sequence[datetime], failed: list[Path]) -> None:
        """Count one beginning, whose one push is in these hours; `failed`: ledgers that were set aside."""
        self.beginnings += 1
        if list(hours) != [present]:
            self.wrong.append(f"{name}: pushed at {present}, counted in {[f'{hour}' for hour in hours] or 'no hour'}")
        self.wrong += [f"{name}: {path.name}" for path in failed]


class Beginnings:
    """Workloads that begin, one after the other, under one AWS whose clock stands."""

    def __init__(self, aws: Emulator, directory: Path, seed: int) -> None:
        self.outcome = Outcome()
        self._aws, self._directory, self._chance = aws, directory, random.Random(seed)
        self._start_seconds = self._measured()

    def run(self, name: str) -> None:
        """Kill one while it begins, start it again, push, and look for the hour."""
        volume = self._directory / name / "volume"
        volume.mkdir(parents=True)
        sidecar = Metered(self._aws, volume.parent, SIDECAR_STATE_DIR=str(volume))
        for _ in range(self._chance.randint(1, KILLS_MAX)):
            sidecar.start()
            self._await_an_instant(volume)
            sidecar.killed()
            self.outcome.left[left_in(volume)] += 1
            sidecar = sidecar.again()
        sidecar.start().ready()
        Product().used(sidecar)
        sidecar.killed()
        with books(sidecar) as ledger:
            hours = [hour.start for hour in ledger.open_hours()]
        self.outcome.tell(name, hour_of(self._aws.clock.now()), hours, list(volume.rglob("*.corrupt*")))

    def _measured(self) -> float:
        """Return how long a start takes, from exec until usage is taken."""
        directory = self._directory / "measured"
        directory.mkdir()
        began = time.monotonic()
        sidecar = Metered(self._aws, directory, SIDECAR_STATE_DIR=str(directory)).start().ready()
        took = time.monotonic() - began
        sidecar.killed()
        return took

    def _await_an_instant(self, volume: Path) -> None:
        """Wait until some instant of the start, or some instant in which the ledger may just be begun."""
        if self._chance.random() < 0.5:
            time.sleep(self._chance.uniform(0, self._start_seconds))  # the instant of the kill is the subject here
            return
        eventually(lambda: any(ledgers(volume)), SLOW)
        time.sleep(self._chance.uniform(0, SOON_SECONDS))  # and here


def ledgers(volume: Path) -> Iterator[Path]:
    """Yield the ledgers in a volume."""
    return volume.glob(LEDGERS)


def left_in(volume: Path) -> str:
    """Return what there is of the ledger, read from a copy."""
    with tempfile.TemporaryDirectory() as work:
        shutil.copytree(volume, work, dirs_exist_ok=True)
        found = next(ledgers(Path(work)), None)
        if found is None:
            return NOTHING
        with suppress(sqlite3.Error):
            connection = sqlite3.connect(found)
            try:
                return WHOLE if connection.execute("SELECT count(*) FROM meta").fetchone()[0] else CUT_OFF
            finally:
                connection.close()
    return CUT_OFF


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashes.beginnings", description=__doc__)
    parser.add_argument("--beginnings", type=positive_integer, default=20, help="how many workloads begin (20)")
    parser.add_argument("--seed", type=int, default=1, help="what every choice comes from (1)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    started, progress, over = time.monotonic(), Progress(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    with tempfile.TemporaryDirectory() as work, marketplace(SigningKeys((1,))) as aws:
        told = Beginnings(aws, Path(work), given.seed)
        while told.outcome.beginnings < given.beginnings and not over.is_set():
            told.run(f"{told.outcome.beginnings}")
            progress.show(f"{told.outcome.beginnings} of {given.beginnings} beginnings")
    progress.clear()
    found = report(given.seed, told.outcome) | {"seconds": round(time.monotonic() - started, 1)}
    print(json.dumps(found, indent=2) if given.json else "\n".join(lines(found)))
    return 1 if told.outcome.wrong or not told.outcome.beginnings else 0


def report(seed: int, outcome: Outcome) -> dict[str, Any]:
    """Return what the beginnings came to."""
    return {
        "seed": seed,
        "beginnings": outcome.beginnings,
        "kills": outcome.left.total(),
        "left": dict(outcome.left),
        "wrong": outcome.wrong,
    }


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield a report as text."""
    for name, value in found.items():
        if isinstance(value, dict):
            yield from (f"{name} {what}\t{count}" for what, count in value.items())
        elif isinstance(value, list):
            yield from (f"{name}\t{one}" for one in value or ["nothing"])
        else:
            yield f"{name}\t{value}"


if __name__ == "__main__":
    sys.exit(main())
