"""Stand in for the clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sidecar.quick_dataclasses import dataclass

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)


@dataclass
class FakeClock:
    """Stands still until it is moved."""

    at: datetime = NOON
    seconds: float = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.seconds += seconds
