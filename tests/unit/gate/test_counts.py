"""A check counts as one attempt, by what AWS said of it."""

from __future__ import annotations

import pytest

from sidecar.attempts import AttemptOutcome
from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.error_table import ROWS
from sidecar.gate.counts import OUTCOMES, THROTTLED, Counts, outcome_of, throttled
from sidecar.gate.messages import CheckResult
from sidecar.quick_dataclasses import replace
from tests.fakes.clock import NOON
from tests.unit.gate.support import ACCEPTED, CONFIG, DENY, FORGED, LATER, REOPENED, RETRY


@pytest.mark.parametrize(
    ("result", "outcome"),
    [
        (ACCEPTED, AttemptOutcome.ACCEPTED),
        (REOPENED, AttemptOutcome.FAILED),
        (DENY, AttemptOutcome.DENIED),
        (FORGED, AttemptOutcome.DENIED),
        (CONFIG, AttemptOutcome.REFUSED),
        (RETRY, AttemptOutcome.THROTTLED),
        (LATER, AttemptOutcome.FAILED),
    ],
    ids=lambda one: one.value if isinstance(one, AttemptOutcome) else one.reason,
)
def test_an_answer_counts_as_what_it_was(result: CheckResult, outcome: AttemptOutcome) -> None:
    assert outcome_of(result) is outcome
    counts = Counts()
    counts.answered(result, NOON)
    assert counts.attempts.by_outcome()[outcome.value] == 1
    assert counts.passed_at == NOON
    assert counts.attempts.accepted_at == (NOON if outcome is AttemptOutcome.ACCEPTED else None)


def test_every_class_has_an_outcome_and_the_reason_is_the_tables() -> None:
    assert set(OUTCOMES) == set(AnswerClass)
    assert THROTTLED in {row.reason for row in ROWS}


@pytest.mark.parametrize(
    ("result", "found"),
    [
        (RETRY, True),
        (replace(REOPENED, code="ThrottlingException"), True),
        (replace(REOPENED, code="InternalServiceErrorException"), False),
        (LATER, False),
        (ACCEPTED, False),
    ],
    ids=["throttled", "throttled-kept", "failing-kept", "unreachable", "accepted"],
)
def test_a_throttled_check_is_told_also_where_a_kept_answer_stood_in(result: CheckResult, found: bool) -> None:
    assert throttled(result) is found
