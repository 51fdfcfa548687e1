"""Take over usage of workloads that are gone, and delete what nothing waits for, every ten minutes.

A ledger that was in use is taken over as soon as its lock is free: its product may repeat to ours what it kept.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sidecar.billing.orphans import OrphanTracker
from sidecar.billing.quarantine import Quarantine
from sidecar.ledger.ledger import Ledger

MAINTENANCE: Final = "maintenance"
"""The kind of a step without which usage is reported all the same."""
TAKING_OVER: Final = "taking over"
INTERVAL: Final = timedelta(minutes=10)


class Maintenance:
    """Maintains the ledger of one workload, and looks after those of others on the same volume."""

    def __init__(self, quarantine: Quarantine) -> None:
        self.orphans = OrphanTracker()
        self._quarantine = quarantine
        self._ran_at: datetime | None = None

    def run(self, ledger: Ledger, workload: str, now: datetime) -> None:
        """Do what is to be done, where the last time is long enough ago. Raises LedgerError."""
        step = self._quarantine.run
        if self._ran_at is not None and abs(now - self._ran_at) < INTERVAL:
            if freed := ledger.freed():
                step(MAINTENANCE, TAKING_OVER, lambda: self.orphans.update(workload, ledger.adopt(now, freed), freed))
            return
        self._ran_at = now
        step(MAINTENANCE, TAKING_OVER, lambda: self.orphans.update(workload, ledger.adopt(now)))
        step(MAINTENANCE, "deleting", lambda: ledger.prune(now))
