"""Name what the sources need of the ledger, so that they know no billing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.readings import Reading


class Store(Protocol):
    """The ledger of this workload. Both methods wait for the disk."""

    @property
    def workload(self) -> str:
        """Return whose usage is counted; empty while there is no ledger yet."""

    def readings(self, source: str) -> Mapping[str, Reading]:
        """Return what each series of a source was last read to be. Raises SidecarError."""

    def keep(
        self, events: Sequence[UsageEvent], source: str, readings: Sequence[Reading], now: datetime
    ) -> PushAccepted | PushRefused:
        """Store events, and what `source` was read to be, in one transaction: both or neither."""
