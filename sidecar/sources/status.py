"""Keep what came of reading each source, for log, status and metrics.

Invariants:
- A fault is logged when it begins and when its reason changes, and once when it is over; the status shows it meanwhile.
- Everything here is memory, and may be read by any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sidecar import log
from sidecar.clock import iso
from sidecar.metering.quantities import micros_to_decimal, plain
from sidecar.quick_dataclasses import dataclass
from sidecar.settings.pull_sources import PullSource
from sidecar.sources.fault import SourceFault
from sidecar.sources.scrape import NobodyListens
from sidecar.sources.taken import Taken

WAITING_MAX: Final = timedelta(minutes=5)
"""A product that has not begun to listen is no failure for so long."""
UNTAGGED_HINT: Final = (
    "The value of a label is no tag: 1 to 256 letters, digits, blanks and + - = . _ : / @. Its usage is counted without"
    " the tag; have the product use other values."
)
GAP_HINT: Final = (
    "Between two readings was more time than is counted: what was in use meanwhile is not known, and is not billed."
)
BEGAN_HINT: Final = (
    "The counter was read for the first time while it had run for an unknown time: it counts from here. Where all of it"
    " is this workload's, set `begin: zero` on the source."
)


@dataclass(kw_only=True)
class SourceStatus:
    """What is known of one source in this process."""

    source: PullSource
    reads: int = 0
    failures: int = 0
    read_at: datetime | None = None
    """When it was last read and what it led to was on disk."""
    series: int = 0
    counted: int = 0
    """Micros, in this process."""
    fault: SourceFault | None = None
    failing_since: datetime | None = None
    _untagged: bool = False
    _said: str = ""
    """What was logged of the fault."""

    def succeed(self, taken: Taken, now: datetime) -> None:
        """Note a reading that is on disk."""
        if self.fault:
            log.event("source.recovered", source=self.source.key, failures=self.failures)
        self.fault = self.failing_since = None
        self.reads, self.read_at, self.series = self.reads + 1, now, taken.series
        self.counted += sum(event.micros for event in taken.events)
        if taken.began:
            hint = BEGAN_HINT if taken.began == "reading" and taken.series else None
            log.event("source.began", source=self.source.key, series=taken.series, counts_from=taken.began, hint=hint)
        if taken.gap:
            log.warn("source.gap", source=self.source.key, seconds=taken.gap.total_seconds(), hint=GAP_HINT)
        if taken.untagged and not self._untagged:
            self._untagged = True
            log.warn("source.untagged", source=self.source.key, value=taken.untagged[:80], hint=UNTAGGED_HINT)

    def fail(self, fault: SourceFault, now: datetime) -> None:
        """Note a reading that led to nothing."""
        self.failures += 1
        self.failing_since = self.failing_since or now
        waits = isinstance(fault, NobodyListens) and self.read_at is None and now - self.failing_since < WAITING_MAX
        said = "source.waiting" if waits else "source.failed"
        if self.fault is None or (self.fault.reason, self._said) != (fault.reason, said):
            fields = {"source": self.source.key, "reason": fault.reason, "hint": fault.hint}
            if waits:
                log.event("source.waiting", **fields)
            else:
                log.error("source.failed", **fields)
        self.fault, self._said = fault, said

    def document(self) -> Mapping[str, object]:
        """Return the source's entry in `GET /v1/status`."""
        return {
            "source": self.source.key,
            "kind": self.source.kind.value,
            "dimension": self.source.dimension,
            "read_at": iso(self.read_at) if self.read_at else None,
            "series": self.series,
            "counted": plain(micros_to_decimal(self.counted)),
            "failing_since": iso(self.failing_since) if self.failing_since else None,
            "reason": self.fault.reason if self.fault else None,
            "hint": self.fault.hint if self.fault else None,
        }
