"""Say what came of one attempt to submit usage, in the few words that metrics have."""

from __future__ import annotations

from typing import Final

from sidecar.attempts import AttemptOutcome
from sidecar.metering.dispositions import classify
from sidecar.metering.outcomes import Outcome, Settled, Unknown
from sidecar.metering.states import Disposition

NAMED: Final = {
    "customer_not_entitled": AttemptOutcome.DENIED,
    "license_used_up": AttemptOutcome.DENIED,
    "throttled": AttemptOutcome.THROTTLED,
    "license_throttled": AttemptOutcome.THROTTLED,
}
"""Reason in `dispositions` → outcome."""


def attempt_outcome(outcome: Outcome) -> AttemptOutcome:
    """Return the outcome for metrics: what is sent again soon has failed, everything else was refused."""
    if isinstance(outcome, Settled):
        return AttemptOutcome.ACCEPTED
    if isinstance(outcome, Unknown):
        return AttemptOutcome.FAILED
    row = classify(outcome.code, outcome.message)
    passes = row.disposition is Disposition.HOLD and not row.slow
    return NAMED.get(row.reason, AttemptOutcome.FAILED if passes else AttemptOutcome.REFUSED)
