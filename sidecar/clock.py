"""What time is it? The only reader of real time.

Core takes `now` as a value; shells take a `Clock`, so that a test can be any instant it likes.

Rules kept here:
- Instants are aware and in UTC.
- Spans that must survive a clock being set are measured with `monotonic()`, never with `now()`.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A source of time."""

    def now(self) -> datetime:
        """The instant, aware, in UTC."""

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes back."""


class SystemClock:
    """This machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()


def iso(instant: datetime) -> str:
    """RFC 3339 in UTC to the millisecond, as logs and answers print it."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
