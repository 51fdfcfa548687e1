"""Kill real sidecars: `python -m tests.crashes --kills 1000 --seed 1`.

Exits with 0 where AWS's bill, the ledger and the clients' sums agreed at the end of each story, with 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from sidecar.cli.progress import Progress
from sidecar.emulator.keys import SigningKeys
from tests.crashes.story import Outcome, Story

KILLS_A_STORY = 40


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crashes", description=__doc__)
    parser.add_argument("--kills", type=int, default=50, help="how often SIGKILL meets a process, at least (50)")
    parser.add_argument("--seed", type=int, default=1, help="what every choice comes from (1)")
    parser.add_argument("--minutes", type=float, help="begin no story after this time")
    parser.add_argument("--keep", type=Path, help="a directory for the logs and volumes of stories that fail")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args()
    started, report = time.monotonic(), {"seed": given.seed, "kills": 0, "stories": 0, "hours": 0, "events": 0}
    happened: Counter[str] = Counter()
    wrong: list[Any] = []
    progress, keys = Progress(), SigningKeys((1,))
    while report["kills"] < given.kills:
        if given.minutes and time.monotonic() > started + 60 * given.minutes:
            break
        number = report["stories"]
        outcome = _story(given.seed * 1_000 + number, keys, given.kills - report["kills"], given.keep, progress)
        happened.update(outcome.happened)
        for name, more in (
            ("kills", outcome.kills),
            ("stories", 1),
            ("hours", outcome.hours),
            ("events", outcome.events),
        ):
            report[name] += more
        wrong += [{"story": number, "what": what} for what in outcome.wrong]
    progress.clear()
    found = {**report, "happened": dict(happened), "wrong": wrong, "seconds": round(time.monotonic() - started, 1)}
    print(json.dumps(found, indent=2) if given.json else "\n".join(f"{name}\t{value}" for name, value in found.items()))
    return 1 if wrong else 0


def _story(seed: int, keys: SigningKeys, kills: int, keep: Path | None, progress: Progress) -> Outcome:
    with tempfile.TemporaryDirectory() as work:
        story = Story(seed, keys, Path(work))
        try:
            story.run(min(kills, KILLS_A_STORY), lambda text: progress.show(f"story {seed}: {text}"))
        except Exception as exc:
            story.outcome.wrong.append(f"{type(exc).__name__}: {exc}"[:2_000])
        if story.outcome.wrong and keep:
            (keep / str(seed)).mkdir(parents=True, exist_ok=True)
            (keep / str(seed) / "outcome.json").write_text(json.dumps(vars(story.outcome), default=str))
            for log in Path(work).glob("*.log"):
                shutil.copy(log, keep / str(seed))
        return story.outcome


if __name__ == "__main__":
    sys.exit(main())
