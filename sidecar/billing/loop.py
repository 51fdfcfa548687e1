"""Seal the hours that have closed, submit what is due, and store what came of it: the metering loop.

A thread that runs a pass at least every 30 seconds. The rules are elsewhere: when (`metering.schedule`), what an answer
means (`metering.decide`), what is owed (`metering.rollup`), what is on disk (`ledger`).

Invariants:
- One `now` per pass.
- Nothing is sent before the gate first opened, nor before the disk says that it is about to be sent.
- Pushes never wait for this thread, nor this thread for AWS longer than a child may take.
- The disk may fail at any step: the next pass repeats the step, and what was sent is sent again unchanged.
- If this loop breaks, it is an error of ours: with the gate shut the process ends and says why; with the gate open
  usage is still kept, and `/healthz` names the loop.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sidecar import log
from sidecar.billing.events import BillingEvents
from sidecar.billing.final_flush import RESERVED, FinalFlush
from sidecar.billing.gate_policy import FAILING_HINT, Gate, GatePolicy
from sidecar.billing.messages import Submission
from sidecar.billing.orphans import OrphanTracker
from sidecar.billing.sealer import Sealer
from sidecar.billing.submitter import BATCH_MAX, Submitter
from sidecar.child import process
from sidecar.child.process import ChildProcess
from sidecar.clock import Clock, ClockJumpDetector
from sidecar.errors import Exit, ExitProcess
from sidecar.ledger.balance import Balance, LedgerSummary
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.metering.decide import Policy
from sidecar.metering.hours import Hour
from sidecar.metering.postponed import HINT, Postponed, postponed
from sidecar.metering.records import UsageRecord
from sidecar.metering.schedule import oldest_first, seal_at, too_early
from sidecar.metering.states import Disposition, State
from sidecar.remote_clock import FollowedClock
from sidecar.settings import OnDispute, Settings

PASS_SECONDS: Final = 30.0
PASS_SECONDS_MIN: Final = 0.5
PASS_SECONDS_FOLLOWING: Final = 0.2
"""Beside an emulator's clock, which may run fast or be set."""
ROUNDS_MAX: Final = 6
"""Batches of one pass; repairs and fresh credentials are tried at once, again and again they are not."""
HOUSE_KEEPING: Final = timedelta(minutes=10)
DRAIN_SECONDS: Final = 0.3

LOOP: Final = "metering"
"""The loop's name in `/healthz`, status and metrics."""


class BillingLoop:
    """Seals, sends and settles one workload's usage."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        gate: Gate,
        end: ExitProcess = lambda _code, _text: None,
        start_child: Callable[[Submission], ChildProcess] = process.spawn,
        chance: Callable[[], float] = random.random,
        rest: Callable[[float], None] = time.sleep,
        task_goes_on: Callable[[], bool] = lambda: False,
        keep_pass: Callable[[str, frozenset[str]], None] = lambda _workload, _dimensions: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`end` ends the process, where the loop broke before the gate opened. `task_goes_on`: whether only this
        container ends. `keep_pass`: AWS took records of these dimensions. `changed`: what waits may be other than
        before.
        """
        self._settings, self._clock, self._gate = settings, clock, gate
        self._names = frozenset(dimension.name for dimension in settings.dimensions)
        self._start_child, self._chance, self._task_goes_on = start_child, chance, task_goes_on
        self._end, self._rest, self._changed = end, rest, changed
        self._wake = threading.Condition()
        self._stop_at: float | None = None
        self._at_once = False
        self._identity: tuple[str, str] | None = None
        """Workload id and region, once both are known."""
        self._opening_tried = False
        """The first try to open the ledger follows its place at once, later ones after a pause."""
        self._jumps = ClockJumpDetector()
        self._house_kept_at: datetime | None = None
        self._sent_before = False
        self._looked = threading.Event()
        self._ended = threading.Event()
        self._sealer: Sealer | None = None
        self._courier: Submitter | None = None
        self.accounts = BillingEvents(product_code=settings.product_code)
        self._doubts = GatePolicy(settings, gate, self.accounts, lambda names: keep_pass(self.accounts.workload, names))
        self.ledger: Ledger | None = None
        self.fault: LedgerError | None = None
        self.checking_since: float | None = None
        """Since when (monotonic) the disk has not answered."""
        self.stopped_loop: str | None = None
        self.sealed: tuple[UsageRecord, ...] = ()
        """What waited for AWS at the end of the last pass."""
        self.waiting: LedgerSummary | None = None
        self.balances: tuple[Balance, ...] = ()
        self.postponed: Postponed | None = None
        self.unconfigured: Mapping[str, Decimal] = {}
        """What waits of dimensions that are not configured any more."""
        self.estates = OrphanTracker()
        self.passed_at: datetime | None = None

    # -- what others may do ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin. The ledger is opened once it is known whose it is."""
        threading.Thread(target=self._run, name=LOOP, daemon=True).start()

    def set_identity(self, workload: str, region: str) -> None:
        """Set who is metered, and where; empty texts say nothing. The first call holds: a workload does not move."""
        with self._wake:
            if self._identity is None and workload and region:
                self._identity = (workload, region)
                self._wake.notify_all()

    def wait_until_loaded(self, seconds: float) -> None:
        """Until the ledger has been looked at, so that what it knows of denials is known."""
        self._looked.wait(seconds)

    def send_now(self) -> None:
        """Send what is held, whatever the pause."""
        with self._wake:
            self._at_once = True
            self._wake.notify_all()

    def stop(self) -> None:
        """SIGTERM: settle what can be settled. Returns at once."""
        with self._wake:
            if self._stop_at is not None:
                return
            self._stop_at = self._clock.monotonic()
            self._wake.notify_all()
        timer = threading.Timer(self._settings.flush_seconds * RESERVED, self._abort_submission)
        timer.daemon = True
        timer.start()

    def _abort_submission(self) -> None:
        if self._courier:
            self._courier.abort_current()

    def stopped(self) -> bool:
        """Return whether everything is done that will be."""
        return self._ended.is_set()

    @property
    def overdue_since(self) -> datetime | None:
        """Since when nothing could be reported, once that is too long."""
        return self._doubts.overdue_since

    @property
    def answers(self) -> Mapping[str, int]:
        """Return what became of records since this process began, by what it meant for them."""
        return self._courier.answers if self._courier else dict.fromkeys((one.value for one in Disposition), 0)

    # -- the loop ----------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while self._sleep():
                self.run_once()
            self.finish()
        except Exception as exc:  # the outermost edge of the thread: said, and acted on
            self.stopped_loop = LOOP
            log.LOGGER.error("loop.stopped", extra={"loop": LOOP}, exc_info=exc)
            if not self._gate.has_opened:  # a startup probe hides liveness
                self._end(Exit.SOFTWARE, f"The {LOOP} loop broke: {type(exc).__name__}. Report this to the vendor.")
        finally:
            self._looked.set()
            self._ended.set()

    def _sleep(self) -> bool:
        """Wait for the next pass; False when it is time to stop."""
        with self._wake:
            opened_next = self._identity is not None and not self._opening_tried
            if not self._at_once and self._stop_at is None and not opened_next:
                self._wake.wait(self._pause_seconds())
            return self._stop_at is None

    def _pause_seconds(self) -> float:
        if self._settings.clock_url:
            return PASS_SECONDS_FOLLOWING
        if self.ledger is None or self.fault is not None:
            return PASS_SECONDS / 10
        now = self._clock.now()
        due = [seal_at(Hour.at(now), self.accounts.workload)]
        due += [record.retry_at for record in self.sealed if record.retry_at]
        return max(PASS_SECONDS_MIN, min(PASS_SECONDS, (min(due) - now).total_seconds()))

    def run_once(self) -> None:
        """One pass."""
        now = self._now()
        jump = self._jumps.check(now, self._clock.monotonic())
        if jump and not self._settings.clock_url:  # an emulator's clock may run at any speed
            self.accounts.leapt(jump, now)
            self._doubts.leapt(jump)
        with self._wake:
            at_once, self._at_once = self._at_once, False
        try:
            ledger = self.ledger or self._open(now)
            if ledger is not None:
                self._run_open(ledger, now, at_once)
        except LedgerError as exc:
            self._failed(exc, now)
        self.checking_since = None
        self.accounts.faulted(self.fault)
        self.passed_at = now

    def _failed(self, fault: LedgerError, now: datetime) -> None:
        """The disk failed this pass: what waits cannot be reported, nor can usage be kept that would be."""
        self.fault = fault
        self._doubts.blocked(now, FAILING_HINT)
        if self._may_send():
            self._doubts.evaluate_overdue(now)
            self._changed()

    def _now(self) -> datetime:
        """Return the instant of this pass; a clock that is followed is asked for it."""
        if isinstance(self._clock, FollowedClock):
            self._clock.refresh()
        return self._clock.now()

    def _run_open(self, ledger: Ledger, now: datetime, at_once: bool) -> None:
        sealer, courier = self._sealer, self._courier
        assert sealer is not None and courier is not None  # they came with the ledger  # noqa: PT018
        self._start_disk_timer()
        ledger.check(now)
        self.fault = None
        self._say_set_aside(ledger)
        sealer.closed(ledger, now)
        if self._may_send():
            self._send(ledger, courier, now, at_once)
        self._start_disk_timer()
        self._run_maintenance(ledger, now)
        self._start_disk_timer()
        self._refresh_snapshot(ledger, now)
        self._changed()

    def _start_disk_timer(self, aws_is_waited_for: bool = False) -> None:
        """From here on nothing but the disk is waited for, or AWS, which may take longer; a disk hangs at any step."""
        self.checking_since = None if aws_is_waited_for or self._stop_at is not None else self._clock.monotonic()

    def _open(self, now: datetime) -> Ledger | None:
        identity = self._identity
        self._opening_tried = identity is not None
        if identity is None or (isinstance(self._clock, FollowedClock) and not self._clock.heard):
            return None  # what counts under this machine's time would lie in another year once the emulator's is known
        workload, region = identity
        owner = Owner(workload=workload, product_code=self._settings.product_code, region=region)
        ledger = Ledger.open(self._settings.state_dir, owner, self._settings.dimensions, now)
        try:
            self._begin(ledger, owner, now)
        except BaseException:
            ledger.close()  # or the next pass would find it locked, by ourselves
            raise
        self.ledger = ledger
        self._looked.set()
        return ledger

    def _begin(self, ledger: Ledger, owner: Owner, now: datetime) -> None:
        """Before the first push: what an earlier life of this workload, or one that is gone, has left."""
        roll = self._settings.on_dispute is OnDispute.ROLL_FORWARD
        self.accounts.workload, self.accounts.region = owner.workload, owner.region
        self._sealer = Sealer(self._settings, owner.workload, self.accounts)
        self._courier = Submitter(
            policy=Policy(workload=owner.workload, roll_forward_disputed=roll),
            region=owner.region,
            endpoint_url=self._settings.endpoint_url,
            accounts=self.accounts,
            waits=self._start_disk_timer,
            start_child=lambda question: self._start_child(question),
            chance=self._chance,
        )
        self.waiting = ledger.summary()
        records = {state.value: count for state, count in self.waiting.states.items()}
        self.accounts.opened(str(ledger.path), records, _path(ledger.set_aside), _path(ledger.passed_over))
        ledger.set_aside = None
        sealed = ledger.in_state(State.SEALED)
        self._sent_before = self.waiting.ever_settled or any(one.attempts for one in sealed)
        self._doubts.restore(ledger)
        self._run_maintenance(ledger, now)

    def _may_send(self) -> bool:
        """Return the gate has opened: for this process, or for an earlier one of the same workload."""
        return self._gate.has_opened or self._sent_before

    def _say_set_aside(self, ledger: Ledger) -> None:
        if ledger.set_aside:
            self.accounts.set_aside(str(ledger.set_aside))
            ledger.set_aside = None

    def _send(self, ledger: Ledger, courier: Submitter, now: datetime, at_once: bool) -> None:
        """Send what is due, oldest first, in batches; with `at_once` also what is held, once."""
        waiting = [one for one in ledger.in_state(State.SEALED) if not too_early(one, now)] if at_once else []
        for _ in range(ROUNDS_MAX):
            found = waiting[:BATCH_MAX] or list(ledger.due(now, BATCH_MAX))
            waiting = waiting[BATCH_MAX:]
            batch = [record for record in found if not courier.expire_if_late(ledger, record, now)]
            if batch:
                self._sent(ledger, courier.send(ledger, oldest_first(batch), now))
            if not found or self._stop_at is not None:
                return

    def _sent(self, ledger: Ledger, settled: frozenset[str]) -> None:
        self._sent_before = self._sent_before or bool(settled)
        self._doubts.on_answers(ledger, settled)

    # -- stock -------------------------------------------------------------------------------------

    def _run_maintenance(self, ledger: Ledger, now: datetime) -> None:
        """Now and then: usage of workloads that are gone is adopted, what nothing waits for is forgotten."""
        if self._house_kept_at is not None and abs(now - self._house_kept_at) < HOUSE_KEEPING:
            return
        self._house_kept_at = now
        self.estates.update(self.accounts.workload, ledger.adopt(now))
        ledger.prune(now)

    def _refresh_snapshot(self, ledger: Ledger, now: datetime) -> None:
        """What status, metrics and policies show until the next pass."""
        self.sealed, self.waiting, self.balances = ledger.snapshot()
        unsealed = {one.dimension: one.unsealed for one in self.balances}
        self.postponed = postponed(self.waiting.open_from, unsealed, self.sealed, now)
        self.accounts.postponed(self.postponed, now)
        self.unconfigured = {name: amount for name, amount in unsealed.items() if amount and name not in self._names}
        self.accounts.unconfigured(str(ledger.path), self.unconfigured)
        self._doubts.blocked(now, HINT if self.postponed else None)
        if self._may_send():
            self._doubts.after_pass(self.sealed, self.waiting, now)

    # -- the end -----------------------------------------------------------------------------------

    def finish(self) -> None:
        """After SIGTERM: closed hours while pushes are still taken, then the running one, inside the budget."""
        ledger = self.ledger
        if ledger is None:
            return
        try:
            self.flush()
        except LedgerError as exc:
            self.fault = exc
            self.accounts.faulted(exc)
        self._close(ledger)

    def flush(self) -> None:
        """Settle what can be settled of this workload, which reports no more afterwards. Raises LedgerError."""
        ledger, sealer, courier = self.ledger, self._sealer, self._courier
        assert ledger is not None and sealer is not None and courier is not None  # noqa: PT018

        def send(batch: list[UsageRecord], now: datetime, deadline: float) -> None:
            self._sent(ledger, courier.send(ledger, batch, now, deadline))

        goes_on = self._task_goes_on()
        last = FinalFlush(
            ledger=ledger,
            sealer=sealer,
            now=self._now,
            monotonic=self._clock.monotonic,
            rest=self._rest,
            give_up=lambda record, now: courier.expire_if_late(ledger, record, now),
            send=send if self._may_send() else None,
            longest_rest_seconds=PASS_SECONDS_FOLLOWING if self._settings.clock_url else None,
        )
        last.run(self._stop_at or self._clock.monotonic(), self._settings.flush_seconds, goes_on)
        self.accounts.stopping(goes_on)

    def _close(self, ledger: Ledger) -> None:
        """Say what is left, whole, and let go of the file."""
        try:
            self.accounts.leave_behind(ledger.unsettled())
        except LedgerError as exc:
            self.accounts.faulted(exc)
        ledger.close()
        log.LINES.drain(DRAIN_SECONDS)


def _path(path: object) -> str | None:
    return None if path is None else str(path)


def shown(states: Mapping[State, int]) -> dict[str, int]:
    """Return records by state, every state named."""
    return {state.value: states.get(state, 0) for state in State if state is not State.OPEN}
