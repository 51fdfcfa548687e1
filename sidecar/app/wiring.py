"""Put the worker together: the loops, what they tell one another, and the routes.

Invariants:
- Ledger, SQLite and the billing loop are imported only where a dimension is set, what pulls usage only where a source
  is; the pod-status reporter only where a token for the Kubernetes API is mounted; seats only where a contract is
  checked: a sidecar is multiplied by every pod.
- What ends the process writes its exit code to the restart state; the supervisor exits with it.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sidecar import log, termination_log
from sidecar.api.router import Router
from sidecar.app.status import StatusView
from sidecar.billing.disabled import DisabledMetering
from sidecar.billing.protocol import Metering
from sidecar.child.process import ChildProcess
from sidecar.clock import Clock
from sidecar.errors import Exit, ExitProcess
from sidecar.gate.history import GateHistory
from sidecar.gate.loop import EntitlementLoop
from sidecar.gate.messages import CheckRequest, WorkloadIdentity
from sidecar.gate.observer import GateObserver
from sidecar.pod_status.access import API_MOUNT, api_access
from sidecar.remote_clock import clock_for
from sidecar.restart_state import RestartState
from sidecar.server.supervised import Supervised
from sidecar.settings import EntitlementCheck, Settings

COUNT_MOUNT: Final = Path("/var/run/secrets/entitlement-sidecar.io/counts")
"""Where a token is that lists what `kubernetes` sources count. Apart from the one for condition and events, whose
presence says that these are wanted."""

LAST_SEAL: Final = "last_seal"
"""Of the restart state: the sidecar ends, and has come to the last seal."""

if TYPE_CHECKING:
    from sidecar.billing.gate_policy import Gate
    from sidecar.gate.license_loop import LicenseLoop
    from sidecar.pod_status.changes import Snapshot
    from sidecar.pod_status.reporter import PodStatusReporter
    from sidecar.sources.loop import SourcesLoop


class Sidecar(GateObserver):
    """The sidecar's loops in one worker."""

    def __init__(
        self,
        settings: Settings,
        restart_state: RestartState,
        request: CheckRequest,
        first: ChildProcess | None,
        shared: Supervised,
    ) -> None:
        """`first`: the child that asks AWS already."""
        self._settings, self._restart_state = settings, restart_state
        self._reporter: PodStatusReporter | None = None
        self._licenses: LicenseLoop | None = None
        self._sources: SourcesLoop | None = None
        self._request, self._first = request, first
        self._shared = shared

    def start(self, http_counters: Any) -> Router:
        """Start asking and metering, and return the routes."""
        clock = clock_for(self._settings.clock_url)
        end = make_exit_hook(self._settings, self._restart_state, self._shared.supervisor)
        self._gate = EntitlementLoop(
            settings=self._settings,
            request=self._request,
            clock=clock,
            restart_state=self._restart_state,
            end=end,
            identity=_known(os.environ),
            first=self._first,
            observer=self,
        )
        self._clock, self._history = clock, GateHistory()
        self.changed()
        self._metering = metering(self._settings, clock, self._gate, end, self.changed)
        keep_last_seal(self._metering, self._restart_state, self._shared)
        self._licenses = license_loop(
            self._settings, clock, self._gate, self._metering.loop.stopped, self.changed, self._shared.is_ending
        )
        self._reporter = pod_status_reporter(
            self._gate, self._metering, clock, self._restart_state, licenses=self._licenses
        )
        self._view = view = StatusView(
            self._settings, self._gate, clock, self._metering, self._history, self._reporter, self._licenses
        )
        self._sources = pulling(self._settings, clock, self._gate, self._metering)
        view.sources = self._sources
        view.http_counters = http_counters
        self.identified(self._gate.identity)
        if self._reporter:
            self._reporter.start()
        self._metering.loop.start()
        if self._licenses:
            self._licenses.start()
        if self._sources:
            self._sources.start()
        self._gate.start()
        return Router(view)

    def stop(self) -> None:
        """Stop asking, and send the last usage. Returns at once."""
        self._gate.stop()
        self._view.stop_proofs()
        if self._sources:
            self._sources.stop()
        self._metering.loop.stop()
        for one in (self._licenses, self._reporter):
            if one:
                one.stop()

    def stopped(self) -> bool:
        """Return whether the last usage is sent, seats checked in and pod status written, as far as they can be."""
        others = (self._licenses, self._reporter)
        return self._metering.loop.stopped() and all(one is None or one.stopped() for one in others)

    def identified(self, identity: WorkloadIdentity) -> None:
        """Meter this workload."""
        self._metering.loop.set_identity(identity.workload, identity.region)

    def before_open(self) -> None:
        """Wait for the ledger, which may know of a denial."""
        self._metering.loop.wait_until_loaded()

    def recheck_requested(self) -> None:
        """Submit what is held, and ask for seats that are lost."""
        self._metering.loop.send_now()
        if self._licenses:
            self._licenses.ask_now()

    def changed(self) -> None:
        """Keep the gate's state in its history; hand seats on; write the pod's condition and events."""
        self._history.note(self._gate.state, self._clock.now())
        if self._licenses:
            self._licenses.take_over(self._gate.result)
        if self._reporter:
            self._reporter.changed()
        if self._sources:
            self._sources.changed()


def pulling(
    settings: Settings, clock: Clock, gate: EntitlementLoop, metering: Metering, env: Mapping[str, str] = os.environ
) -> SourcesLoop | None:
    """Return what pulls usage; None where no source is set. It is read once more before the running hour is sealed."""
    if not settings.sources:
        return None
    from sidecar.billing.pulled_usage import PulledUsage
    from sidecar.billing.service import MeteringService
    from sidecar.sources.kubernetes import Cluster
    from sidecar.sources.loop import SourcesLoop

    assert isinstance(metering, MeteringService)  # a source names a dimension, or the settings are refused
    mount = next((one for one in (COUNT_MOUNT, API_MOUNT) if one.is_dir()), None)
    names = ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT", "POD_NAMESPACE")
    host, port, namespace = (env.get(name, "") for name in names)
    loop = SourcesLoop(
        sources=settings.sources,
        store=PulledUsage(metering.loop),
        entitled=lambda: gate.state.entitled,
        clock=clock,
        cluster=Cluster(mount=str(mount), host=host, port=port, namespace=namespace) if mount else None,
        cluster_mount=str(COUNT_MOUNT),
    )
    metering.loop.shutdown.last_pushes = loop.finish
    return loop


def metering(
    settings: Settings, clock: Clock, gate: Gate, end: ExitProcess, changed: Callable[[], None] = lambda: None
) -> Metering:
    """Return metering as the settings want it. `changed`: what waits may be other than before."""
    if not settings.dimensions:
        return DisabledMetering(clock, settings.state_dir)
    from sidecar.billing.service import MeteringService

    return MeteringService(settings, clock, gate, end, changed=changed)


def keep_last_seal(metering: Metering, restart_state: RestartState, shared: Supervised) -> None:
    """Have the worker that finishes what this one began take no push either, once this one has come to the last seal.

    One that is replaced has a last seal, too; the next one takes pushes.
    """
    if isinstance(metering, DisabledMetering):
        return
    from sidecar.billing.service import MeteringService

    assert isinstance(metering, MeteringService)
    shutdown = metering.loop.shutdown

    def note() -> None:
        if shared.is_ending():
            restart_state.update(**{LAST_SEAL: True})

    shutdown.had_last_seal = LAST_SEAL in restart_state.read()
    shutdown.on_last_seal = note


def license_loop(
    settings: Settings,
    clock: Clock,
    gate: EntitlementLoop,
    flushed: Callable[[], bool],
    changed: Callable[[], None],
    is_ending: Callable[[], bool],
    env: Mapping[str, str] = os.environ,
) -> LicenseLoop | None:
    """Return what keeps the seats of a contract, where one is checked."""
    if settings.entitlement_check is not EntitlementCheck.CHECKOUT_LICENSE:
        return None
    from sidecar.billing.pre_stop import flush_budget_seconds
    from sidecar.gate.license_loop import LicenseLoop
    from sidecar.platform import ecs

    return LicenseLoop(
        settings=settings,
        gate=gate,
        clock=clock,
        budget_seconds=flush_budget_seconds(settings),
        flushed=flushed,
        task_keeps_running=lambda: ecs.task_keeps_running(env),
        is_replaced=lambda: not is_ending(),
        changed=changed,
    )


def pod_status_reporter(
    gate: EntitlementLoop,
    metering: Metering,
    clock: Clock,
    restart_state: RestartState,
    env: Mapping[str, str] = os.environ,
    mount: Path = API_MOUNT,
    licenses: LicenseLoop | None = None,
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

    def current() -> Snapshot:
        result, overdue = gate.result, metering.loop.overdue_since is not None
        superseded = result.public_key_version if result.rotation_at else None
        contract = licenses.contract if licenses else None
        return snapshot(gate.state, superseded, metering.for_a_person, overdue, contract)

    return PodStatusReporter(api=api, snapshot=current, clock=clock, restart_state=restart_state)


def _known(env: Mapping[str, str]) -> WorkloadIdentity:
    """Return the identity as far as the environment says it, until a child has found out."""
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION") or ""
    return WorkloadIdentity(workload=env.get("POD_UID", ""), region=region)


def make_exit_hook(settings: Settings, restart_state: RestartState, supervisor: int) -> ExitProcess:
    """Return what ends the whole process: exit code to the restart state, a message, SIGTERM to the supervisor."""
    once = threading.Lock()

    def end(code: Exit, text: str) -> None:
        if not once.acquire(blocking=False):
            return
        restart_state.update(exit=int(code))
        termination_log.note(settings.termination_log, text)
        log.error("sidecar.ending", exit_code=int(code), hint=text)
        os.kill(supervisor, signal.SIGTERM)

    return end
