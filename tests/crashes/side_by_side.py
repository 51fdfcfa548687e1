"""Tell stories in processes of their own, which end early where their parent says so."""

from __future__ import annotations

import json
import shutil
import signal
import tempfile
from multiprocessing.synchronize import Event
from pathlib import Path

from sidecar.emulator.keys import SigningKeys
from tests.crashes.story import Outcome, Story

OVER: list[Event] = []
"""In a process that tells stories: whether they should end."""


def begin(over: Event) -> None:
    """Leave signals to the process that prints the report."""
    OVER.append(over)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def tell(seed: int, kills: int, keep: Path | None) -> Outcome | None:
    """Tell one story; None where it should not begin any more."""
    if OVER[0].is_set():
        return None
    with tempfile.TemporaryDirectory() as work:
        story = Story(seed, SigningKeys((1,)), Path(work))
        try:
            story.run(kills, OVER[0].is_set)
        except Exception as exc:  # whatever ends a story is a finding, and the other stories go on
            story.outcome.wrong.append(f"{type(exc).__name__}: {exc}"[:2_000])
        if story.outcome.wrong and keep:
            (keep / str(seed)).mkdir(parents=True, exist_ok=True)
            (keep / str(seed) / "outcome.json").write_text(json.dumps(vars(story.outcome), default=str))
            for log in Path(work).glob("*.log"):
                shutil.copy(log, keep / str(seed))
        return story.outcome
