"""Take over usage of workloads that are gone, and delete what nothing waits for, every ten minutes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sidecar.billing.orphans import OrphanTracker
from sidecar.billing.quarantine import Quarantine
from sidecar.ledger.ledger import Ledger

MAINTENANCE: Final = "maintenance"
"""The kind of a step without which usage is reported all the same."""
INTERVAL: Final = timedelta(minutes=10)


class Maintenance:
    """Maintains the ledger of one workload, and looks after those of others on the same volume."""

    def __init__(self, quarantine: Quarantine) -> None:
        self.orphans = OrphanTracker()
        self._quarantine = quarantine
        self._ran_at: datetime | None = None

    def run(self, ledger: Ledger, workload: str, now: datetime) -> None:
        """Do what is to be done, where the last time is long enough ago. Raises LedgerError."""
        if self._ran_at is not None and abs(now - self._ran_at) < INTERVAL:
            return
        self._ran_at = now
        step = self._quarantine.run
        step(MAINTENANCE, "taking over", lambda: self.orphans.update(workload, ledger.adopt(now)))
        step(MAINTENANCE, "deleting", lambda: ledger.prune(now))
