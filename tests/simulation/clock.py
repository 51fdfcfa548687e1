"""Tell simulated time: AWS's, which is right, and a host's, which may be set wrong or stand still.

Invariants:
- Nothing here reads real time. Time passes only where a step or a call says so.
- A suspended host misses time on its monotonic clock, as Linux counts it; AWS does not.

Sources: clock_gettime(2), CLOCK_MONOTONIC.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sidecar.quick_dataclasses import dataclass, field

BEGIN = datetime(2026, 1, 5, 9, 20, tzinfo=UTC)


@dataclass
class TrueClock:
    """AWS's time."""

    at: datetime = BEGIN

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return (self.at - BEGIN).total_seconds()


@dataclass
class HostClock:
    """The time of the machine that the pod runs on."""

    true: TrueClock = field(default_factory=TrueClock)
    offset: timedelta = timedelta()
    """How far it is ahead of AWS's."""
    seconds: float = 1000.0
    forward: timedelta = timedelta()
    """How far it ever went forward, jumps too: what ages an id."""

    def now(self) -> datetime:
        return self.true.at + self.offset

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        span = timedelta(seconds=max(0.0, seconds))
        self.true.at += span
        self.seconds += span.total_seconds()
        self.forward += span

    def sleep(self, seconds: float) -> None:
        """Let time pass as sleep(3) does: a little always, whatever a span of floats rounds to."""
        self.advance(max(seconds, 0.001))

    def jump(self, seconds: float) -> None:
        """Set the host's clock forward or back."""
        span = timedelta(seconds=seconds)
        self.offset += span
        self.forward += max(span, timedelta())

    def correct(self) -> None:
        """Set it to what is right."""
        self.jump(-self.offset.total_seconds())

    def suspend(self, seconds: float) -> None:
        """Suspend the host: it wakes with the right time of day, and its monotonic clock stood still."""
        span = timedelta(seconds=seconds)
        self.true.at += span
        self.forward += span
