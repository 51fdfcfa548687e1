"""An account's quota at AWS, as a token bucket, and times at which AWS does not answer.

Invariants:
- AWS publishes the rate, not the burst: the bucket holds one second's calls unless it is told otherwise.
- A throttled call takes nothing.

Sources: AWS Marketplace developer guide, `metering-service-quotas` (per account and region).
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from sidecar.quick_dataclasses import dataclass

REGISTER_USAGE: Final = 5.0
METER_USAGE: Final = 10.0
"""Calls a second."""
BURST_SECONDS: Final = 1.0


class Answer(Enum):
    """What comes of one call."""

    TAKEN = "taken"
    THROTTLED = "throttled"
    FAILED = "failed"


@dataclass
class Quota:
    """Answers calls, whose times do not decrease."""

    rate: float
    """Calls a second."""
    burst_seconds: float = BURST_SECONDS
    down_until: float = 0.0
    """AWS fails before this second."""

    def __post_init__(self) -> None:
        self._left, self._at = self.burst, 0.0

    @property
    def burst(self) -> float:
        """Return how many calls may come at once."""
        return max(1.0, self.rate * self.burst_seconds)

    def call(self, at: float) -> Answer:
        """Return the answer to a call at this second."""
        if at < self.down_until:
            return Answer.FAILED
        self._left, self._at = min(self.burst, self._left + (at - self._at) * self.rate), at
        if self._left < 1:
            return Answer.THROTTLED
        self._left -= 1
        return Answer.TAKEN
