"""Take usage that is pulled, and give what was read before, over the ledger of this workload.

Invariants:
- Events and readings are in one transaction of the ledger; the caller waits for it.
- While there is no ledger, or its disk does not respond, nothing is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime

from sidecar.billing.loop import STUCK, BillingLoop
from sidecar.billing.usage import WORKLOAD_UNKNOWN
from sidecar.errors import SidecarError
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.pushes import PushRequest
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.readings import Reading


class PulledUsage:
    """A `sources.store.Store` over the ledger of the billing loop."""

    def __init__(self, loop: BillingLoop) -> None:
        self._loop = loop

    @property
    def workload(self) -> str:
        """Return whose usage is counted; empty while there is no ledger yet."""
        return self._loop.events.workload if self._loop.ledger else ""

    def readings(self, source: str) -> Mapping[str, Reading]:
        """Return what each series of a source was last read to be. Waits for the disk. Raises SidecarError."""
        return self._ledger().readings(source)

    def keep(
        self, events: Sequence[UsageEvent], source: str, readings: Sequence[Reading], now: datetime
    ) -> PushAccepted | PushRefused:
        """Store events, and what `source` was read to be: both or neither. Waits for the disk. Raises SidecarError."""
        ledger, results = self._ledger(), list[PushAccepted | PushRefused]()
        done = threading.Lock()
        done.acquire()

        def on_result(result: PushAccepted | PushRefused) -> None:
            results.append(result)
            done.release()

        ledger.begin_request(PushRequest(events, now, source, readings), now, on_result)
        ledger.commit_pending()
        done.acquire()
        return results[0]

    def _ledger(self) -> Ledger:
        ledger = self._loop.ledger
        if ledger is None:
            raise SidecarError(*WORKLOAD_UNKNOWN)
        if self._loop.monitor.stuck:
            raise SidecarError(*STUCK)
        return ledger
