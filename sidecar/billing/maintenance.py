"""Take over usage of workloads that are gone, and delete what nothing waits for, every ten minutes.

A ledger that was in use is taken over as soon as its lock is free: its product may repeat to ours what it kept.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sidecar.billing.orphans import OrphanTracker
from sidecar.billing.quarantine import Quarantine
from sidecar.ledger.adoption import AdoptionResult
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

    def begin(self, ledger: Ledger, workload: str, now: datetime) -> None:
        """Do what the first push has to wait for. Raises LedgerError."""
        self._adopt(workload, lambda: ledger.neighbours.adopt_recent(now), only_some=True)

    def run(self, ledger: Ledger, workload: str, now: datetime) -> None:
        """Do what is to be done, where the last time is long enough ago. Raises LedgerError."""
        if self._ran_at is not None and abs(now - self._ran_at) < INTERVAL:
            if freed := ledger.neighbours.freed():
                self._adopt(workload, lambda: ledger.adopt(now, freed), only_some=True)
            return
        self._ran_at = now
        self._adopt(workload, lambda: ledger.adopt(now))
        self._quarantine.run(MAINTENANCE, "deleting", lambda: ledger.prune(now))

    def _adopt(
        self, workload: str, adopt: Callable[[], tuple[AdoptionResult, ...]], *, only_some: bool = False
    ) -> None:
        update = self.orphans.update
        name = "taking over from some" if only_some else "taking over"  # some of them say nothing of the others
        self._quarantine.run(MAINTENANCE, name, lambda: update(workload, adopt(), only_some=only_some))
