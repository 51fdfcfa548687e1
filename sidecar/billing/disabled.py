"""Stand in for metering where no dimension is set.

Invariants:
- No ledger, and no import of one: a product that is not metered pays nothing for metering.
- Ledgers that an earlier version of the product left are named, once: their usage waits until the dimensions are set
  again. One thread lists the directory and ends: a disk that hangs delays nothing.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar import log
from sidecar.api.metrics import Metric
from sidecar.attempts import Attempts
from sidecar.clock import Clock
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.settings import Dimension

if TYPE_CHECKING:  # a product that is not metered pays nothing for metering
    from sidecar.metering.hours import Hour
    from sidecar.metering.records import UsageRecord
    from sidecar.metering.resolution import Resolution


UNUSED_HINT: Final = (
    "SIDECAR_DIMENSIONS is empty, so usage that waits in these ledgers is not billed. Set the dimensions as they were"
    " before, and it is; `entitlement-sidecar usage` shows it then. If nothing waits there, delete the files."
)
NAMED_MAX: Final = 20
"""Ledgers that are named; a volume that many pods used may have more."""


def unused_ledgers(state_dir: Path) -> list[str]:
    """Return the ledgers that stand in a directory, in the order of their names; none where it cannot be read."""
    try:
        names = sorted(os.listdir(state_dir))
    except OSError:
        return []
    return [str(state_dir / name) for name in names if name.startswith("ledger-") and name.endswith(".sqlite3")]


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

    def recent_records(self, since: Hour) -> Sequence[UsageRecord]:
        return ()

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

    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.unused: Sequence[str] = ()
        """Ledgers that nothing is billed from."""

    def start(self) -> None:
        threading.Thread(target=self.look, name="unused-ledgers", daemon=True).start()

    def look(self) -> None:
        """Log the ledgers that stand there, where there are any."""
        self.unused = found = unused_ledgers(self._state_dir)
        if found:
            log.warn("ledger.unused", paths=found[:NAMED_MAX], count=len(found), hint=UNUSED_HINT)

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

    def __init__(self, clock: Clock, state_dir: Path) -> None:
        self.loop, self.usage, self.attempts = DisabledLoop(state_dir), DisabledUsage(clock), Attempts()

    def status(self) -> Mapping[str, object] | None:
        return None

    @property
    def unused_ledgers(self) -> Sequence[str]:
        return self.loop.unused[:NAMED_MAX]

    def metrics(self) -> Sequence[Metric]:
        return ()
