"""Count attempts to ask AWS, by what came of them, for `/metrics`.

Invariants:
- The words are few and fixed: they are label values. AWS's own error codes are in the log and in the status.
- One thread counts; others read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum


class AttemptOutcome(Enum):
    """What came of one attempt."""

    ACCEPTED = "accepted"
    DENIED = "denied"
    """AWS says that this customer has no subscription, or its answer does not verify."""
    THROTTLED = "throttled"
    """AWS has had too many requests of this account."""
    REFUSED = "refused"
    """An error that does not go away until something is changed: role, region, dimension, quantity."""
    FAILED = "failed"
    """No answer, or an error that goes away by itself."""


class Attempts:
    """The attempts of one loop since its process started."""

    def __init__(self) -> None:
        self.accepted_at: datetime | None = None
        """When AWS last accepted one."""
        self._counts = dict.fromkeys(AttemptOutcome, 0)

    def add(self, outcome: AttemptOutcome, now: datetime) -> None:
        """Count one attempt, which ended at `now`."""
        self._counts[outcome] += 1
        if outcome is AttemptOutcome.ACCEPTED:
            self.accepted_at = now

    def by_outcome(self) -> Mapping[str, int]:
        """Return the number of attempts by outcome, every outcome named."""
        return {one.value: count for one, count in self._counts.items()}
