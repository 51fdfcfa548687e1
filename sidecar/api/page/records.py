"""Read the records that the page shows, and wait for the disk only so long.

Invariants:
- A disk that does not answer costs one thread, however many pages are asked for: a page that comes meanwhile waits for
  the same read.
- What cannot be read is a reason and a hint, never an exception: the page has more to say than records.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Final

from sidecar.api.ports import UsagePort
from sidecar.errors import SidecarError
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.quick_dataclasses import dataclass, field

WAIT_SECONDS: Final = 2.0
"""A person waits for the page; a healthy disk needs milliseconds."""
LEDGER_STUCK: Final = "ledger_stuck"
READ_BROKE: Final = "internal_error"
SLOW: Final = (
    f"The disk did not give the records within {WAIT_SECONDS:.0f} seconds. Everything else on this page is from memory."
    " The node's kernel log says whether the volume answers."
)


@dataclass(frozen=True, kw_only=True)
class RecentRecords:
    """The records, or why there are none to show."""

    records: Sequence[UsageRecord] = ()
    reason: str = ""
    hint: str = ""


@dataclass(kw_only=True)
class _Read:
    """One read, perhaps still going on."""

    until: float
    """Until when (monotonic) a page waits for it."""
    found: RecentRecords = field(default_factory=RecentRecords)
    done: threading.Event = field(default_factory=threading.Event)


class RecordReader:
    """Reads in a thread of its own, one read at a time."""

    def __init__(self, usage: UsagePort, wait_seconds: float = WAIT_SECONDS) -> None:
        self._usage, self._wait_seconds = usage, wait_seconds
        self._lock = threading.Lock()
        self._running: _Read | None = None

    def read(self, since: Hour) -> RecentRecords:
        """Return the records from `since` on, and earlier ones that AWS has not accepted."""
        with self._lock:
            read = self._running
            if read is None:
                read = _Read(until=time.monotonic() + self._wait_seconds)
                threading.Thread(target=self._run, args=(read, since), name="page-records", daemon=True).start()
                self._running = read  # before the thread can end: it needs the lock for that
        if read.done.wait(max(0.0, read.until - time.monotonic())):
            return read.found
        return RecentRecords(reason=LEDGER_STUCK, hint=SLOW)

    def _run(self, read: _Read, since: Hour) -> None:
        try:
            read.found = RecentRecords(records=tuple(self._usage.recent_records(since)))
        except SidecarError as exc:
            read.found = RecentRecords(reason=exc.reason, hint=exc.hint)
        except Exception as exc:  # the outermost edge of the thread
            hint = f"Reading the records failed: {type(exc).__name__}. Report this to the vendor."
            read.found = RecentRecords(reason=READ_BROKE, hint=hint)
        finally:
            with self._lock:
                self._running = None
            read.done.set()
