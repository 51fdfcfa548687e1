"""Have seats extended, taken again and checked in by short-lived children, and take what came of it.

Invariants:
- One child at a time. Each result is taken as it comes, so that a call that hangs costs the others nothing.
- A seat without a result is one that AWS did not extend.
- A loss is told once, and again only after the seat was held in between.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sidecar import log
from sidecar.child.process import CHILD_FAILED, ChildFailure, ChildProcess, read_message
from sidecar.clock import Clock
from sidecar.entitlement.hold import Shown, seat_lost
from sidecar.entitlement.seat_schedule import SeatFault
from sidecar.entitlement.seats import HeldSeat
from sidecar.gate.held_seats import NO_ANSWER, HeldSeats, Seat
from sidecar.gate.license_events import LicenseEvents
from sidecar.gate.license_messages import CHECK_IN, RENEW, LicenseRequest, SeatResult
from sidecar.gate.messages import KeptStatus
from sidecar.settings import OnDenied, OnSeatLost, Settings

BUDGET_SECONDS: Final = 20.0
BUDGET_SECONDS_PER_SEAT: Final = 50.0
"""Three calls of at most 15 seconds each, and a pause."""
KEPT_SECONDS: Final = 10.0
"""A child whose disk is stuck is ended after this."""


class SeatKeeper:
    """The seats of this workload, and the children that call AWS about them."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        events: LicenseEvents,
        request: Callable[[str], LicenseRequest],
        start_child: Callable[[LicenseRequest], ChildProcess],
        chance: Callable[[], float],
    ) -> None:
        """`request`: returns a request for an action, without seats."""
        self._settings, self._clock, self._events = settings, clock, events
        self._request, self._start_child = request, start_child
        self._guard = threading.Lock()
        """Held while seats or the child change: the gate's thread hands seats over, others kill the child."""
        self._child: ChildProcess | None = None
        self._ending = self._checking_in = False
        self._told_lost: set[tuple[str, str, str]] = set()
        self.seats = HeldSeats(chance, settings.reask_seconds)
        self.counts = {"extended": 0, "taken_again": 0, "failed": 0}
        """Attempts to keep a seat, by outcome, since the start."""
        self.losses = 0

    def take_over(self, held: Iterable[HeldSeat], now: datetime) -> bool:
        """Take the seats that a check has checked out or extended. Returns whether one is new."""
        with self._guard:
            return self.seats.take_over(held, now)

    def miss(self, granted: Iterable[Mapping[str, str]], fault: SeatFault, now: datetime) -> None:
        """Have AWS asked about seats that should be held and are not known here: the check was refused with `fault`."""
        with self._guard:
            self.seats.miss(granted, fault, now)

    def ask_now(self, now: datetime) -> None:
        """Have AWS asked about each seat with the next `renew`."""
        with self._guard:
            self.seats.ask_now(now)

    def abort_renewal(self) -> None:
        """Kill the child that extends seats, where one does."""
        with self._guard:
            if self._child and not self._checking_in:
                self._child.kill()

    # -- while the workload lives

    def renew(self, now: datetime) -> None:
        """Extend the seats that are due, or take others in their place."""
        with self._guard:
            due = self.seats.due(now)
        if due:
            tokens = tuple(one.client_token for one in due)
            self._ask(RENEW, due, tokens, self._renewed)

    def _renewed(self, seat: Seat, result: SeatResult | None) -> None:
        now, was_lost = self._clock.now(), seat.state.lost
        with self._guard:
            if result is None:
                self.seats.fail(seat, NO_ANSWER, now)
            else:
                self.seats.apply(seat, result, now)
        fault = seat.state.fault
        if fault is not None:
            self.counts["failed"] += 1
            if not seat.state.lost:
                self._events.failed(seat, fault, now)
            return
        again = was_lost or bool(result and result.taken_again)
        self.counts["taken_again" if again else "extended"] += 1
        self._events.renewed(seat, again=again, request_id=result.request_id if result else "")

    def lost(self) -> Shown | None:
        """Return what the lost seats show, None where none is lost. A loss that is new is logged."""
        shuts = self._settings.on_seat_lost is OnSeatLost.SHUT
        ends = self._settings.on_denied is OnDenied.EXIT
        found: Shown | None = None
        for seat in self.seats.lost:
            assert seat.state.fault is not None  # a seat is lost by one
            shown = seat_lost(seat.held.name, seat.state.fault, shuts=shuts, ends=ends)
            found = found or shown
            if seat.held.key not in self._told_lost:
                self.losses += 1
                self._events.lost(seat, self._settings.on_seat_lost.value, shown[2])
        self._told_lost = {one.held.key for one in self.seats.lost}
        return found

    # -- at the end

    def check_in(self) -> None:
        """Give every seat back that AWS may still hold for us."""
        self._checking_in = True
        held = [one for one in self.seats.all if one.held.consumption_token]
        if held:
            self._ask(CHECK_IN, held, ("",) * len(held), self._checked_in)

    def leave(self, reason: str) -> None:
        """Log that the seats are kept."""
        for seat in self.seats.all:
            if seat.held.consumption_token:
                self._events.left(seat, reason)

    def end(self) -> None:
        """Start no child any more, and kill the one that runs."""
        with self._guard:
            self._ending = True
            if self._child:
                self._child.kill()

    def _checked_in(self, seat: Seat, result: SeatResult | None) -> None:
        fault = NO_ANSWER if result is None else result.fault
        if fault is not None:
            self._events.left(seat, "not_answered" if result is None else fault.reason)
        else:
            self._events.checked_in(seat, already=bool(result and result.over))

    # -- the child

    def _ask(
        self,
        action: str,
        seats: Sequence[Seat],
        client_tokens: tuple[str, ...],
        take: Callable[[Seat, SeatResult | None], None],
    ) -> None:
        """Start a child for these seats; `take` has each with its result, or with None."""
        child = self._begin(self._request(action).about([one.held for one in seats], client_tokens))
        failure: ChildFailure | None = None if child else ChildFailure(code=CHILD_FAILED)
        deadline = time.monotonic() + BUDGET_SECONDS + BUDGET_SECONDS_PER_SEAT * len(seats)
        try:
            for seat in seats:
                result = None
                if child is not None and failure is None:
                    result, failure = read_message(child, SeatResult.from_json, deadline)
                    self._log(failure)
                take(seat, result)
            if child is not None and failure is None:
                self._read_kept(child)
        finally:
            with self._guard:
                self._child = None
            if child is not None:
                child.close()

    def _begin(self, request: LicenseRequest) -> ChildProcess | None:
        try:
            child = self._start_child(request)
        except OSError as exc:
            log.error("child.failed", code=CHILD_FAILED, crash=type(exc).__name__)
            return None
        with self._guard:
            self._child = child
            if self._ending:
                child.kill()
        return child

    def _log(self, failure: ChildFailure | None) -> None:
        if failure is not None and not self._ending:
            log.error("child.failed", code=failure.code, crash=failure.crash)

    def _read_kept(self, child: ChildProcess) -> None:
        status, _ = read_message(child, KeptStatus.from_json, time.monotonic() + KEPT_SECONDS)
        if status is None or not status.kept:
            self._events.not_kept(status.fault if status else "the state directory does not answer")
