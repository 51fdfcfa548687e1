"""Keep the seats of a contract while the workload lives, and tell its end ahead of time.

A thread that extends seats in short-lived children, asks for lost ones again, and checks them in at the end. The rules
are `entitlement.seat_schedule`'s and `entitlement.contract_end`'s; what is held is `held_seats`'.

Invariants:
- Seats come from the check that opened the gate; before that there is nothing to do.
- A lost seat is loud, and shuts the gate where SIDECAR_ON_SEAT_LOST says so; a seat that is taken again opens it.
- What an earlier worker of this process showed of a lost seat stands until the seats are known here.
- A clock that jumped, or a host that was suspended, has AWS asked about every seat at once.
- At SIGTERM the final flush goes first: seats are checked in once it has ended, or in the second half of the budget.
- Where only this container ends, the seats stay: its next start extends them. Where only this worker ends, likewise.
- A worker that knows no seat has the check run again. Where that is denied, AWS is asked about each seat.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, Protocol

from sidecar import log
from sidecar.child import process
from sidecar.child.process import ChildProcess
from sidecar.clock import Clock, ClockJumpDetector
from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.hold import Shown
from sidecar.entitlement.seat_schedule import SeatFault
from sidecar.gate.contract_term import ContractTerm
from sidecar.gate.counts import Counts
from sidecar.gate.license_events import LicenseEvents
from sidecar.gate.license_messages import LicenseRequest
from sidecar.gate.messages import CheckResult, WorkloadIdentity
from sidecar.gate.seat_keeper import SeatKeeper
from sidecar.remote_clock import FollowedClock
from sidecar.settings import OnSeatLost, Settings, Take

LOOP: Final = "license"
"""The loop's name in `/healthz`, status and metrics."""
PASS_SECONDS: Final = 30.0
"""A jump of the clock is noticed within it."""
PASS_SECONDS_MIN: Final = 0.1
PASS_SECONDS_FOLLOWING: Final = 0.3
"""Beside an emulator's clock, which may run fast or be set."""
FLUSH_FIRST: Final = 0.5
"""Of the budget: after it seats are checked in, whether the final flush has ended or not."""
CHECKED_IN: Final = 0.9
"""Of the budget: a seat that is not checked in by then comes back by itself."""
LOOK_SECONDS: Final = 0.05
"""How often the end of the final flush is looked for."""
ALONE_SECONDS: Final = 0.5
"""A signal to all processes reaches this one perhaps before the supervisor. After so long it was for this one alone."""


class Gate(Protocol):
    """What this loop reads of the gate, and may do to it."""

    identity: WorkloadIdentity
    result: CheckResult
    counts: Counts

    @property
    def has_opened(self) -> bool:
        """Return whether AWS ever let this workload run."""

    def set_seat_hold(self, shown: Shown | None) -> None:
        """Shut the gate for a lost seat, or end that."""

    def recheck(self) -> int:
        """Have AWS asked again. Returns 0, or the seconds to wait before that is allowed."""


class LicenseLoop:
    """The thread that keeps seats, and what is known of them."""

    def __init__(
        self,
        *,
        settings: Settings,
        gate: Gate,
        clock: Clock,
        budget_seconds: float,
        flushed: Callable[[], bool] = lambda: True,
        task_keeps_running: Callable[[], bool] = lambda: False,
        is_replaced: Callable[[], bool] = lambda: False,
        changed: Callable[[], None] = lambda: None,
        start_child: Callable[[LicenseRequest], ChildProcess] = process.spawn,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`budget_seconds`: from SIGTERM to the end. `flushed`: whether the final flush has ended.

        `task_keeps_running`: whether only this container ends. `is_replaced`: whether another worker follows this one.
        `changed`: what is known may be other than before.
        """
        self._settings, self._gate, self._clock, self._changed = settings, gate, clock, changed
        self._budget_seconds, self._flushed, self._task_keeps_running = budget_seconds, flushed, task_keeps_running
        self._is_replaced = is_replaced
        self._wake = threading.Condition()
        self._stop_at: float | None = None
        self._ended = threading.Event()
        self._recheck = False
        self._jumps = ClockJumpDetector()
        self._shown: Shown | None = None
        self._shows = False
        """Whether `_shown` is what the gate was told: an earlier worker of this process may have shut it."""
        events = LicenseEvents(settings.product_sku)
        self._events = events
        self.keeper = SeatKeeper(
            settings=settings,
            clock=clock,
            events=events,
            request=self._request,
            start_child=start_child,
            chance=chance,
        )
        self.term = ContractTerm(
            clock=clock, events=events, request=self._request, start_child=start_child, chance=chance
        )
        self.stopped_loop: str | None = None
        self.passed_at: datetime | None = None

    # -- called by other threads -------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread."""
        threading.Thread(target=self._run, name=LOOP, daemon=True).start()

    def take_over(self, result: CheckResult) -> None:
        """Take the seats that a check has checked out or extended, and the license that allowed them. Waits not."""
        now = self._clock.now()
        arn = next((one["license_arn"] for one in result.granted if one["license_arn"]), "")
        with self._wake:
            if self.keeper.take_over(result.held, now) | self.term.of(arn, now):
                self._wake.notify_all()

    def ask_now(self) -> None:
        """Ask AWS about every seat and for the contract's end: a person wants that."""
        with self._wake:
            self._recheck = True
            self._wake.notify_all()

    def stop(self) -> None:
        """Check the seats in: SIGTERM has come. Returns at once."""
        with self._wake:
            if self._stop_at is not None:
                return
            self._stop_at = time.monotonic()
            self._wake.notify_all()
        for share, work in ((FLUSH_FIRST, self.keeper.abort_renewal), (CHECKED_IN, self.keeper.end)):
            timer = threading.Timer(self._budget_seconds * share, work)
            timer.daemon = True
            timer.start()

    def stopped(self) -> bool:
        """Return whether every seat is checked in that will be."""
        return self._ended.is_set()

    @property
    def contract(self) -> tuple[int, int]:
        """Return how many seats are lost, and within how many days the contract ends (`Stage`)."""
        return len(self.keeper.seats.lost), int(self.term.stage)

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._wait():
                self.run_once()
        except Exception as exc:  # the outermost edge of the thread
            self.stopped_loop = LOOP
            log.LOGGER.error("loop.stopped", extra={"loop": LOOP}, exc_info=exc)
            with self._wake:
                self._wake.wait_for(lambda: self._stop_at is not None)
        try:
            self.finish()
        finally:
            self._ended.set()

    def _wait(self) -> bool:
        """Wait for the next pass. Returns False when it is time to stop."""
        with self._wake:
            if self._stop_at is None and not self._recheck:
                self._wake.wait(self._pause_seconds())
            return self._stop_at is None

    def _pause_seconds(self) -> float | None:
        if self._settings.clock_url:
            return PASS_SECONDS_FOLLOWING
        instants = [at for at in (self.keeper.seats.next_at(), self.term.ask_at) if at is not None]
        if self._misses_seats():
            return PASS_SECONDS
        if not instants:
            return None  # the gate has not opened, or nothing is asked by itself
        left = (min(instants) - self._clock.now()).total_seconds()
        return max(PASS_SECONDS_MIN, min(PASS_SECONDS, left))

    def run_once(self) -> None:
        """Run one pass."""
        now = self._now()
        if not self._gate.has_opened:
            return
        if self._misses_seats():
            self._find_seats(now)
        with self._wake:
            recheck, self._recheck = self._recheck, False
            if recheck:
                self.term.ask_now(now)
        if self._jumped(now) or recheck:
            self.keeper.ask_now(now)
        self.keeper.renew(now)
        self._show(self.keeper.lost())
        if self._stop_at is None and self.term.look(self._clock.now()):
            self._changed()
        self.passed_at = now

    def _show(self, shown: Shown | None) -> None:
        """Shut the gate for a lost seat where that is set, and open it again."""
        if (self._shows and shown == self._shown) or self._misses_seats():
            return
        self._shown, self._shows = shown, True
        if self._settings.on_seat_lost is OnSeatLost.SHUT:
            self._gate.set_seat_hold(shown)
        self._changed()

    def _misses_seats(self) -> bool:
        """Return whether the check was granted seats that are not known here."""
        granted = any(one["take"] == Take.SEAT.value for one in self._gate.result.granted)
        return granted and self._gate.has_opened and not self.keeper.seats.all

    def _find_seats(self, now: datetime) -> None:
        """Have the check extend what an earlier worker of this process had; where it was denied, ask for each seat."""
        last = self._gate.counts.last
        if last is None or last.verdict is not AnswerClass.DENY:
            self._gate.recheck()
            return
        fault = SeatFault(answer=AnswerClass.DENY, reason=last.reason, hint=last.hint, code=last.code)
        self.keeper.miss(self._gate.result.granted, fault, now)

    def _jumped(self, now: datetime) -> bool:
        """Return whether the clock was set or the host suspended. An emulator's clock may run at any speed."""
        if self._settings.clock_url:
            return False
        jump = self._jumps.check(now, self._clock.monotonic())
        if jump and self.keeper.seats.all:
            self._events.clock_jumped(jump.total_seconds())
        return jump is not None

    def _now(self) -> datetime:
        """Return the instant of this pass; a clock that is followed is read for it."""
        if isinstance(self._clock, FollowedClock):
            self._clock.refresh()
        return self._clock.now()

    def _request(self, action: str) -> LicenseRequest:
        identity = self._gate.identity
        return LicenseRequest(
            action=action,
            sku=self._settings.product_sku,
            workload=identity.workload,
            region=identity.region,
            state_dir=str(self._settings.state_dir),
            endpoint_url=self._settings.endpoint_url,
            clock_url=self._settings.clock_url,
            license_arn=self.term.license_arn,
        )

    # -- the end -----------------------------------------------------------------------------------

    def finish(self) -> None:
        """Check the seats in, once the final flush has ended or has had its share of the budget."""
        if not self.keeper.seats.all:
            return
        if self._task_keeps_running():
            self.keeper.leave("container_restarts")
            return
        began = self._stop_at if self._stop_at is not None else time.monotonic()
        latest = began + self._budget_seconds * FLUSH_FIRST
        while not self._flushed() and time.monotonic() < latest:
            time.sleep(LOOK_SECONDS)
        latest = min(latest, began + ALONE_SECONDS)
        while self._is_replaced() and time.monotonic() < latest:
            time.sleep(LOOK_SECONDS)
        if self._is_replaced():
            self.keeper.leave("worker_replaced")
        else:
            self.keeper.check_in()
