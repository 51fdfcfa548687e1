"""Stand in for metering where no dimension is set.

Invariants:
- No ledger, no thread and no disk: a product that is not metered pays nothing for metering.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sidecar.api.metrics import Metric
from sidecar.attempts import Attempts
from sidecar.clock import Clock
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.settings import Dimension

if TYPE_CHECKING:  # a product that is not metered pays nothing for metering
    from sidecar.metering.records import UsageRecord
    from sidecar.metering.resolution import Resolution


class DisabledUsage:
    """An `api.ports.UsagePort` without dimensions."""

    dimensions: Mapping[str, Dimension] = {}
    workload = ""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def now(self) -> datetime:
        return self._clock.now()

    def push(
        self, events: Sequence[UsageEvent], now: datetime, on_result: Callable[[PushAccepted | PushRefused], None]
    ) -> None:
        """Refuse the push. Never called: an event of an unknown dimension is refused before."""
        on_result(
            PushRefused(status=404, reason="dimension_unknown", detail="No dimension is set: nothing is metered.")
        )

    def commit_pending(self) -> None:
        """Do nothing: nothing was pushed."""

    def count_refusal(self, reason: str) -> None:
        """Do nothing: there are no metrics of usage."""

    def records(self) -> Iterator[UsageRecord]:
        return iter(())

    def orphans(self) -> Sequence[tuple[str, UsageRecord]]:
        return ()

    def resolve(self, resolution: Resolution) -> Sequence[UsageRecord]:
        return ()

    def export(self, after: str) -> tuple[Sequence[str], str]:
        return (), ""


class DisabledLoop:
    """A `billing.protocol.Loop` that does nothing, and is done at once."""

    stopped_loop: str | None = None
    overdue_since: datetime | None = None

    def start(self) -> None: ...

    def set_identity(self, workload: str, region: str) -> None: ...

    def wait_until_loaded(self) -> None: ...

    def send_now(self) -> None: ...

    def prepare_stop(self) -> None: ...

    def stop(self) -> None: ...

    def stopped(self) -> bool:
        return True


class DisabledMetering:
    """A `billing.protocol.Metering` without anything to show."""

    fault: tuple[str, str] | None = None
    for_a_person: Mapping[str, int] = {}
    passed_at: datetime | None = None

    def __init__(self, clock: Clock) -> None:
        self.loop, self.usage, self.attempts = DisabledLoop(), DisabledUsage(clock), Attempts()

    def status(self) -> Mapping[str, object] | None:
        return None

    def metrics(self) -> Sequence[Metric]:
        return ()
