"""Kill real sidecars: `python -m tests.crashes --kills 1000 --seed 1`.

Exits with 0 where AWS's bill, the ledger and the clients' sums agreed at the end of each story, with 1 otherwise. At
SIGTERM, SIGINT and after `--minutes` each story ends with its present hour, and what was reached is printed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Final

from bench.arguments import positive_integer, positive_number
from sidecar.cli.progress import Progress
from tests.crashes.side_by_side import begin, tell
from tests.crashes.story import Outcome

KILLS_A_STORY: Final = 50
SPAWN: Final = multiprocessing.get_context("spawn")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=__doc__)
    parser.add_argument(
        "--kills", type=positive_integer, default=50, help="how often SIGKILL meets a process, at least (50)"
    )
    parser.add_argument("--seed", type=int, default=1, help="what every choice comes from (1)")
    parser.add_argument("--stories", type=positive_integer, default=2, help="how many are told side by side (2)")
    parser.add_argument("--minutes", type=positive_number, help="end after this time, whatever was reached")
    parser.add_argument("--keep", type=Path, help="a directory for the logs and volumes of stories that fail")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    started, progress, over = time.monotonic(), Progress(), SPAWN.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    timer = threading.Timer(60 * (given.minutes or 0), over.set)
    timer.daemon = True
    if given.minutes:
        timer.start()
    outcomes: dict[int, Outcome] = {}
    with ProcessPoolExecutor(given.stories, SPAWN, initializer=begin, initargs=(over,)) as pool:
        told: dict[Future[Outcome | None], int] = {}
        for number, first in enumerate(range(0, given.kills, KILLS_A_STORY)):
            kills = min(KILLS_A_STORY, given.kills - first)
            told[pool.submit(tell, given.seed * 1_000 + number, kills, given.keep)] = number
        for future in as_completed(told):
            if outcome := future.result():
                outcomes[told[future]] = outcome
            progress.show(f"{sum(one.kills for one in outcomes.values())} of {given.kills} kills")
    progress.clear()
    found = report(given.seed, outcomes) | {"seconds": round(time.monotonic() - started, 1)}
    print(json.dumps(found, indent=2) if given.json else "\n".join(f"{name}\t{value}" for name, value in found.items()))
    return 1 if found["wrong"] else 0


def report(seed: int, outcomes: dict[int, Outcome]) -> dict[str, Any]:
    """Return what stories came to, by their number."""
    happened: Counter[str] = Counter()
    for one in outcomes.values():
        happened.update(one.happened)
    return {
        "seed": seed,
        "kills": sum(one.kills for one in outcomes.values()),
        "stories": len(outcomes),
        "hours": sum(one.hours for one in outcomes.values()),
        "events": sum(one.events for one in outcomes.values()),
        "happened": dict(happened),
        "left_out": sorted({reason for one in outcomes.values() for reason in one.left_out}),
        "flushed_again": sum(one.flushed_again for one in outcomes.values()),
        "wrong": [{"story": number, "what": what} for number, one in sorted(outcomes.items()) for what in one.wrong],
    }


if __name__ == "__main__":
    sys.exit(main())
