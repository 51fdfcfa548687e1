"""Decide when AWS is asked again.

Invariants:
- The first check goes out at once (the caller's part); transient failures are retried without end, with full-jitter
  exponential backoff, capped.
- A throttled pod waits 20 to 40 % of the time that it has waited for the quota, from about a second up to ten minutes
  (`python -m tests.fleet` compares rules). A pod that is not throttled is never slowed by this.
- A mistake in the configuration is checked again from 15 seconds up: IAM takes a while to spread.
- A denial is checked again after the operator's pause, or never.
- What AWS asks for (`x-amz-retry-after`) is a floor.

Sources: AWS Marketplace seller guide, retry for up to 30 minutes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Self

from sidecar.backoff import ceiling_seconds, full_jitter_seconds, proportional_seconds
from sidecar.entitlement.answer import AnswerClass
from sidecar.quick_dataclasses import dataclass

RETRY_SECONDS: Final = 1.0
RETRY_SECONDS_MAX: Final = 60.0
THROTTLED_SECONDS: Final = 2.0
"""Below this the first wait is, so that a few pods go through in seconds."""
THROTTLED_SHARES: Final = (0.2, 0.4)
"""The ideal time is exceeded by no more than the greater: a quota that is free again is noticed within it."""
THROTTLED_WAITED_MIN: Final = 6.0
"""Shares are of no less: the second wait is about as long as the first."""
THROTTLED_SECONDS_MAX: Final = 600.0
CONFIG_SECONDS: Final = 15.0
CONFIG_SECONDS_MAX: Final = 300.0
TRANSIENT: Final = (AnswerClass.RETRY, AnswerClass.RETRY_THEN_CONFIG)
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Retries:
    """How long AWS has not let this workload in, and when it is asked again."""

    attempt: int = 0
    """Answers of one class in a row, from 0."""
    answer: AnswerClass | None = None
    """That class; None before the first answer."""
    throttled_seconds: float = 0.0
    """The waits for the quota so far. Another transient failure between them changes nothing."""
    delay_seconds: float | None = None
    """Seconds until the next question; None: not by itself."""

    def as_json(self) -> Mapping[str, object]:
        """Return it as plain values, for the next worker of this process."""
        return {
            "attempt": self.attempt,
            "answer": self.answer.value if self.answer else None,
            "throttled_seconds": self.throttled_seconds,
            "delay_seconds": self.delay_seconds,
        }

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Self:
        """Return what an earlier worker left with `as_json`."""
        answer = AnswerClass(found["answer"]) if found["answer"] else None
        return cls(**{**found, "answer": answer})


def next_retry(
    before: Retries,
    answer: AnswerClass,
    chance: float,
    reask_seconds: int,
    *,
    throttled: bool = False,
    retry_after_seconds: float | None = None,
) -> Retries:
    """Return when AWS is asked again after an answer. `throttled`: it was above a quota. `chance` is in [0, 1)."""
    attempt = before.attempt + 1 if answer is before.answer else 0
    if throttled and answer in TRANSIENT:
        delay = throttled_delay_seconds(before.throttled_seconds, chance, retry_after_seconds)
        return Retries(
            attempt=attempt,
            answer=answer,
            throttled_seconds=before.throttled_seconds + delay,
            delay_seconds=delay,
        )
    return Retries(
        attempt=attempt,
        answer=answer,
        throttled_seconds=before.throttled_seconds if answer in TRANSIENT else 0.0,
        delay_seconds=retry_delay_seconds(answer, attempt, chance, reask_seconds, retry_after_seconds),
    )


def throttled_delay_seconds(waited: float, chance: float, retry_after_seconds: float | None = None) -> float:
    """Return seconds until the next question of a throttled pod. `waited`: its waits for the quota so far."""
    floor = retry_after_seconds or 0.0
    if not waited:
        return max(THROTTLED_SECONDS * chance, floor)
    long_enough = max(waited, THROTTLED_WAITED_MIN)
    return proportional_seconds(long_enough, chance, shares=THROTTLED_SHARES, most=THROTTLED_SECONDS_MAX, floor=floor)
