"""Put the worker together: the loops, what they tell one another, and the routes.

Invariants:
- Ledger, SQLite and the billing loop are imported only where a dimension is set; the pod-status reporter only where a
  token for the Kubernetes API is mounted: a sidecar is multiplied by every pod.
- What ends the process writes its exit code to the restart state; the arbiter exits with it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidecar import log, termination_log
from sidecar.api.router import Router
from sidecar.app.status import StatusView
from sidecar.billing.disabled import DisabledMetering
from sidecar.billing.protocol import Metering
from sidecar.child.process import ChildProcess
from sidecar.clock import Clock
from sidecar.entitlement.answer import AnswerClass
from sidecar.errors import Exit, ExitProcess
from sidecar.gate.loop import EntitlementLoop
from sidecar.gate.messages import CheckRequest, Report
from sidecar.pod_status.access import API_MOUNT, api_access
from sidecar.remote_clock import clock_for
from sidecar.restart_state import RestartState
from sidecar.settings import Settings

if TYPE_CHECKING:
    from sidecar.billing.gate_policy import Gate
    from sidecar.pod_status.changes import Snapshot
    from sidecar.pod_status.reporter import PodStatusReporter


class Sidecar:
    """The sidecar's loops in one worker. Made in the arbiter, started in the worker."""

    def __init__(self, settings: Settings, board: RestartState, question: CheckRequest, first: ChildProcess) -> None:
        """`first`: the child that asks AWS already, forked before the arbiter."""
        self._settings, self._board = settings, board
        self._question, self._first = question, first
        self._arbiter = os.getpid()

    def start(self, http_counters: Any) -> Router:
        """Start asking and metering, and return the routes."""
        clock = clock_for(self._settings.clock_url)
        end = make_exit_hook(self._settings, self._board, self._arbiter)
        self._gatekeeper = EntitlementLoop(
            settings=self._settings,
            question=self._question,
            clock=clock,
            shared=self._board,
            end=end,
            first=self._first,
            at_first=_known(os.environ),
            placed=lambda report: self._metering.loop.set_identity(report.workload, report.region),
            before_opening=lambda: self._metering.loop.wait_until_loaded(),
            rechecked=lambda: self._metering.loop.send_now(),
            changed=self._changed,
        )
        self._metering = metering(self._settings, clock, self._gatekeeper, end, self._changed)
        self._reporter = pod_status_reporter(self._gatekeeper, self._metering, clock, self._board)
        view = StatusView(self._settings, self._gatekeeper, clock, self._metering, self._reporter)
        view.http_counters = http_counters
        self._metering.loop.set_identity(self._gatekeeper.report.workload, self._gatekeeper.report.region)
        if self._reporter:
            self._reporter.start()
        self._metering.loop.start()
        self._gatekeeper.start()
        return Router(view)

    def stop(self) -> None:
        """Stop asking, and send the last usage. Returns at once."""
        self._gatekeeper.stop()
        self._metering.loop.stop()
        if self._reporter:
            self._reporter.stop()

    def stopped(self) -> bool:
        """Return whether the last usage is sent and the last pod status written, as far as they can be."""
        return self._metering.loop.stopped() and (self._reporter is None or self._reporter.stopped())

    def _changed(self) -> None:
        if self._reporter:
            self._reporter.changed()


def metering(
    settings: Settings, clock: Clock, gate: Gate, end: ExitProcess, changed: Callable[[], None] = lambda: None
) -> Metering:
    """Return metering as the settings want it. `changed`: what waits may be other than before."""
    if not settings.dimensions:
        return DisabledMetering(clock)
    from sidecar.billing.service import MeteringService

    return MeteringService(settings, clock, gate, end, changed=changed)


def pod_status_reporter(
    gatekeeper: EntitlementLoop,
    metering: Metering,
    clock: Clock,
    board: RestartState,
    env: Mapping[str, str] = os.environ,
    mount: Path = API_MOUNT,
) -> PodStatusReporter | None:
    """Return a reporter where a token for the Kubernetes API is mounted for us and the pod is known."""
    api = api_access(env, mount)
    if api is None:
        return None
    if api.missing:
        hint = "Set them in the container: the pod's own through the downward API (fieldRef), as the chart does."
        log.error("kubernetes.unconfigured", missing=list(api.missing), hint=hint)
        return None
    from sidecar.pod_status.changes import snapshot
    from sidecar.pod_status.reporter import PodStatusReporter

    def look() -> Snapshot:
        report, overdue = gatekeeper.report, metering.loop.overdue_since is not None
        superseded = report.public_key_version if report.rotation_at else None
        return snapshot(gatekeeper.state, superseded, metering.for_a_person, overdue)

    return PodStatusReporter(api=api, look=look, clock=clock, shared=board)


def _known(env: Mapping[str, str]) -> Report:
    """Return who and where we are as far as the environment says it, until a child has found out."""
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or ""
    return Report(
        answer=AnswerClass.RETRY.value, reason="asking", hint="", workload=env.get("POD_UID", ""), region=region
    )


def make_exit_hook(settings: Settings, board: RestartState, arbiter: int) -> ExitProcess:
    """Return what ends the whole process: exit code to the restart state, a message, SIGTERM to the arbiter."""
    once = threading.Lock()

    def end(code: Exit, text: str) -> None:
        if not once.acquire(blocking=False):
            return
        board.update(exit=int(code))
        termination_log.note(settings.termination_log, text)
        log.error("sidecar.ending", exit_code=int(code), hint=text)
        os.kill(arbiter, signal.SIGTERM)

    return end
