"""Draw what happens: a list of steps, each with a seed of its own.

Invariants:
- A step is data: taking one away changes none of the others, so that a failing list can be made shorter.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import NamedTuple

WEIGHTS = {
    "push": 30,
    "wait": 12,
    "hours": 8,
    "quiet": 4,
    "holiday": 7,
    "weather": 7,
    "disk_fault": 3,
    "crash_later": 6,
    "kill": 2,
    "stop": 3,
    "stop_later": 2,
    "successor": 2,
    "copied_answer": 1,
    "failing_successor": 2,
    "person": 6,
    "jump": 2,
    "suspend": 1,
    "correct_clock": 3,
    "change_settings": 2,
    "report_elsewhere": 2,
    "subscription": 1,
    "forge": 1,
    "recheck": 1,
    "send_now": 1,
    "announce_end": 1,
}
"""What can happen, and how often."""


class Step(NamedTuple):
    """One thing that happens."""

    kind: str
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.seed}"

    @classmethod
    def parse(cls, text: str) -> Step:
        """Return the step of a text that `str` made. Raises ValueError."""
        kind, _, seed = text.partition(":")
        if kind not in WEIGHTS:
            raise ValueError(f"{kind!r} is none of {', '.join(WEIGHTS)}.")
        return cls(kind, int(seed))


def draw(seed: int) -> Iterator[Step]:
    """Yield steps without end."""
    chance = random.Random(seed)
    kinds, weights = list(WEIGHTS), list(WEIGHTS.values())
    while True:
        yield Step(chance.choices(kinds, weights)[0], chance.getrandbits(32))
