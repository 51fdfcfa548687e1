"""Did the wall clock move by itself? Compares it with the clock that nobody sets.

A host that was suspended looks the same: the wall clock is ahead, and the other one stood still.

Rules kept here:
- Nothing is decided here; a leap is said, and the pass that saw it works with the new time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

LEAP: Final = timedelta(seconds=20)
"""Slewing and a busy host stay well below; an hour's edge is not moved far by less."""


@dataclass(kw_only=True)
class Leaps:
    """Remembers the last look at both clocks."""

    at: datetime | None = None
    seconds: float = 0.0

    def seen(self, now: datetime, monotonic: float) -> timedelta | None:
        """By how much the wall clock leapt since the last look; None where it went on as it should."""
        before, self.at = self.at, now
        passed, self.seconds = monotonic - self.seconds, monotonic
        if before is None:
            return None
        leap = (now - before) - timedelta(seconds=passed)
        return leap if abs(leap) >= LEAP else None
