"""Lead where no other replica does: seal, send, take notices from the queue.

Two threads: one seals and sends, one polls the queue. A replica that does not lead asks every few seconds.

Invariants:
- One `now` per pass. A wall clock that jumped, or a host that was suspended, is logged with the next pass.
- A fault of the database, or the loss of the lead, ends a pass and never the loop; what was under way is sent again,
  unchanged, by whichever replica leads next.
- A notice is deleted from the queue only once it is committed. What cannot be read is deleted and logged: it would come
  back for ever.
- At the end closed hours are sealed and sent, inside the budget. The running hour stays open: customers' usage goes on
  elsewhere, or after a restart.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final, Protocol

from sidecar import log
from sidecar.clock import Clock, ClockJumpDetector, iso
from sidecar.errors import DATA_ERRORS, SidecarError
from sidecar.metering.states import State
from sidecar.remote_clock import FollowedClock
from sidecar.saas.customers import CustomerState
from sidecar.saas.notice_handler import NoticeHandler
from sidecar.saas.notices import NotANotice
from sidecar.saas.records import CustomerRecord
from sidecar.saas.sending import NOT_SUBSCRIBED, Sender
from sidecar.saas.store import LeadershipLost, Store, StoreError, StoreSummary

PASS_SECONDS: Final = 2.0
PASS_SECONDS_FOLLOWING: Final = 0.2
"""Beside an emulator's clock, which may run fast or be set."""
FOLLOW_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 60.0
"""How often records are looked for whose customer is active again."""
POLL_SECONDS: Final = 10
"""SQS's long poll; the end waits for it at most so long, and not inside the budget."""
LOOP: Final = "saas"
QUEUE_LOOP: Final = "notices"


class Queue(Protocol):
    """Where notices come from."""

    def receive(self, wait_seconds: int) -> Sequence[Any]:
        """Return messages, each with a `body`. Raises SidecarError."""

    def delete(self, message: Any) -> None:
        """Delete one that is done. Raises SidecarError."""


class Leading:
    """Runs the threads of one replica."""

    def __init__(self, store: Store, sender: Sender, notices: NoticeHandler, clock: Clock, queue: Queue | None) -> None:
        self._store, self._sender, self._notices, self._clock, self._queue = store, sender, notices, clock, queue
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self.leads = False
        self.dead: str | None = None
        """The loop that broke: an error of ours."""
        self.fault: SidecarError | None = None
        """What the last pass met."""
        self.queue_fault: SidecarError | None = None
        self.summary: StoreSummary | None = None
        """What the last pass found."""
        self._jumps = ClockJumpDetector()
        self._looked_at = -AGAIN_SECONDS
        self._sent_again: set[tuple[tuple[str, str, int], datetime]] = set()
        """Refused records that were sent again, and since when their customer is active: once for each time."""

    def start(self) -> None:
        """Start the threads."""
        threading.Thread(target=self._guarded, args=(LOOP, self._run), name=LOOP, daemon=True).start()
        if self._queue is not None:
            threading.Thread(target=self._guarded, args=(QUEUE_LOOP, self._poll), name=QUEUE_LOOP, daemon=True).start()

    def stop(self) -> None:
        """Send what is due once more, then end. Returns at once."""
        self._stopping.set()
        self._wake.set()

    def wait(self) -> None:
        """Return once the last pass is over."""
        self._ended.wait()

    def send_now(self) -> None:
        """Begin a pass now."""
        self._wake.set()

    def now(self) -> datetime:
        """Return the instant; a clock that is followed is read for it."""
        if isinstance(self._clock, FollowedClock):
            self._clock.refresh()
        return self._clock.now()

    def _guarded(self, loop: str, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as exc:  # the outermost edge of the thread: logged, and /healthz names it
            self.dead = loop
            log.LOGGER.error("loop.stopped", extra={"loop": loop}, exc_info=exc)
        finally:
            if loop == LOOP:
                self.leads = False
                self._ended.set()

    # -- sealing and sending

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._store.leader() as leads:
                    self._leads(leads)
                    if leads:
                        self._lead()
                    else:
                        self._watch_clock(self.now())
                        self._look()
            except (SidecarError, OSError) as exc:
                self._failed(exc)
            self._leads(False)
            self._stopping.wait(FOLLOW_SECONDS)

    def _lead(self) -> None:
        """Run passes until the end, or until another replica leads."""
        while not self._stopping.is_set():
            self.run_once()
            self._pause(PASS_SECONDS_FOLLOWING if isinstance(self._clock, FollowedClock) else PASS_SECONDS)
        self.run_once()

    def run_once(self) -> None:
        """Run one pass. Raises LeadershipLost."""
        now = self.now()
        self._watch_clock(now)
        try:
            self._send_again(now)
            self._sender.run(now)
            self._look()
        except LeadershipLost:
            raise
        except (StoreError, OSError) as exc:
            self._failed(exc)
        except DATA_ERRORS as exc:
            log.LOGGER.error("pass.failed", exc_info=exc)

    def _watch_clock(self, now: datetime) -> None:
        """Log that the clock jumped: hours are sealed by it. An emulator's may run at any speed."""
        jump = self._jumps.check(now, self._clock.monotonic())
        if jump and not isinstance(self._clock, FollowedClock):
            log.warn("clock.jumped", seconds=round(jump.total_seconds(), 1), now=iso(now))

    def _look(self) -> None:
        self.summary = self._store.summary()
        self.fault = None

    def _failed(self, exc: Exception) -> None:
        fault = exc if isinstance(exc, SidecarError) else StoreError("database_failed", type(exc).__name__)
        if isinstance(fault, LeadershipLost):
            log.warn("leader.lost", hint=fault.hint)
            return
        if self.fault is None or self.fault.reason != fault.reason:
            log.error("store.failed", reason=fault.reason, hint=fault.hint)
        self.fault = fault

    def _leads(self, leads: bool) -> None:
        if leads != self.leads:
            self.leads = leads
            if leads:
                log.event("leader.began")
            else:
                log.event("leader.ended")

    def _pause(self, seconds: float) -> None:
        self._wake.wait(seconds)
        self._wake.clear()

    def _send_again(self, now: datetime) -> None:
        """Send again what AWS refused for a customer that was not subscribed, and is active since."""
        keys = self._notices.take_active_again()
        at = self._clock.monotonic()
        rejected = self.summary is not None and self.summary.states.get(State.REJECTED)
        if not keys and not (rejected and at - self._looked_at >= AGAIN_SECONDS):
            return
        self._looked_at = at
        active = {one.key: one for one in self._store.customers() if one.state is CustomerState.ACTIVE}
        found: list[CustomerRecord] = []
        sent: set[tuple[tuple[str, str, int], datetime]] = set()
        for record in self._store.records(states=(State.REJECTED,)):
            if record.customer not in active or record.usage.last_error != NOT_SUBSCRIBED:
                continue
            since = active[record.customer].state_since
            fresh = since > record.usage.hour.end and (record.name, since) not in self._sent_again
            if fresh or record.customer in keys:
                found.append(record)
            sent.add((record.name, since))
        self._sender.send_again(found, now)
        self._sent_again = sent

    # -- notices

    def _poll(self) -> None:
        while not self._stopping.is_set():
            if self._queue is None or not self.leads:
                self._stopping.wait(1.0)
                continue
            try:
                for message in self._queue.receive(POLL_SECONDS):
                    self._take(self._queue, message)
                self.queue_fault = None
            except SidecarError as exc:
                if self.queue_fault is None or self.queue_fault.reason != exc.reason:
                    log.error("queue.failed", reason=exc.reason, hint=exc.hint)
                self.queue_fault = exc
                self._stopping.wait(FOLLOW_SECONDS)

    def _take(self, queue: Queue, message: Any) -> None:
        try:
            self._notices.handle(message.body, self.now())
        except NotANotice as exc:
            log.error("notice.unreadable", hint=f"A message of the queue {exc}")
        queue.delete(message)
        self.send_now()
