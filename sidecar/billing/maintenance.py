"""Take over usage of workloads that are gone, and delete what nothing waits for, every ten minutes.

A ledger that was in use is taken over as soon as its lock is free: its product may repeat to ours what it kept.

Invariants:
- Until the ids of a dead workload are copied, no usage is taken: the next workload would count what the product repeats
  a second time. A full volume is waited for. Another failure of the disk may be over with the next pass, and is waited
  for TRIES passes, about a minute; then it is logged, and ours goes on. A damaged file is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from sidecar.billing.orphans import OrphanTracker
from sidecar.billing.quarantine import Quarantine
from sidecar.ledger.adoption import AdoptionResult
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger

MAINTENANCE: Final = "maintenance"
"""The kind of a step without which usage is reported all the same."""
NO_ROOM: Final = "ledger_full"
DISK: Final = frozenset({NO_ROOM, "ledger_io_error", "ledger_read_only"})
"""Reasons of the disk, not of the file: they may be over when it is tried again."""
TRIES: Final = 20
"""Passes, each `PASS_SECONDS_UNUSABLE` after the last, in which an unreadable ledger of another is tried again."""
INTERVAL: Final = timedelta(minutes=10)


class Maintenance:
    """Maintains the ledger of one workload, and looks after those of others on the same volume."""

    def __init__(self, quarantine: Quarantine) -> None:
        self.orphans = OrphanTracker()
        self._quarantine = quarantine
        self._ran_at: datetime | None = None
        self._tries = 0

    def begin(self, ledger: Ledger, workload: str, now: datetime) -> None:
        """Do what the first push has to wait for. Raises LedgerError, also where the disk keeps others' ids from it."""
        found = self._adopt(workload, lambda: ledger.neighbours.adopt_recent(now), only_some=True)
        missing = [one for one in found if one.ids_missing and one.skipped in DISK]
        if not missing:
            return
        self._tries += 1
        for one in missing:
            if one.skipped == NO_ROOM or self._tries < TRIES:
                raise LedgerError(one.skipped, f"{one.path.name} has ids that cannot be copied.")

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
    ) -> tuple[AdoptionResult, ...]:
        found: tuple[AdoptionResult, ...] = ()

        def work() -> None:
            nonlocal found
            found = adopt()
            self.orphans.update(workload, found, only_some=only_some)

        name = "taking over from some" if only_some else "taking over"  # some of them say nothing of the others
        self._quarantine.run(MAINTENANCE, name, work)
        return found
