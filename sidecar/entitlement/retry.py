"""Decide when AWS is asked again.

Invariants:
- The first check goes out at once (the caller's part); transient failures are retried without end, with full-jitter
  exponential backoff, capped.
- A mistake in the configuration is checked again from 15 seconds up: IAM takes a while to spread.
- A denial is checked again after the operator's pause, or never.
- What AWS asks for (`x-amz-retry-after`) is a floor.

Sources: AWS Marketplace seller guide, retry for up to 30 minutes.
"""

from __future__ import annotations

from typing import Final

from sidecar.backoff import ceiling_seconds, full_jitter_seconds
from sidecar.entitlement.answer import AnswerClass

RETRY_SECONDS: Final = 1.0
RETRY_SECONDS_MAX: Final = 60.0
CONFIG_SECONDS: Final = 15.0
CONFIG_SECONDS_MAX: Final = 300.0
SPREAD: Final = 0.1
"""Pods denied together do not ask again together."""


def retry_delay_seconds(
    answer: AnswerClass, attempt: int, chance: float, reask_seconds: int, retry_after_seconds: float | None
) -> float | None:
    """Return seconds until the next question; None: not by itself.

    `attempt` counts answers of this class in a row, from 0. `chance` is uniform in [0, 1).
    """
    floor = retry_after_seconds or 0.0
    if answer is AnswerClass.ACCEPTED:
        return None
    if answer is AnswerClass.DENY:
        return reask_seconds * (1 + SPREAD * chance) if reask_seconds else None
    if answer is AnswerClass.CONFIG:
        longest = ceiling_seconds(attempt, first=CONFIG_SECONDS, most=CONFIG_SECONDS_MAX)
        return max(longest * (1 + SPREAD * chance), floor)
    return full_jitter_seconds(attempt, chance, first=RETRY_SECONDS, most=RETRY_SECONDS_MAX, floor=floor)
