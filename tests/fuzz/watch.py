"""Run a target on one input, and fail where it takes too long or the process grows.

Invariants:
- Time is the thread's own CPU time: a busy machine is not a hang. What never returns is libFuzzer's to end.
- Growth is counted in blocks of Python's allocator and in resident bytes, after a warm-up in which caches fill.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

SECONDS_MAX: Final = 1.0
COUNT_EVERY: Final = 20_000
WARM_UP: Final = 2
"""Counts before the first that is compared."""


class Memory(NamedTuple):
    """What a process holds."""

    blocks: int
    """Of Python's allocator: objects of up to 512 bytes, texts among them."""
    resident_bytes: int
    """Longer ones too, and what libraries in C hold; libFuzzer's own tables as well."""


GROWTH_MAX: Final = Memory(50_000, 64 << 20)
"""The caches of what was seen hold less."""


class Slow(AssertionError):
    """An input took more than SECONDS_MAX."""


class Growth(AssertionError):
    """The inputs leave something behind."""


def held() -> Memory:
    """Return what this process holds after a collection."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return Memory(sys.getallocatedblocks(), pages * os.sysconf("SC_PAGE_SIZE"))


class Watched:
    """A target whose every execution is watched."""

    def __init__(self, target: Callable[[bytes], None], measure: Callable[[], Memory] = held) -> None:
        self._target = target
        self._measure = measure
        self._executions = 0
        self._counts = 0
        self._warm = Memory(0, 0)

    def __call__(self, data: bytes) -> None:
        started = time.thread_time()
        self._target(data)
        spent = time.thread_time() - started
        if spent > SECONDS_MAX:
            raise Slow(f"{spent:.1f} s for {len(data)} bytes")
        self._executions += 1
        if self._executions % COUNT_EVERY == 0:
            self._compare(self._measure())

    def _compare(self, now: Memory) -> None:
        self._counts += 1
        if self._counts <= WARM_UP + 1:
            self._warm = now
        elif any(after - before > most for after, before, most in zip(now, self._warm, GROWTH_MAX, strict=True)):
            raise Growth(f"{self._warm} became {now}")
