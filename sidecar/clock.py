"""Read time. The only reader of real time.

Core takes `now` as a value; the edges take a `Clock`, so that a test can be at any instant.

Invariants:
- Instants are aware and in UTC.
- Spans that must survive a clock being set are measured with `monotonic()`, never with `now()`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

from sidecar.quick_dataclasses import dataclass

JUMP: Final = timedelta(seconds=20)
"""Slewing and a busy host stay well below; an hour's edge is not moved far by less."""


class Clock(Protocol):
    """A source of time."""

    def now(self) -> datetime:
        """Return the instant, aware, in UTC."""

    def monotonic(self) -> float:
        """Return seconds since some fixed point; never goes back."""


class SystemClock:
    """This machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def iso(instant: datetime) -> str:
    """RFC 3339 in UTC to the millisecond, as logs and answers print it."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(kw_only=True)
class ClockJumpDetector:
    """Compares the wall clock with the monotonic one. A host that was suspended looks like a clock set forward."""

    at: datetime | None = None
    seconds: float = 0.0

    def check(self, now: datetime, monotonic: float) -> timedelta | None:
        """Return by how much the wall clock jumped since the last check; None where it went on as it should."""
        before, self.at = self.at, now
        passed, self.seconds = monotonic - self.seconds, monotonic
        if before is None:
            return None
        jump = (now - before) - timedelta(seconds=passed)
        return jump if abs(jump) >= JUMP else None
