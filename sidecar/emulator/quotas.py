"""Count calls against AWS's published quotas, where they are kept on order.

Invariants:
- A quota is for an account, a region and an operation. A bucket of one second's calls fills in real time, whatever the
  emulated clock says: AWS publishes the rate, not the burst.
- A call that is throttled takes nothing from the bucket.
- What no quota is published for is not throttled.

Sources: AWS Marketplace developer guide, `metering-service-quotas`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sidecar.emulator.refusals import refusal

PUBLISHED: Final[Mapping[str, float]] = MappingProxyType(
    {"RegisterUsage": 5.0, "MeterUsage": 10.0, "BatchMeterUsage": 10.0}
)
"""Calls a second."""


@dataclass(kw_only=True)
class Bucket:
    """The calls that may be made now, and since when that is known."""

    left: float
    at: float
    """Monotonic seconds."""

    def takes(self, rate: float, monotonic: float) -> bool:
        """Return whether a call is within `rate` a second, and count it if it is."""
        self.left, self.at = min(max(rate, 1.0), self.left + (monotonic - self.at) * rate), monotonic
        if self.left < 1:
            return False
        self.left -= 1
        return True


class Quotas:
    """The buckets of every account, region and operation. The caller holds the lock."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._buckets: dict[tuple[str, str, str], Bucket] = {}

    def within(self, account: str, region: str, operation: str, rate: float) -> bool:
        """Return whether one more call is within `rate` calls a second (0: any number), and count it."""
        if rate <= 0:
            return True
        now = self._monotonic()
        bucket = self._buckets.setdefault((account, region, operation), Bucket(left=max(rate, 1.0), at=now))
        return bucket.takes(rate, now)

    def check(self, account: str, region: str, operation: str, times: float) -> None:
        """Refuse a call above `times` the published quota; 0 keeps none."""
        if not self.within(account, region, operation, times * PUBLISHED.get(operation, 0.0)):
            raise refusal("ThrottlingException")
