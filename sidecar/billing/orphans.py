"""Track what workloads that are gone left on this volume, for the log, the status and the metrics.

`ledger.adoption` decides what may be taken over.

Invariants:
- Usage that is billed only with a person's help is logged as an error that names the ledger, its content, and the next
  step.
- It is checked in every maintenance run, and logged when it changes.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Final

from sidecar import log
from sidecar.clock import iso
from sidecar.ledger.adoption import AdoptionResult
from sidecar.ledger.errors import REASONS
from sidecar.metering.quantities import exact_sums, plain
from sidecar.metering.records import UsageRecord
from sidecar.quick_dataclasses import dataclass, field, replace

NOT_OURS: Final = ("ledger_locked", "ledger_of_another")
"""Why another ledger is rightly left alone: its workload runs, or it is of another product or region."""
UNREADABLE_HINT: Final = (
    "The file at `path` is another workload's: it is left as it is, and this workload is metered without it. Keep it"
    " for the seller's support."
)
UNANSWERED_HINT: Final = (
    "AWS may have counted this record. Its own workload sends it again if it comes back while AWS takes it. From"
    " another one AWS would count it as another record. If it does not come back, it is logged as `usage.orphaned`."
)
IDS_UNREAD_HINT: Final = (
    "Another workload uses the ledger at `path`. Until it ends, an event that was sent to it and is sent again to this"
    " one counts twice. With a kept volume use Recreate or a StatefulSet, so that one pod ends before the next starts."
)
DOUBT_HINT: Final = (
    "The last commit in the log is not whole. After a power cut that is normal, and its pushes were not acknowledged:"
    " the product sends them again. If there was none, the disk changed it, and up to one commit of acknowledged usage"
    " is lost: check the disk."
)
UNCONFIGURED_HINT: Final = (
    "Usage of a dimension that is not configured is not billed. Add the dimension to SIDECAR_DIMENSIONS again, as it"
    " was, to have it billed."
)
CLAIMED_HINT: Final = (
    "A sidecar claimed this usage of a workload that is gone, and has not taken it yet. It does once its volume has"
    " room; if it is gone itself, another one does. If this lasts, the ledger that claimed it is gone or unreadable, or"
    " claimed it more than 34 days ago and may have billed it:"
    " give the log line `usage.claimed` to the seller's support, and keep the file at `path`."
)
ORPHANED_HINT: Final = (
    "Look up in CloudTrail (MeterUsage; CheckoutLicense for what is drawn from a license) or in the AWS Marketplace"
    " bill whether AWS counted the hour. If not, bill it in"
    " the open hour: `usage retry --workload W --roll-forward`. If it did, `usage retry --workload W` with `--confirm`,"
    " or with `--accept-aws` where AWS's quantity is right."
)


@dataclass(kw_only=True)
class OrphanTracker:
    """What was left in ledgers of workloads that are gone, when they were last checked."""

    orphaned: Sequence[Mapping[str, object]] = ()
    """Records there that wait for a person, each as its log event's fields."""
    claimed: Mapping[str, Decimal] = field(default_factory=dict)
    """What was given away there and is not known to be taken, by dimension."""
    unconfigured: Mapping[str, Decimal] = field(default_factory=dict)
    """What waits there of dimensions that are not configured, by dimension."""
    unanswered: int = 0
    """Number of records there whose answer was lost, while their own workload may still send them again."""
    records: Sequence[tuple[str, UsageRecord]] = ()
    """What `orphaned` has, as records, each with its workload."""
    _guard: threading.Lock = field(default_factory=threading.Lock)
    """Held while what was found changes: the loop's thread does that, and one that brings a person's decision."""
    _logged: set[object] = field(default_factory=set)
    _found: dict[Path, AdoptionResult] = field(default_factory=dict)
    """What was found when each was last looked at."""

    def update(self, workload: str, looked_at: Sequence[AdoptionResult], *, only_some: bool = False) -> None:
        """Log what has changed in the ledgers that were looked at on behalf of `workload`: all, or `only_some`."""
        with self._guard:
            before = self._found if only_some else {}
            self._found = before | {one.path: one for one in looked_at}
            ledgers = self._list_orphans()
        self.unconfigured = exact_sums(pair for one in ledgers for pair in one.unconfigured.items())
        self.claimed = exact_sums((claim.dimension, claim.amount) for one in ledgers for claim in one.claimed)
        self.unanswered = sum(len(one.unanswered) for one in ledgers)
        for one in looked_at:
            if one.in_doubt:
                commit_in_doubt(one.path)
            self._log_adoption(workload, one)
            for record in one.unanswered:
                if self._is_new(one.path, record.hour, record.dimension):
                    log.warn("usage.unanswered", workload=workload, **_orphan(one, record), hint=UNANSWERED_HINT)
            if one.removed:
                log.event("ledger.removed", path=str(one.path), gone_workload=one.workload)
            if one.ids_unread and self._is_new(one.path, one.ids_unread.reason):
                log.warn("usage.ids_unread", path=str(one.path), reason=one.ids_unread.reason, hint=IDS_UNREAD_HINT)
            if one.claimed and self._is_new(one.path, one.claimed):
                quantities = _plain(exact_sums((claim.dimension, claim.amount) for claim in one.claimed))
                path = str(one.path)
                log.error("usage.claimed", workload=workload, path=path, quantities=quantities, hint=CLAIMED_HINT)
            if one.unconfigured and self._is_new(one.path, tuple(one.unconfigured.items())):
                unconfigured(workload, str(one.path), one.unconfigured)
        for orphan in self.orphaned:
            if self._is_new(*orphan.values()):
                log.error("usage.orphaned", workload=workload, **orphan, hint=ORPHANED_HINT)

    def resolved(self, waiting: Mapping[Path, tuple[UsageRecord, ...]]) -> None:
        """Take note of what still waits in some ledgers after a person's decision. Any thread may call it."""
        with self._guard:
            for path, left in waiting.items():
                if known := self._found.get(path):
                    self._found[path] = replace(known, orphans=left)
            self._list_orphans()

    def _list_orphans(self) -> tuple[AdoptionResult, ...]:
        ledgers = tuple(self._found.values())
        self.orphaned = tuple(_orphan(one, record) for one in ledgers for record in one.orphans)
        self.records = tuple((one.workload, record) for one in ledgers for record in one.orphans)
        return ledgers

    def _log_adoption(self, workload: str, found: AdoptionResult) -> None:
        """Log what was taken over, what had to be left, and what cannot be read and may hold usage."""
        if found.skipped and found.skipped not in NOT_OURS:
            hint = UNREADABLE_HINT if found.skipped == "ledger_corrupt" else REASONS[found.skipped]
            hint = f"It may hold usage that is not billed. {hint}"
            log.error("usage.adoption_failed", path=str(found.path), reason=found.skipped, hint=hint)
        newly_left = found.left > 0 and self._is_new(found.path, found.left)
        if not found.amounts and not newly_left:
            return
        taken = exact_sums((one.dimension, one.amount) for one in found.amounts)
        log.warn(
            "usage.adopted",
            workload=workload,
            path=str(found.path),
            quantities=_plain(taken),
            left=found.left,
            left_unconfigured=_plain(found.unconfigured) or None,
        )

    def _is_new(self, *what: object) -> bool:
        """Return whether this was not logged before."""
        known = what in self._logged
        self._logged.add(what)
        return not known


def commit_in_doubt(path: Path) -> None:
    """Log that the ledger at `path` is used without its last commit, which is not whole."""
    log.error("ledger.commit_in_doubt", path=str(path), hint=DOUBT_HINT)


def unconfigured(workload: str, path: str, quantities: Mapping[str, Decimal]) -> None:
    """Log that the ledger at `path` holds usage of dimensions that are not configured."""
    log.error("usage.unconfigured", workload=workload, path=path, quantities=_plain(quantities), hint=UNCONFIGURED_HINT)


def _orphan(found: AdoptionResult, record: UsageRecord) -> dict[str, object]:
    """Return what a person has to know of a record of a workload that is gone."""
    return {
        "gone_workload": found.workload,
        "path": str(found.path),
        "hour": iso(record.hour.start),
        "dimension": record.dimension,
        "quantity": plain(record.quantity),
        "state": record.state.value,
        "reason": record.last_error,
        "timestamp": record.request.timestamp if record.request else None,
        "attempts": record.attempts,
    }


def _plain(quantities: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: plain(quantity) for name, quantity in quantities.items()}
