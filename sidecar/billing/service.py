"""Offer metering to the rest of the worker: the billing loop, usage for the routes, status and metrics.

Invariants:
- Everything here reads what the last pass left in memory, and returns at once.
- A disk that does not answer, and a loop that does not run, are faults like a disk that refuses.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

from sidecar import log
from sidecar.api.metrics import Metric
from sidecar.attempts import Attempts
from sidecar.billing import status
from sidecar.billing.gate_policy import Gate
from sidecar.billing.loop import STUCK, BillingLoop
from sidecar.billing.messages import Submission
from sidecar.billing.status import Fault
from sidecar.billing.usage import WORKLOAD_UNKNOWN, LedgerUsage
from sidecar.child import process
from sidecar.child.process import ChildProcess
from sidecar.clock import Clock
from sidecar.entitlement import kept_pass
from sidecar.entitlement.registration import ProductCode, WorkloadId
from sidecar.errors import ExitProcess
from sidecar.ledger import kept_file
from sidecar.ledger.errors import LedgerError
from sidecar.settings import EntitlementCheck, OnMeteringOverdue, Settings

STOPPED: Final[Fault] = (
    "loop_stopped",
    "The metering loop does not run. What is acknowledged is kept, and not reported; restart the container.",
)
OVERDUE: Final[Fault] = (
    "metering_overdue",
    "No usage could be reported for SIDECAR_METERING_OVERDUE_SECONDS; the log's `metering.overdue` says what to do.",
)


class MeteringService:
    """A `billing.protocol.Metering` for products with dimensions."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        gate: Gate,
        end: ExitProcess,
        start_child: Callable[[Submission], ChildProcess] = process.spawn,
        changed: Callable[[], None] = lambda: None,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Build the loop; `changed` is called when what waits may have changed."""
        self._settings, self._clock = settings, clock
        self.loop = BillingLoop(
            settings=settings,
            clock=clock,
            gate=gate,
            end=end,
            start_child=start_child,
            task_keeps_running=_task_keeps_running,
            keep_pass=self._keep_pass,
            changed=changed,
            chance=chance,
            sleep=sleep,
        )
        self.usage = LedgerUsage(settings, self.loop, clock)

    @property
    def unused_ledgers(self) -> Sequence[str]:
        """Return nothing: ledgers here are used, or those of other workloads."""
        return ()

    @property
    def for_a_person(self) -> Mapping[str, int]:
        """Return the number of records that wait for a person, by state."""
        return status.for_a_person(self.loop.snapshot)

    @property
    def fault(self) -> Fault | None:
        """Return why usage cannot be stored, or is overdue where that makes the sidecar not ready."""
        loop = self.loop
        overdue = loop.overdue_since
        if loop.stopped_loop:
            return STOPPED
        if loop.stopped():
            ended = LedgerError("shutting_down")
            return ended.reason, ended.hint
        if loop.monitor.stuck:
            return STUCK
        if loop.monitor.stalled:
            return STOPPED
        fault = loop.ledger.fault if loop.ledger else loop.fault
        if fault is not None:
            return fault.reason, fault.hint
        if loop.ledger is None:
            return WORKLOAD_UNKNOWN
        if overdue and self._settings.on_metering_overdue is OnMeteringOverdue.NOT_READY:
            return OVERDUE
        return None

    @property
    def attempts(self) -> Attempts:
        """Return the records submitted, by what came of each."""
        return self.loop.events.attempts

    @property
    def passed_at(self) -> datetime | None:
        """Return when the loop's last pass ended."""
        return self.loop.monitor.passed_at

    def status(self) -> Mapping[str, object]:
        """Return `metering` of `GET /v1/status`."""
        return status.document(self.loop, self._settings, self.fault)

    def metrics(self) -> Sequence[Metric]:
        """Return what an alert on lost or late usage needs."""
        return status.metrics(self.loop, self.usage.refusals, self.fault, self._clock.now())

    def _keep_pass(self, workload: str, dimensions: frozenset[str]) -> None:
        """Store a pass, since AWS took a record: it opens the gate after a restart while AWS is out of reach."""
        if self._settings.entitlement_check is not EntitlementCheck.METER_USAGE:
            return
        path = kept_file.pass_path(self._settings.state_dir, workload)
        product = ProductCode(self._settings.product_code)
        try:
            text = kept_pass.settled(kept_file.read(path), WorkloadId(workload), product, dimensions)
            if text:
                kept_file.replace(path, text)
        except OSError as exc:
            log.warn("answer.save_failed", state_dir=str(self._settings.state_dir), fault=exc.strerror)


def _task_keeps_running() -> bool:
    """Return whether ECS lets the task run on. Called once, at SIGTERM: until then no HTTP client is needed."""
    from sidecar.platform import ecs

    return ecs.task_keeps_running(os.environ)
