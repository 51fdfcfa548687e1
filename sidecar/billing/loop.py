"""Run the billing loop: seal the hours that have closed, submit what is due, and store what came of it.

A thread that runs a pass at least every 30 seconds. The rules are elsewhere: when (`metering.schedule`), what an answer
means (`metering.decide`), what is owed (`metering.rollup`), what is on disk (`ledger`).

Invariants:
- One `now` per pass.
- Nothing is sent before the gate first opened, and each record is marked as sending on disk before its request leaves.
- Pushes never wait for this thread, nor this thread for AWS longer than a child may take.
- The disk may fail at any step: the next pass repeats the step, and what was sent is sent again unchanged.
- What it cannot process is quarantined and named, and the loop goes on.
- If it breaks all the same, it is an error of ours: with the gate shut the process ends and says why; with the gate
  open usage is still stored, and `/healthz` and `/readyz` name the loop.
- Whatever broke, the end comes at SIGTERM (`shutdown`).
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import Final

from sidecar import log
from sidecar.billing.events import BillingEvents
from sidecar.billing.final_flush import RESERVED, last_words
from sidecar.billing.gate_policy import FAILING_HINT, Gate, GatePolicy
from sidecar.billing.known_owner import KnownOwner
from sidecar.billing.maintenance import Maintenance
from sidecar.billing.messages import Submission
from sidecar.billing.monitor import LoopMonitor
from sidecar.billing.open_ledger import OpenLedger
from sidecar.billing.orphans import commit_in_doubt
from sidecar.billing.pause import LOOK_SECONDS, PASS_SECONDS_FOLLOWING, PASS_SECONDS_UNUSABLE, until_next
from sidecar.billing.pre_stop import PreStop, flush_budget_seconds
from sidecar.billing.quarantine import Quarantine
from sidecar.billing.shutdown import Shutdown
from sidecar.billing.snapshot import Snapshot
from sidecar.child import process
from sidecar.child.process import ChildProcess
from sidecar.clock import Clock, ClockJumpDetector
from sidecar.errors import DATA_ERRORS, Exit, ExitProcess
from sidecar.ledger.errors import LedgerError, as_ledger_error
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.volume import was_opened
from sidecar.remote_clock import FollowedClock
from sidecar.settings import EntitlementCheck, Settings

LOAD_SECONDS: Final = 2.0
"""How long an opening gate waits for a ledger whose disk is slow."""

STUCK: Final = (
    "ledger_stuck",
    "The disk under SIDECAR_STATE_DIR does not answer; look at the node's kernel log and the volume.",
)
"""Reason and hint."""
LOOP: Final = "metering"
"""The loop's name in `/healthz`, status and metrics."""


class BillingLoop:
    """Seals, submits and settles one workload's usage."""

    def __init__(
        self,
        *,
        settings: Settings,
        clock: Clock,
        gate: Gate,
        end: ExitProcess = lambda _code, _text: None,
        start_child: Callable[[Submission], ChildProcess] = process.spawn,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], None] = time.sleep,
        task_keeps_running: Callable[[], bool] = lambda: False,
        keep_pass: Callable[[str, frozenset[str]], None] = lambda _workload, _dimensions: None,
        changed: Callable[[], None] = lambda: None,
    ) -> None:
        """Take what the loop is given; nothing starts yet.

        `end` ends the process, where the loop broke before the gate opened. `task_keeps_running`: whether only this
        container ends. `keep_pass`: AWS took records of these dimensions. `changed`: what waits may have changed.
        """
        self._settings, self._clock, self._gate = settings, clock, gate
        self._start_child, self._chance, self._end, self._changed = start_child, chance, end, changed
        self._wake = threading.Condition()
        self._stop_at: float | None = None
        self._pre_stop = PreStop(settings, self.stop, lambda: self._stop_at is not None)
        self._at_once = False
        self._known = KnownOwner(settings.product, settings.product_sku)
        self._opening_tried = False
        """The first attempt to open the ledger follows the identity at once, later ones after a pause."""
        self._jumps = ClockJumpDetector()
        self._loaded = threading.Event()
        self._ended = threading.Event()
        self._opened: OpenLedger | None = None
        self.events = BillingEvents(product_code=settings.product_code)
        self._policy = GatePolicy(settings, gate, self.events, lambda names: keep_pass(self.events.workload, names))
        self.fault: LedgerError | None = None
        self.monitor = LoopMonitor(clock)
        self.quarantine = Quarantine(clock.now)
        """What could not be digested."""
        self._maintenance = Maintenance(self.quarantine)
        self.orphans = self._maintenance.orphans
        self.shutdown = Shutdown(
            budget_seconds=flush_budget_seconds(settings),
            events=self.events,
            quarantine=self.quarantine,
            task_keeps_running=task_keeps_running,
            now=self._now,
            monotonic=clock.monotonic,
            sleep=sleep,
            sleep_seconds_max=PASS_SECONDS_FOLLOWING if settings.clock_url else None,
        )

    # -- called by other threads -------------------------------------------------------------------

    def start(self) -> None:
        """Start the thread. The ledger is opened once its owner is known; until then the gate does not open."""
        self._policy.wait_for_ledger()
        threading.Thread(target=self._run, name=LOOP, daemon=True).start()

    def set_identity(self, workload: str, region: str) -> None:
        """Set which workload is metered, and where (`known_owner`); empty texts are ignored."""
        with self._wake:
            if self._known.learn(workload, region):
                self._wake.notify_all()

    def wait_until_loaded(self) -> None:
        """Wait, for a moment, until the ledger was read, where the gate waits for it or it may know of a denial."""
        if self._policy.waits_for_ledger or self._settings.entitlement_check is EntitlementCheck.METER_USAGE:
            self._loaded.wait(LOAD_SECONDS)

    def send_now(self) -> None:
        """Seal what has closed, and submit what is held, whatever the pause."""
        with self._wake:
            self._at_once = True
            self._wake.notify_all()

    def prepare_stop(self) -> None:
        """Settle closed hours at once, since the workload has begun to end. Returns at once."""
        if self._pre_stop.announce():
            self.send_now()

    def stop(self) -> None:
        """Settle what can be settled, since the process ends. Returns at once."""
        with self._wake:
            if self._stop_at is not None:
                return
            self._stop_at = self._clock.monotonic()
            self._wake.notify_all()
        budget = flush_budget_seconds(self._settings)
        for seconds, work in ((budget * RESERVED, self._abort_submission), (last_words(budget), self._log_from_memory)):
            timer = threading.Timer(seconds, work)
            timer.daemon = True
            timer.start()

    def _abort_submission(self) -> None:
        if self._opened:
            self._opened.submitter.abort_current()

    def stopped(self) -> bool:
        """Return whether everything is done that will be."""
        return self._ended.is_set()

    @property
    def ledger(self) -> Ledger | None:
        """Return the ledger, once it is open."""
        return self._opened.ledger if self._opened else None

    @property
    def snapshot(self) -> Snapshot:
        """Return what the last pass found in the ledger."""
        return self._opened.snapshot if self._opened else Snapshot()

    @property
    def stopped_loop(self) -> str | None:
        """Return the loop's name, where it or the ledger's writer broke."""
        writer_died = self.ledger is not None and not self.ledger.alive and not self.stopped()
        return LOOP if self.monitor.dead or writer_died else None

    @property
    def overdue_since(self) -> datetime | None:
        """Return since when nothing could be reported, once that is too long; also where the loop cannot say so."""
        self.judge()
        return self._policy.overdue_since

    def judge(self) -> None:
        """Raise the alarm where the loop's thread cannot. Called where probes are answered; waits for nothing."""
        if self._stop_at is not None:
            return
        if self.monitor.stuck:
            self.events.ledger_stuck(*STUCK)
            self._policy.ledger_unusable(*STUCK)
        since = self.monitor.failing_since()
        if since and self._may_send() and self._policy.judge(self._clock.now(), since):
            self._changed()

    # -- the thread --------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            try:
                while self._wait_for_pass():
                    self.run_once()
            except BaseException as exc:  # the outermost edge of the thread: logged, and acted on
                self._break(exc)
                with self._wake:
                    self._wake.wait_for(lambda: self._stop_at is not None)
            self.finish()
        finally:
            self._ended.set()

    def _break(self, exc: BaseException) -> None:
        """Say that the loop is dead. Usage is still stored, and what there is to settle is settled at the end."""
        self.monitor.die()
        self._loaded.set()
        log.LOGGER.error("loop.stopped", extra={"loop": LOOP}, exc_info=exc)
        if self._policy.waits_for_ledger or not self._gate.has_opened:  # a startup probe hides liveness
            self._end(Exit.SOFTWARE, f"The {LOOP} loop broke: {type(exc).__name__}. Report this to the vendor.")

    def _wait_for_pass(self) -> bool:
        """Wait for the next pass, or until the lock of a ledger in use is free; False when it is time to stop."""
        left, found = self._pause_seconds(), self.ledger.neighbours if self.ledger else None
        look = LOOK_SECONDS if found and found.in_use else left
        while self._nothing_to_do(min(left, look)) and left > look and not (found and self.monitor.watch(found.freed)):
            left -= look
        return self._stop_at is None

    def _nothing_to_do(self, seconds: float) -> bool:
        """Return whether nothing came up within this time. No disk is asked meanwhile: `stop` would wait for it."""
        with self._wake:
            opens_next = self._known.complete and not self._opening_tried  # without a region a pause later
            return not (self._at_once or self._stop_at is not None or opens_next or self._wake.wait(seconds))

    def _pause_seconds(self) -> float:
        if self._settings.clock_url:
            return PASS_SECONDS_FOLLOWING
        if self.ledger is None or self.fault is not None:
            return PASS_SECONDS_UNUSABLE
        return until_next(self.snapshot, self._clock.now(), self.events.workload)

    def run_once(self) -> None:
        """Run one pass."""
        now = self._now()
        with self._wake:
            at_once, self._at_once = self._at_once, False
        try:
            self._check_clock(now)
            self._start_disk_timer()
            opened = self._opened or self._open(now)
            if opened is not None:
                self._run_open(opened, now, at_once)
        except (LedgerError, OSError, *DATA_ERRORS) as exc:
            self._fail(as_ledger_error(exc, self._settings.state_dir), now)
        self.monitor.end_pass(now)
        self.events.ledger_fault(self.fault)

    def _check_clock(self, now: datetime) -> None:
        jump = self._jumps.check(now, self._clock.monotonic())
        if jump and not self._settings.clock_url:  # an emulator's clock may run at any speed
            self.events.clock_jumped(jump, now)
            self._policy.clock_jumped(jump)

    def _fail(self, fault: LedgerError, now: datetime) -> None:
        """Note that the disk failed: what waits cannot be reported in this pass, nor new usage stored."""
        self.fault = fault
        self.events.set_aside(fault.set_aside)
        self._policy.blocked(now, FAILING_HINT)
        self._policy.ledger_unusable(fault.reason, fault.hint)
        if self._may_send():
            self._policy.evaluate_overdue(now)
            self._changed()

    def _now(self) -> datetime:
        """Return the instant of this pass; a clock that is followed is read for it."""
        if isinstance(self._clock, FollowedClock):
            self._clock.refresh()
        return self._clock.now()

    def _run_open(self, opened: OpenLedger, now: datetime, at_once: bool) -> None:
        opened.ledger.check(now)
        opened.place(self._known.owner, now)
        self.fault = None
        opened.run_pass(now, at_once, lambda: self._stop_at is not None)
        self._changed()

    def _start_disk_timer(self, aws_is_waited_for: bool = False) -> None:
        """From here on the disk is waited for, or AWS, which may take longer; a disk hangs at any step."""
        self.monitor.wait(for_disk=not aws_is_waited_for and self._stop_at is None)

    def _open(self, now: datetime) -> OpenLedger | None:
        owner = self._known.owner
        if owner is not None and not self._opening_tried:
            self._opening_tried = True
            if was_opened(self._settings.state_dir, owner.workload):
                self._policy.ledger_opened()  # once is enough: a disk that is full now shuts no running product
        if owner is None or (isinstance(self._clock, FollowedClock) and not self._clock.answered):
            return None  # what counts under this machine's time would be in another year once the emulator's is known
        settings = self._settings
        ledger = Ledger.open(settings.state_dir, owner, settings.dimensions, now, on_doubt=commit_in_doubt)
        ledger.neighbours.on_look = self._start_disk_timer
        self.events.workload, self.events.region = owner.workload, owner.region
        opened = OpenLedger(
            ledger,
            settings=self._settings,
            gate=self._gate,
            events=self.events,
            policy=self._policy,
            maintenance=self._maintenance,
            quarantine=self.quarantine,
            on_wait=self._start_disk_timer,
            start_child=self._start_child,
            chance=self._chance,
        )
        try:
            opened.begin(now)
        except BaseException:
            self.events.set_aside(ledger.set_aside)
            ledger.close()  # or the next pass would find it locked, by ourselves
            raise
        self.shutdown.opened(ledger)
        self._opened = opened
        self._policy.ledger_opened()
        self._loaded.set()
        return opened

    def _may_send(self) -> bool:
        return self._gate.has_opened or (self._opened is not None and self._opened.may_send)

    # -- the end -----------------------------------------------------------------------------------

    def finish(self) -> None:
        """Flush after SIGTERM, log what is left, whole, and close the ledger."""
        if self._opened is not None:
            self.shutdown.run(self._opened, self._began(), self.monitor.passed_at)

    def flush(self) -> None:
        """Settle what can be settled of this workload, which reports no more afterwards."""
        if self._opened is not None:
            self.shutdown.flush(self._opened, self._began())

    def _began(self) -> float:
        return self._clock.monotonic() if self._stop_at is None else self._stop_at

    def _log_from_memory(self) -> None:
        """Log what the last pass found to be left, where the disk does not answer any more."""
        if self._opened is not None and not self.stopped():
            self.shutdown.log_from_memory(self._opened.snapshot, self.monitor.passed_at)
