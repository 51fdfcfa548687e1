"""Keep the time of this AWS: a clock that can be set and sped up.

Elsewhere: who reads which of its two times (`app`, `metering_api`, `sts`), and the commands as others
write them (`control`).

Invariants:
- `now()` is the time of the marketplace: hours, windows, records, tokens. Until it is moved, it is
  the real one.
- `real` stays what it is, and so does `monotonic()`: what clients do by their own clock (sign, wait, let
  credentials expire) is judged by theirs, and a timeline counts real seconds.
- A moved clock runs on from where it was put, `speed` times as fast as real time; 0 stops it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sidecar.clock import Clock
from sidecar.emulator.refusals import BadCommand

SPEED_MAX: Final = 100_000.0
"""More than a day in a second: faster, and the end of the calendar would come within weeks."""


@dataclass(frozen=True, kw_only=True)
class _Setting:
    """Where the clock was put, when, and how fast it has run since."""

    instant: datetime
    monotonic: float
    speed: float


class EmulatedClock:
    """A Clock over another one. Safe to share between threads."""

    def __init__(self, real: Clock, *, start: datetime | None = None, speed: float = 1.0) -> None:
        """Raises BadCommand."""
        self.real = real
        self._setting: _Setting | None = None
        self.set(now=start, speed=speed)

    @property
    def speed(self) -> float:
        """Return how many of its seconds pass in a real one."""
        return 1.0 if self._setting is None else self._setting.speed

    def now(self) -> datetime:
        return self._by(self._setting)

    def monotonic(self) -> float:
        return self.real.monotonic()

    def set(self, *, now: datetime | None = None, speed: float | None = None) -> None:
        """Set it to an instant, or change its speed, or both; what is left out stays. Raises BadCommand."""
        if speed is not None and not 0 <= speed <= SPEED_MAX:  # not "outside of": that lets NaN through
            raise BadCommand(f"speed: must be 0 to {SPEED_MAX:.0f}")
        if now is not None and now.tzinfo is None:
            raise BadCommand("now: must say its zone")
        if self._setting is None and now is None and speed in (None, 1):
            return
        self._setting = _Setting(
            instant=self.now() if now is None else now.astimezone(UTC),
            monotonic=self.real.monotonic(),
            speed=self.speed if speed is None else speed,
        )

    def as_json(self) -> dict[str, object]:
        """`now` in Unix seconds, and `speed`."""
        setting = self._setting  # once, so that the two belong together
        return {"now": self._by(setting).timestamp(), "speed": 1.0 if setting is None else setting.speed}

    def _by(self, setting: _Setting | None) -> datetime:
        if setting is None:
            return self.real.now()
        return setting.instant + timedelta(seconds=(self.real.monotonic() - setting.monotonic) * setting.speed)
