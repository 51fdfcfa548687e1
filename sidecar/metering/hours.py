"""Define UTC clock hours, half-open and named by their start.

Invariants:
- An hour is UTC whatever the host's time zone is, so that daylight saving neither repeats nor drops one.
- AWS rounds a timestamp down to the hour to find duplicates; an instant on the boundary belongs to the hour that
  begins.
- On disk an hour is its number: whole hours since the epoch.

Sources: AWS Marketplace API Reference, MeterUsage ("the timestamp is rounded down to the hour").
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

ONE_HOUR: Final = timedelta(hours=1)
ONE_SECOND: Final = timedelta(seconds=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, order=True, slots=True)
class Hour:
    """One UTC clock hour: [start, start + 1 h)."""

    start: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is not UTC or (self.start - EPOCH) % ONE_HOUR:
            raise ValueError(f"{self.start!r} is not the start of an hour in UTC.")

    @classmethod
    def at(cls, instant: datetime) -> Self:
        """Return the hour that an instant is in. Raises ValueError where the instant has no offset."""
        if instant.utcoffset() is None:
            raise ValueError(f"{instant!r} has no offset from UTC.")
        return cls(instant.astimezone(UTC).replace(minute=0, second=0, microsecond=0))

    @classmethod
    def numbered(cls, number: int) -> Self:
        """Return the hour so many hours after the epoch."""
        return cls(EPOCH + number * ONE_HOUR)

    @property
    def number(self) -> int:
        """Return the whole hours from the epoch to its start."""
        return (self.start - EPOCH) // ONE_HOUR

    @property
    def end(self) -> datetime:
        """Return the first instant that is not in it."""
        return self.start + ONE_HOUR

    @property
    def last_second(self) -> datetime:
        """Return the last whole second in it."""
        return self.end - ONE_SECOND

    @property
    def next(self) -> Hour:
        """Return the hour after it."""
        return Hour(self.end)

    @property
    def previous(self) -> Hour:
        """Return the hour before it."""
        return Hour(self.start - ONE_HOUR)

    def closed(self, now: datetime) -> bool:
        """Return whether it has ended."""
        return now >= self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%MZ}"
