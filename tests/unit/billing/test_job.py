"""A batch ends with the first outcome that every other record would have too."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.billing.job import stops_batch
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown


@pytest.mark.parametrize(
    "outcome",
    [
        Refused(code="ThrottlingException", retry_after_seconds=9.0),
        Refused(code="NoCredentialsError", sent=False),
        Refused(code="EndpointConnectionError", sent=False),
        Refused(code="AccessDeniedException"),
        Refused(code="InvalidSignatureException", message="expired"),
        Refused(code="503"),
        Refused(code="NeverSeenError", sent=False),
        Unknown(code="ReadTimeoutError"),
    ],
)
def test_an_outcome_that_would_hold_every_record_ends_the_batch(outcome: Any) -> None:
    held = stops_batch(outcome)
    assert held is not None
    assert (held.code, held.sent) == (outcome.code, False)
    assert held.message == getattr(outcome, "message", "")
    assert held.retry_after_seconds == getattr(outcome, "retry_after_seconds", None)


@pytest.mark.parametrize(
    "outcome",
    [
        Settled(record_id="r"),
        Refused(code="DuplicateRequestException"),
        Refused(code="InvalidTagException"),
        Refused(code="TimestampOutOfBoundsException"),
        Refused(code="InternalServiceErrorException"),
        Refused(code="NeverSeenException"),
        Refused(code="DecimalsUnsupported", sent=False),
        Unknown(code="record_id_missing"),
    ],
)
def test_an_outcome_that_may_concern_one_record_does_not_end_the_batch(outcome: Outcome) -> None:
    assert stops_batch(outcome) is None
