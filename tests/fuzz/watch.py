"""Run a target on one input, and fail where it takes too long or the process grows.

Invariants:
- Time is the thread's own CPU time: a busy machine is not a hang.
- Growth is counted in objects that live, after a warm-up in which caches fill.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Final

SECONDS_MAX: Final = 1.0
COUNT_EVERY: Final = 50_000
WARM_UP: Final = 2
"""Counts before the first that is compared."""
GROWTH_MAX: Final = 50_000
"""Objects; the caches of what was seen hold fewer."""


class Slow(AssertionError):
    """An input took more than SECONDS_MAX."""


class Growth(AssertionError):
    """Objects stay alive that the inputs left behind."""


def live_objects() -> int:
    """Return how many objects the garbage collector knows after a collection."""
    gc.collect()
    return len(gc.get_objects())


class Watched:
    """A target whose every execution is watched."""

    def __init__(self, target: Callable[[bytes], None], live: Callable[[], int] = live_objects) -> None:
        self._target = target
        self._live = live
        self.executions = 0
        self.slowest_seconds = 0.0
        self._counts: list[int] = []

    def __call__(self, data: bytes) -> None:
        started = time.thread_time()
        self._target(data)
        spent = time.thread_time() - started
        self.slowest_seconds = max(self.slowest_seconds, spent)
        if spent > SECONDS_MAX:
            raise Slow(f"{spent:.1f} s for {len(data)} bytes")
        self.executions += 1
        if self.executions % COUNT_EVERY == 0:
            self._count()

    def _count(self) -> None:
        self._counts.append(self._live())
        if len(self._counts) > WARM_UP and self._counts[-1] - self._counts[WARM_UP] > GROWTH_MAX:
            raise Growth(f"{self._counts[WARM_UP]} objects became {self._counts[-1]}")
