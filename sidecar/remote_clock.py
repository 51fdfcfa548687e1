"""Follow the clock of an emulator, where `SIDECAR_CLOCK_URL` names one; else use this machine's clock.

For tests: an hour may pass there in a minute. Production has no such setting.

Invariants:
- Between two answers time runs on from the last one, at the speed it named, by this machine's monotonic clock. A clock
  that was set, also backwards, shows with the next answer.
- Asking is short, uses no proxy, and fails silently: the last answer goes on counting. Before the first one it is this
  machine's time.
- An answer is replaced whole, so that reading the time never waits.
- Spans are real: `monotonic()` does not follow.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlsplit

from sidecar.clock import Clock, SystemClock
from sidecar.quick_dataclasses import dataclass

ROUTE: Final = "/_emulator/clock"
TIMEOUT_SECONDS: Final = 1.0
AGAIN_SECONDS: Final = 0.5
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NOW_MAX: Final = datetime(2200, 1, 1, tzinfo=UTC).timestamp()
SPEED_MAX: Final = 100_000.0


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The time an emulator gave, and when."""

    now: float
    """Its Unix seconds."""
    speed: float
    """Its seconds in a real one."""
    heard_at: float
    """Our monotonic seconds."""

    def at(self, monotonic: float) -> datetime:
        """Return its time now; it stops at the end of what can be told."""
        seconds = self.now + self.speed * (monotonic - self.heard_at)
        return EPOCH + timedelta(seconds=min(max(seconds, 0.0), NOW_MAX))


class FollowedClock:
    """An emulator's time, as of the last `refresh`."""

    def __init__(self, url: str, own: Clock | None = None) -> None:
        """`url` is the emulator's; a path other than `/` is asked as it is."""
        self._url = url if urlsplit(url).path not in ("", "/") else url.rstrip("/") + ROUTE
        self._own: Clock = own or SystemClock()
        self._last: Reading | None = None

    def now(self) -> datetime:
        last = self._last
        return last.at(self._own.monotonic()) if last else self._own.now()

    def monotonic(self) -> float:
        return self._own.monotonic()

    @property
    def answered(self) -> bool:
        """Return whether it was ever answered; until then it tells this machine's time."""
        return self._last is not None

    def refresh(self) -> bool:
        """Ask again; return False where there is no new answer. Takes a second at most where the emulator is silent."""
        from sidecar import local_http  # with its HTTP client, which production never needs for a clock

        try:
            body = local_http.get(self._url, timeout=TIMEOUT_SECONDS)
            self._last = _reading(body, self._own.monotonic())
        except (OSError, ValueError):
            return False
        return True


def clock_for(clock_url: str | None) -> Clock:
    """Return this machine's clock, or an emulator's, asked once. A process that lives longer refreshes it."""
    if clock_url is None:
        return SystemClock()
    followed = FollowedClock(clock_url)
    followed.refresh()
    return followed


def answering_clock(clock_url: str | None, seconds: float, pause: Callable[[float], None] = time.sleep) -> Clock:
    """Return the same clock once it has answered. Raises TimeoutError where it does not within about `seconds`.

    For who writes down an hour at once: this machine's time would be in another year once the emulator's is known.
    """
    clock = clock_for(clock_url)
    left = seconds
    while isinstance(clock, FollowedClock) and not clock.answered:
        if left <= 0:
            raise TimeoutError(f"{clock_url} gave no time within {seconds:g} s")
        pause(AGAIN_SECONDS)
        left -= AGAIN_SECONDS
        clock.refresh()
    return clock


def _reading(body: bytes, heard_at: float) -> Reading:
    """Return the emulator's answer. Raises ValueError."""
    try:
        found = json.loads(body)
        now, speed = found["now"], found["speed"]
    except (ValueError, TypeError, KeyError, RecursionError) as exc:
        raise ValueError("no clock answers") from exc
    return Reading(now=_number(now, NOW_MAX), speed=_number(speed, SPEED_MAX), heard_at=heard_at)


def _number(value: object, most: float) -> float:
    """Return a number of 0 to `most`. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")
    if not 0 <= value <= most:  # also what is not a number
        raise ValueError("out of range")
    return float(value)
