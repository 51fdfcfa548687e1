"""End the billing loop: flush, log what is left, whole, and close the ledger.

Invariants:
- Each step runs by itself, whatever became of those before it, and whatever broke the loop.
- What waits is logged before anything that can take long: the process may be killed meanwhile.
- What is left is logged once: from the disk, or, where that does not answer or fails, from what the last pass found.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sidecar import log
from sidecar.billing.events import BillingEvents
from sidecar.billing.final_flush import FinalFlush
from sidecar.billing.open_ledger import OpenLedger
from sidecar.billing.quarantine import Quarantine
from sidecar.billing.snapshot import Snapshot
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger

END: Final = "end"
"""The kind of a step that could not be done here."""
DRAIN_SECONDS: Final = 0.3


class Shutdown:
    """Ends the metering of one workload."""

    def __init__(
        self,
        *,
        budget_seconds: float,
        events: BillingEvents,
        quarantine: Quarantine,
        task_keeps_running: Callable[[], bool],
        now: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], None],
        sleep_seconds_max: float | None,
    ) -> None:
        """`task_keeps_running`: whether only this container ends. `sleep_seconds_max` is for a fast `now`."""
        self._budget_seconds, self._events, self._quarantine = budget_seconds, events, quarantine
        self._task_keeps_running, self._now, self._monotonic = task_keeps_running, now, monotonic
        self._sleep, self._sleep_seconds_max = sleep, sleep_seconds_max
        self.last_pushes: Callable[[float], object] = lambda _seconds: None
        """Has others push what they still have, and waits for it so many seconds at most: before the last seal."""
        self.on_last_seal: Callable[[], object] = lambda: None
        """Called when no push is to be taken any more, just before the last seal."""
        self.had_last_seal = False
        """Whether a worker before this one has come to its last seal."""
        self._guard = threading.Lock()
        self._logged = False

    def opened(self, ledger: Ledger) -> None:
        """Have a ledger that was just opened take no push, where an earlier worker has refused some already."""
        if self.had_last_seal:
            ledger.stop_pushes()

    def run(self, opened: OpenLedger, began: float, as_of: datetime | None) -> None:
        """Do all of it. `began` (monotonic): when the budget did. `as_of`: when the last pass was finished."""
        self._step("listing what waits", lambda: self._events.outstanding(opened.ledger.unsettled()))
        self.flush(opened, began)
        if not self._step("listing what is left", lambda: self._log_left(opened.ledger.unsettled())):
            self.log_from_memory(opened.snapshot, as_of)
        self._step("closing the ledger", opened.ledger.close)
        log.LINES.drain(DRAIN_SECONDS)

    def flush(self, opened: OpenLedger, began: float) -> None:
        """Settle what can be settled of this workload, which reports no more afterwards."""
        found: list[bool] = []
        self._step("asking whether the task runs on", lambda: found.append(self._task_keeps_running()))
        keeps_running = found == [True]
        flush = FinalFlush(
            ledger=opened.ledger,
            sealer=opened.sealer,
            submitter=opened.submitter if opened.may_send else None,
            step=self._step,
            now=self._now,
            monotonic=self._monotonic,
            sleep=self._sleep,
            sleep_seconds_max=self._sleep_seconds_max,
            on_left=self._events.count_left,
            last_pushes=self._last_pushes,
        )
        self._step("flushing", lambda: flush.run(began, self._budget_seconds, keeps_running))
        self._events.stopped(keeps_running)

    def _last_pushes(self, seconds: float) -> None:
        try:
            self.last_pushes(seconds)
        finally:
            self.on_last_seal()

    def log_from_memory(self, snapshot: Snapshot, as_of: datetime | None) -> None:
        """Log what the last pass found to be left, unless what is left was logged. Any thread may call it."""
        self._log_left(snapshot.unsettled(as_of))

    def _log_left(self, entries: Sequence[Mapping[str, object]]) -> None:
        with self._guard:
            first, self._logged = not self._logged, True
        if first:
            self._events.unsettled(entries)

    def _step(self, name: str, work: Callable[[], object]) -> bool:
        """Return whether a step could be done; where not, it is logged why."""
        try:
            work()
        except LedgerError as exc:
            self._events.ledger_fault(exc)
        except Exception as exc:  # what one step meets keeps no later one from being done
            self._quarantine.add(END, name, exc)
        else:
            return True
        return False
