"""Pods that start and ask RegisterUsage until they are entitled.

Invariants:
- When a pod asks again is `sidecar.entitlement.retry`'s decision, or another rule's for comparison.
- A call takes no time here, and its first one leaves when the pod starts, as it does in the sidecar.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence

from sidecar.backoff import proportional_seconds
from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.retry import THROTTLED_SECONDS_MAX, THROTTLED_WAITED_MIN, Retries, next_retry
from sidecar.quick_dataclasses import dataclass, field
from tests.fleet.quota import Answer, Quota

REASK_SECONDS = 300

Rule = Callable[[Retries, Answer, float], Retries]
"""What is known before an answer, the answer, a chance → when the pod asks again."""


def ours(before: Retries, answer: Answer, chance: float) -> Retries:
    """Decide as the sidecar does."""
    return next_retry(before, AnswerClass.RETRY, chance, REASK_SECONDS, throttled=answer is Answer.THROTTLED)


def minute(before: Retries, answer: Answer, chance: float) -> Retries:
    """Decide as for any other transient failure: full jitter, doubled up to a minute."""
    return next_retry(before, AnswerClass.RETRY, chance, REASK_SECONDS)


def longer(before: Retries, answer: Answer, chance: float) -> Retries:
    """Decide as the sidecar does, with waits three times as long: 30 to 120 % of what was waited."""
    waited = max(before.throttled_seconds, THROTTLED_WAITED_MIN)
    wait = 2 * chance
    if before.throttled_seconds:
        wait = proportional_seconds(waited, chance, shares=(0.3, 1.2), most=THROTTLED_SECONDS_MAX)
    return Retries(answer=AnswerClass.RETRY, throttled_seconds=before.throttled_seconds + wait, delay_seconds=wait)


def told(ideal_seconds: float) -> Rule:
    """Return the rule of a fleet that knows how long it takes: each throttled pod asks once within that time."""

    def rule(before: Retries, answer: Answer, chance: float) -> Retries:
        wait = ideal_seconds * (1.05 if before.answer is None else 0.05) * chance
        return Retries(answer=AnswerClass.RETRY, delay_seconds=wait)

    return rule


@dataclass
class Start:
    """What became of a fleet that started."""

    starts: Sequence[float]
    opened: list[float]
    """When each pod was entitled."""
    calls: list[int]
    order: list[float] = field(default_factory=list)
    """When one pod after another was entitled, those of the fleet alone."""

    def waits(self, pods: range) -> list[float]:
        """Return how long these pods waited, in seconds, shortest first."""
        return sorted(self.opened[pod] - self.starts[pod] for pod in pods)


def simulate(
    starts: Sequence[float],
    quota: Quota,
    rule: Rule,
    seed: int,
    others: Sequence[float] = (),
    known_before: Retries | None = None,
) -> Start:
    """Return what becomes of pods that start at these seconds, beside `others` in the same account.

    `opened` and `calls` have the fleet first, then the others. `known_before`: what the fleet has gone through already.
    """
    chance = random.Random(seed).random
    everyone = [*starts, *others]
    queue = [(at, pod) for pod, at in enumerate(everyone)]
    heapq.heapify(queue)
    known = [known_before or Retries()] * len(starts) + [Retries()] * len(others)
    opened, calls = [0.0] * len(everyone), [0] * len(everyone)
    order: list[float] = []
    while queue:
        at, pod = queue[0]
        calls[pod] += 1
        answer = quota.call(at)
        if answer is Answer.TAKEN:
            heapq.heappop(queue)
            opened[pod] = at
            if pod < len(starts):
                order.append(at)
            continue
        known[pod] = rule(known[pod], answer, chance())
        delay = known[pod].delay_seconds
        assert delay is not None, "a transient failure is always followed by a question"
        heapq.heapreplace(queue, (at + delay, pod))
    return Start(starts=everyone, opened=opened, calls=calls, order=order)
