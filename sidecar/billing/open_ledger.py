"""Work on an open ledger: read what it has at the start, then run one pass after another.

Invariants:
- A step that cannot digest its data is put aside and named (`quarantine`); the steps after it run all the same.
- Usage is kept before the region is known. What needs a region waits for it: sending, and the ledgers of others.
- Nothing is sent before the gate first opened, for this process or for an earlier one of the same workload.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from sidecar.billing.events import BillingEvents
from sidecar.billing.gate_policy import Gate, GatePolicy
from sidecar.billing.hour_slot import HourSlot
from sidecar.billing.maintenance import Maintenance
from sidecar.billing.messages import Submission
from sidecar.billing.quantity_kinds import QuantityKinds
from sidecar.billing.quarantine import HINT, STEP, Quarantine
from sidecar.billing.sealer import DIMENSION, Sealer
from sidecar.billing.snapshot import Snapshot
from sidecar.billing.submitter import Submitter
from sidecar.child.process import ChildProcess
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.metering import postponed
from sidecar.metering.states import State
from sidecar.settings import Settings


class OpenLedger:
    """One workload's ledger while it is open, and what works on it."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        settings: Settings,
        gate: Gate,
        events: BillingEvents,
        policy: GatePolicy,
        maintenance: Maintenance,
        quarantine: Quarantine,
        on_wait: Callable[[bool], None],
        start_child: Callable[[Submission], ChildProcess],
        chance: Callable[[], float],
    ) -> None:
        """`on_wait` is called before each wait, with whether AWS, not the disk, is waited for."""
        self.ledger, self.quarantine = ledger, quarantine
        self.snapshot = Snapshot()
        kinds, slot = QuantityKinds(settings.quantity_field), HourSlot()
        self.sealer = Sealer(ledger, settings, events, quarantine, kinds, slot)
        self.submitter = Submitter(
            ledger,
            settings,
            events,
            quarantine,
            kinds,
            slot,
            on_wait=on_wait,
            on_answers=self._apply,
            start_child=start_child,
            chance=chance,
        )
        self._dimensions, self._gate, self._events, self._policy = settings.dimensions, gate, events, policy
        self._maintenance, self._on_wait = maintenance, on_wait
        self._sent_before = False

    def begin(self, now: datetime) -> None:
        """Read, before the first push, what an earlier process has left, and which ids others know."""
        ledger = self.ledger
        waiting = ledger.summary()
        self.snapshot = Snapshot(waiting=waiting)
        self._events.opened(ledger.path, waiting.states)
        self._log_set_aside()
        self._events.passed_over(ledger.passed_over)
        self._sent_before = waiting.ever_settled or any(one.attempts for one in ledger.in_state(State.SEALED))
        self._policy.restore(ledger)
        if self._events.region:
            self._maintenance.begin(ledger, self._events.workload, now)

    def place(self, owner: Owner | None, now: datetime) -> None:
        """Take note of the region where it was not known: records are sent from now on. Raises LedgerError."""
        if owner and owner.region and not self._events.region:
            self.ledger.set_region(owner.region)
            self._events.region = owner.region
            self._maintenance.begin(self.ledger, owner.workload, now)

    @property
    def may_send(self) -> bool:
        """Return whether the region is known, and the gate has opened, for this process or an earlier one."""
        return bool(self._events.region) and (self._gate.has_opened or self._sent_before)

    def run_pass(self, now: datetime, at_once: bool, stopping: Callable[[], bool]) -> None:
        """Seal what has closed, submit what is due, and read what is left; `at_once`: whatever the pause.

        Raises LedgerError.
        """
        step = self.quarantine.run
        self._log_set_aside()
        step(STEP, "sealing", lambda: self.sealer.seal_closed(now, at_once=at_once))
        if self.may_send:
            step(STEP, "sending", lambda: self.submitter.submit_due(now, at_once, stopping))
        self._on_wait(False)
        if self._events.region:
            self._maintenance.run(self.ledger, self._events.workload, now)
        self._on_wait(False)
        step(STEP, "reading the ledger", lambda: self._refresh_snapshot(now))
        self._judge(now)

    def _log_set_aside(self) -> None:
        self._events.set_aside(self.ledger.set_aside)
        self.ledger.set_aside = None

    def _apply(self, settled: frozenset[str]) -> None:
        """Let the gate follow from a batch: AWS took records of the dimensions `settled`."""
        self._sent_before = self._sent_before or bool(settled)
        self._policy.on_answers(self.ledger, settled)

    def _refresh_snapshot(self, now: datetime) -> None:
        """Read what status, metrics and policies show until the next pass."""
        sealed, waiting, balances = self.ledger.snapshot()
        self.snapshot = found = Snapshot.of(sealed, waiting, balances, self._dimensions, now)
        self._events.postponed(found.postponed, now)
        self._events.unconfigured(str(self.ledger.path), found.unconfigured)

    def _judge(self, now: datetime) -> None:
        """Let the gate follow from what still waits, and from what could not even be processed."""
        found = self.snapshot
        all_fail = self.quarantine.count(DIMENSION) >= len(self._dimensions)
        failing = HINT if all_fail or self.quarantine.count(STEP) else None
        self._policy.blocked(now, postponed.HINT if found.postponed else failing)
        if self.may_send and found.waiting:
            self._policy.after_pass(found.sealed, found.waiting, now)
