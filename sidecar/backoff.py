"""Compute how long to wait before another attempt.

Invariants:
- The ceiling doubles with each attempt, up to a maximum; jitter spreads a fleet below it.
- What the other side asked for, or what decency wants, is a floor: no jitter goes below it.
- Who is throttled shares a quota with others, whose number it does not know: it waits a share of the time that it has
  waited already. So a fleet of any size asks a few times as often as the quota allows, neither more nor less.

Sources: AWS Architecture Blog, "Exponential Backoff and Jitter".
"""

from __future__ import annotations

from typing import Final

DOUBLINGS_MAX: Final = 20
"""Beyond that a float would overflow, after a thousand attempts."""


def ceiling_seconds(attempt: int, *, first: float, most: float) -> float:
    """Return the longest wait before an attempt, in seconds. `attempt` counts from 0."""
    return min(first * 2.0 ** min(attempt, DOUBLINGS_MAX), most)


def full_jitter_seconds(attempt: int, chance: float, *, first: float, most: float, floor: float = 0.0) -> float:
    """Return a wait between `floor` and the ceiling, in seconds; `floor` where it is higher. `chance` is in [0, 1)."""
    return max(ceiling_seconds(attempt, first=first, most=most) * chance, floor)


def proportional_seconds(
    waited: float, chance: float, *, shares: tuple[float, float], most: float, floor: float = 0.0
) -> float:
    """Return a wait between two shares of the seconds `waited`, the greater at most `most` and none below `floor`.

    `chance` is in [0, 1).
    """
    least, greatest = shares
    return max(min(waited, most / greatest) * (least + (greatest - least) * chance), floor)
