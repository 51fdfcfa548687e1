"""The fleets that are simulated, and what came of each.

Invariants:
- Against AWS's published quota, and 10 and 100 times it.
- A second product starts a pod a minute in the same account meanwhile, by the same rules.
- After an outage each pod waits as it would after hours of failures.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.retry import RETRY_SECONDS_MAX, Retries
from sidecar.quick_dataclasses import dataclass
from tests.fleet.hours import HourResult, MeteringFleet
from tests.fleet.quota import BURST_SECONDS, METER_USAGE, REGISTER_USAGE, Quota
from tests.fleet.starting import Rule, Start, longer, minute, ours, simulate, told

OUTAGE_SECONDS: Final = 3 * 3600.0
LONG_FAILED: Final = Retries(attempt=100, answer=AnswerClass.RETRY)
OTHERS: Final = 20
TIMES: Final = (1, 10, 100)
SIDECAR: Final = "sidecar"
MINUTE: Final = "full jitter, a minute at most"
LONGER: Final = "waits of 30 to 120 %"
TOLD: Final = "told the fleet's size"
"""Names of rules."""


@dataclass(frozen=True, kw_only=True)
class Starting:
    """A fleet that starts: how many pods, within how many seconds, against how many times the quota."""

    name: str
    pods: int
    times: float
    over: float = 1.0
    down: float = 0.0
    """AWS fails until this second; the pods have asked for hours by then."""

    @property
    def rate(self) -> float:
        return REGISTER_USAGE * self.times

    @property
    def ideal(self) -> float:
        """Return the seconds in which the quota lets all in; after an outage a pod cannot know before it asks."""
        return max((self.pods - max(1.0, self.rate)) / self.rate, self.span)

    @property
    def span(self) -> float:
        """Return within how many seconds each pod asks."""
        return RETRY_SECONDS_MAX if self.down else self.over

    def run(self, rule: Rule, seed: int) -> StartResult:
        chance = random.Random(seed).random
        starts = sorted(self.down + self.span * chance() for _ in range(self.pods))
        step = max(1.0, min(60.0, self.ideal / OTHERS))
        others = [self.down + step * (number + 0.5) for number in range(OTHERS)]
        known = LONG_FAILED if self.down else Retries()
        return StartResult(self, simulate(starts, Quota(self.rate, down_until=self.down), rule, seed, others, known))


@dataclass(frozen=True)
class StartResult:
    """What came of it, in the words of the table."""

    scenario: Starting
    start: Start

    @property
    def seconds(self) -> float:
        """Return how long it took until all were entitled."""
        return self.start.order[-1] - self.scenario.down

    @property
    def ratio(self) -> float:
        return self.seconds / self.scenario.ideal

    @property
    def calls(self) -> float:
        """Return the mean calls of a pod, since AWS answers."""
        return sum(self.start.calls[: self.scenario.pods]) / self.scenario.pods

    @property
    def most_calls(self) -> int:
        return max(self.start.calls[: self.scenario.pods])

    @property
    def worst_seconds(self) -> float:
        """Return the longest wait of one pod, since it started or AWS answers."""
        return self.start.waits(range(self.scenario.pods))[-1]

    @property
    def others_seconds(self) -> tuple[float, float]:
        """Return the median and longest wait of the second product's pods."""
        waits = self.start.waits(range(self.scenario.pods, len(self.start.starts)))
        return waits[len(waits) // 2], waits[-1]


AT_ONCE: Final = tuple(Starting(name="10 000 at once", pods=10_000, times=times) for times in TIMES)
BACK: Final = tuple(
    Starting(name="10 000, AWS back after three hours", pods=10_000, times=times, down=OUTAGE_SECONDS)
    for times in TIMES
)
OVER_AN_HOUR: Final = tuple(
    Starting(name="100 000 over an hour", pods=100_000, times=times, over=3600.0) for times in TIMES
)
SMALLER: Final = tuple(
    Starting(name=f"{pods:,} at once".replace(",", " "), pods=pods, times=1) for pods in (10, 100, 1000, 3000)
)
RULES: Final[dict[str, Callable[[Starting], Rule]]] = {
    SIDECAR: lambda _scenario: ours,
    MINUTE: lambda _scenario: minute,
    LONGER: lambda _scenario: longer,
    TOLD: lambda scenario: told(scenario.ideal),
}


@dataclass(frozen=True, kw_only=True)
class Metering:
    """A fleet that meters for some hours."""

    name: str
    pods: int
    times: float
    hours: int = 4
    dimensions: int = 1
    down: float = 0.0
    """Seconds after the first hour's end in which AWS fails."""
    burst_seconds: float = BURST_SECONDS
    learns: bool = True
    """Whether the sidecar's rule is used, or that of a pod that is alone, for comparison."""

    @property
    def ideal(self) -> float:
        """Return the seconds after an hour's end in which the quota takes all its records."""
        rate = METER_USAGE * self.times
        return 60 + self.pods * self.dimensions / rate

    def run(self, seed: int) -> Sequence[HourResult]:
        quota = Quota(METER_USAGE * self.times, self.burst_seconds, down_until=self.down)
        fleet = MeteringFleet(
            self.pods, quota, seed, dimensions=self.dimensions, learns=self.learns, alone=not self.learns
        )
        return fleet.run(self.hours)


HOURLY: Final = tuple(Metering(name="10 000 pods", pods=10_000, times=times) for times in TIMES)
HOURLY_BEFORE: Final = Metering(name="10 000 pods, each as if alone", pods=10_000, times=1, hours=2, learns=False)
HOURLY_MORE: Final = Metering(name="3 000 pods, 3 dimensions each", pods=3_000, times=1, dimensions=3)
HOURLY_BACK: Final = Metering(
    name="1 000 pods at a tenth of the quota, AWS back after three hours",
    pods=1_000,
    times=0.1,
    burst_seconds=10,
    hours=5,
    down=OUTAGE_SECONDS,
)
