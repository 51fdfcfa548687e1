"""Define UTC clock hours, half-open and named by their start.

Where AWS tells records apart by their client token and not by their hour (Bedrock AgentCore Runtime), a workload has
many records an hour. Then each rule for an hour holds for a shorter period, and a process has one length
of it for good.

Invariants:
- An hour is UTC whatever the host's time zone is, so that daylight saving neither repeats nor drops one.
- AWS rounds a timestamp down to the hour to find duplicates; an instant on the boundary belongs to the hour that
  begins.
- On disk an hour is its number: whole hours since the epoch. Hours and short periods have no number in common.

Sources: AWS Marketplace API Reference, MeterUsage ("the timestamp is rounded down to the hour"; "for Amazon Bedrock
AgentCore Runtime, the timestamp is not rounded").
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Self

from sidecar.quick_dataclasses import dataclass

ONE_HOUR: Final = timedelta(hours=1)
ONE_SECOND: Final = timedelta(seconds=1)
SHORT_PERIOD: Final = timedelta(seconds=10)
"""Where AWS takes many records an hour: soon after the event, and few enough for ten calls a second of an account."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

HOURS_MAX: Final = 10_000_000
"""Numbers of hours are below it until the year 3110, those of short periods above it since 1973."""

_length: timedelta = ONE_HOUR
_micros: int = ONE_HOUR // timedelta(microseconds=1)


def use_short_periods() -> None:
    """Count in short periods from now on. Called once, before anything is counted."""
    global _length, _micros
    _length, _micros = SHORT_PERIOD, SHORT_PERIOD // timedelta(microseconds=1)


def period() -> timedelta:
    """Return how long an hour is here."""
    return _length


def counts_as_here(number: int) -> bool:
    """Return whether a number that is on disk counts hours of the length that they have here."""
    return (number < HOURS_MAX) is (_length == ONE_HOUR)


def counts_otherwise(number: int) -> bool:
    """Return whether a number that is on disk is one of hours of the other length, and not just damaged."""
    return 0 <= number < HOURS_MAX * (ONE_HOUR // SHORT_PERIOD) and not counts_as_here(number)


def hour_micros() -> int:
    """Return that length in microseconds."""
    return _micros


def clock_hour(instant: datetime) -> int:
    """Return the whole UTC hours from the epoch to an instant, where periods are short too."""
    return (instant - EPOCH) // ONE_HOUR


def next_clock_hour(instant: datetime) -> datetime:
    """Return when the UTC hour of an instant ends, where periods are short too."""
    return EPOCH + (clock_hour(instant) + 1) * ONE_HOUR


@dataclass(frozen=True, order=True, slots=True)
class Hour:
    """One UTC clock hour: [start, start + 1 h); or the period that takes its place."""

    start: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is not UTC or (self.start - EPOCH) % _length:
            raise ValueError(f"{self.start!r} is not the start of an hour in UTC.")

    @classmethod
    def at(cls, instant: datetime) -> Self:
        """Return the hour that an instant is in. Raises ValueError where the instant has no offset."""
        if instant.utcoffset() is None:
            raise ValueError(f"{instant!r} has no offset from UTC.")
        return cls.numbered((instant - EPOCH) // _length)

    @classmethod
    def numbered(cls, number: int) -> Self:
        """Return the hour so many hours after the epoch."""
        return cls(EPOCH + number * _length)

    @property
    def number(self) -> int:
        """Return the whole hours from the epoch to its start."""
        return (self.start - EPOCH) // _length

    @property
    def end(self) -> datetime:
        """Return the first instant that is not in it."""
        return self.start + _length

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
        return Hour(self.start - _length)

    def closed(self, now: datetime) -> bool:
        """Return whether it has ended."""
        return now >= self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%dT%H:%MZ}" if _length == ONE_HOUR else f"{self.start:%Y-%m-%dT%H:%M:%SZ}"
