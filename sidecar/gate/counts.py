"""Count the checks of the entitlement loop, for `/metrics`. Written by that loop alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sidecar.attempts import AttemptOutcome, Attempts
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.classify import classify
from sidecar.gate.messages import CheckResult
from sidecar.quick_dataclasses import dataclass, field

OUTCOMES: Final[Mapping[AnswerClass, AttemptOutcome]] = {
    AnswerClass.ACCEPTED: AttemptOutcome.ACCEPTED,
    AnswerClass.DENY: AttemptOutcome.DENIED,
    AnswerClass.CONFIG: AttemptOutcome.REFUSED,
    AnswerClass.RETRY: AttemptOutcome.FAILED,
    AnswerClass.RETRY_THEN_CONFIG: AttemptOutcome.FAILED,
}
THROTTLED: Final = "throttled"
"""The reason in `entitlement.aws_errors`."""


def throttled(result: CheckResult) -> bool:
    """Return whether AWS throttled this check, also where a kept answer stood in."""
    if result.from_kept_answer:
        return classify(result.code, AnsweredBy.REGISTER_USAGE).reason == THROTTLED
    return result.reason == THROTTLED


@dataclass(kw_only=True)
class Counts:
    """Numbers of checks."""

    answers: dict[str, int] = field(default_factory=lambda: {answer.value: 0 for answer in AnswerClass})
    attempts: Attempts = field(default_factory=Attempts)
    seconds_last: float = 0.0
    not_kept: int = 0
    passed_at: datetime | None = None
    """When the last check ended."""
    last: CheckResult | None = None
    """What it gave, also where the gate is open and keeps the result it opened with."""

    def answered(self, result: CheckResult, now: datetime) -> None:
        """Count one check, which ended at `now`."""
        self.answers[result.verdict.value] += 1
        self.attempts.add(outcome_of(result), now)
        self.passed_at, self.last = now, result


def outcome_of(result: CheckResult) -> AttemptOutcome:
    """Return what came of the attempt; a kept answer stands in for AWS where AWS could not be asked."""
    if result.from_kept_answer:
        return AttemptOutcome.FAILED
    if result.reason == THROTTLED:
        return AttemptOutcome.THROTTLED
    return OUTCOMES[result.verdict]
