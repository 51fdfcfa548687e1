"""Space the calls of the one sender, so that the account's quota is kept.

Sources: AWS Marketplace service quotas, BatchMeterUsage: 10 calls a second for an account and region.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

SPACING_SECONDS: Final = 0.1
JITTER_SECONDS: Final = 0.03


class Pace:
    """Waits until the next call may leave."""

    def __init__(
        self, monotonic: Callable[[], float], sleep: Callable[[float], object], chance: Callable[[], float]
    ) -> None:
        """`chance` returns a number in [0, 1), new each time."""
        self._monotonic, self._sleep, self._chance = monotonic, sleep, chance
        self._next = monotonic()

    def wait(self) -> None:
        """Return once the next call may leave."""
        left = self._next - self._monotonic()
        if left > 0:
            self._sleep(left)
        self._next = self._monotonic() + SPACING_SECONDS + JITTER_SECONDS * self._chance()
