"""A submitted record counts as one attempt, by what AWS said of it."""

from __future__ import annotations

import pytest

from sidecar.attempts import AttemptOutcome
from sidecar.metering.attempts import NAMED, attempt_outcome
from sidecar.metering.dispositions import TABLE
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Settled(record_id="r"), AttemptOutcome.ACCEPTED),
        (Unknown(code="ReadTimeoutError"), AttemptOutcome.FAILED),
        (Refused(code="CustomerNotEntitledException"), AttemptOutcome.DENIED),
        (Refused(code="ThrottlingException"), AttemptOutcome.THROTTLED),
        (Refused(code="EndpointConnectionError", sent=False), AttemptOutcome.FAILED),
        (Refused(code="InternalServiceErrorException"), AttemptOutcome.FAILED),
        (Refused(code="AccessDeniedException"), AttemptOutcome.REFUSED),
        (Refused(code="DuplicateRequestException"), AttemptOutcome.REFUSED),
        (Refused(code="InvalidUsageDimensionException"), AttemptOutcome.REFUSED),
        (Refused(code="NoEntitlementsAllowedException"), AttemptOutcome.DENIED),
        (Refused(code="RateLimitExceededException"), AttemptOutcome.THROTTLED),
        (Refused(code="NeverHeardOf"), AttemptOutcome.REFUSED),
        (Refused(code="InvalidSignatureException", message="Signature expired"), AttemptOutcome.FAILED),
        (Refused(code="InvalidSignatureException"), AttemptOutcome.REFUSED),
    ],
    ids=str,
)
def test_an_answer_counts_as_what_it_was(outcome: Outcome, expected: AttemptOutcome) -> None:
    assert attempt_outcome(outcome) is expected


def test_named_reasons_are_the_tables() -> None:
    assert set(NAMED) <= {row.reason for row in TABLE.values()}
