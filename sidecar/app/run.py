"""Be the sidecar's worker: read the settings, bind the ports, have the first check asked, serve.

Invariants:
- Settings are read and ports bound before anything is asked or served; the first check goes out at once after. The
  child that asks may be there before (`first_child`): it waits for its request.
- What only serving needs is imported while the first check asks AWS.
- A worker that replaces one has its settings, its sockets, its name and its instance, and asks again when the retry
  schedule says so: one that dies of asking does not make a loop of questions.

`server.supervisor` starts it, and replaces it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from sidecar import log, termination_log
from sidecar.api.reply import API
from sidecar.app import addresses, first_worker
from sidecar.app.first_worker import Begun
from sidecar.child import process
from sidecar.child.forked_read import read_document
from sidecar.child.process import ChildProcess, WaitingChild
from sidecar.errors import Exit, Problem, SettingsError
from sidecar.gate import open_check, question
from sidecar.gate.messages import JOB, CheckRequest
from sidecar.restart_state import RestartState
from sidecar.server import listeners
from sidecar.server.listeners import Listening
from sidecar.server.supervised import Supervised
from sidecar.server.supervisor import DRAIN_SECONDS, log_crash, stop_pending
from sidecar.settings import ENDPOINTS, Address, EntitlementCheck, Platform, Settings
from sidecar.settings.files import Files
from sidecar.settings.table import BY_NAME


def run(
    env: Mapping[str, str],
    flags: Mapping[str, str],
    manifest: Path,
    shared: Supervised,
    waiting: WaitingChild | None = None,
) -> int:
    """Serve until told to stop, or until there is a reason to end. Returns the exit code.

    `waiting`: the child of the first check, where there is one already. Raises SettingsError, its note written, before
    anything is asked or served.
    """
    restart_state = RestartState(shared.restart_state)
    earlier = first_worker.take(shared)
    files = earlier.files if earlier else Files()
    try:
        settings = Settings.load(env, flags, manifest, read_document, files=files)
        settings = first_worker.in_time(settings, shared)
        log.start(settings.log_level.value)
        _place(settings, env)
        begun = earlier or _begin(settings, files, restart_state)
    except SettingsError as exc:
        termination_log.note(_note_path(env, flags), str(exc))
        raise
    try:
        if not earlier:
            first_worker.hand_on(shared, begun, restart_state)
            question.forget(restart_state)  # of settings that are lost, if there was one
        if shared.seconds_left() is None:
            shared.allow(settings.flush_seconds)
        if stop_pending() and not open_check.has_asked(restart_state):  # one that has asked may have taken usage
            return Exit.OK
        _ask_and_serve(settings, begun, env, restart_state, shared, waiting)
    except Exception as exc:
        if shared.has_served or shared.last_beat():
            raise  # the supervisor tries again
        log_crash(exc)
        termination_log.note(settings.termination_log, "The worker could not be started; the log says why.")
        log.event("sidecar.stopped", exit_code=int(Exit.SOFTWARE))
        return Exit.SOFTWARE
    finally:
        log.LINES.drain(DRAIN_SECONDS)
    return Exit.OK


def _begin(settings: Settings, files: Files, restart_state: RestartState) -> Begun:
    """Bind every socket. Raises SettingsError."""
    listening, kept_open = _listen(settings, restart_state.kept("instance", os.urandom(16).hex()))
    restart_state.update(log_level=settings.log_level.value)
    return Begun(files=files, listening=listening, kept_open=kept_open)


def _ask_and_serve(
    settings: Settings,
    begun: Begun,
    env: Mapping[str, str],
    restart_state: RestartState,
    shared: Supervised,
    waiting: WaitingChild | None,
) -> None:
    """Have AWS asked while everything else starts, and serve until told to stop."""
    request = CheckRequest.of(settings, spare_workload_id=restart_state.kept("spare_id", os.urandom(16).hex()))
    first = _ask(request, restart_state, lambda: waiting or process.fork(JOB, first_worker.descriptors(shared, begun)))
    try:
        if not shared.has_served:
            _announce(settings, begun.listening)
            _warn_of_unsigned_answers(settings, env)
        _serve(settings, begun, restart_state, request, first, shared)
    finally:
        if first:
            first.kill_if_running()


def _ask(request: CheckRequest, restart_state: RestartState, child: Callable[[], WaitingChild]) -> ChildProcess | None:
    """Have the first check asked; None where an earlier worker has done that, and the loop knows when to ask again."""
    return child().ask(request) if open_check.begin_first(restart_state, time.monotonic()) else None


def _place(settings: Settings, env: Mapping[str, str]) -> None:
    """Count as AWS does where the workload runs. Raises SettingsError where that is another platform than set."""
    if settings.platform is not Platform.AGENTCORE:
        return
    from sidecar.metering.hours import use_short_periods
    from sidecar.platform import ecs, eks

    found = "an ECS task" if ecs.on_ecs(env) else "a pod" if env.get(eks.UID) else ""
    if found:
        fault = f"is 'agentcore', but this is {found}: AWS bills it by the hour. Remove the setting."
        raise SettingsError([Problem(setting=BY_NAME["platform"].variable, fault=fault)])
    use_short_periods()


def _listen(settings: Settings, instance: str) -> tuple[tuple[Listening, ...], tuple[int, ...]]:
    """Bind every socket, and write where they are if a file is wanted. Raises SettingsError.

    Returns the sockets, and the descriptor that says that the file is in use.
    """
    kept_open = None
    where = addresses.file_of(settings)
    listening = listeners.listen(settings, earlier=addresses.earlier_ports(where) if where else {})
    if where:
        try:
            kept_open = addresses.publish(where, settings, listening, instance)
        except SettingsError:
            listeners.close(listening)
            raise
    return listening, () if kept_open is None else (kept_open,)


def _note_path(env: Mapping[str, str], flags: Mapping[str, str]) -> Path:
    """Return where the note goes while the settings that say so cannot be trusted."""
    setting = BY_NAME["termination_log"]
    return Path(flags.get(setting.name) or env.get(setting.variable) or str(setting.default))


def _warn_of_unsigned_answers(settings: Settings, env: Mapping[str, str]) -> None:
    """Warn where another server may answer in AWS's place: other certificates than the SDK's prove the answer.

    A proxy is not needed for that: a hosts file or DNS leads to the other server as well.
    """
    if env.get("AWS_CA_BUNDLE") and settings.entitlement_check is not EntitlementCheck.REGISTER_USAGE:
        hint = (
            f"AWS signs no answer to {settings.entitlement_check.value}: TLS alone proves it. A server with a"
            " certificate that AWS_CA_BUNDLE trusts can answer in AWS's place, reached by proxy, hosts file or DNS."
            " Unset AWS_CA_BUNDLE; where a proxy inspects TLS, let the AWS hosts past it (NO_PROXY)."
        )
        log.warn("answer.unsigned", hint=hint)


def _announce(settings: Settings, listening: Sequence[Listening]) -> None:
    import sidecar

    log.event(
        "sidecar.started",
        version=sidecar.__version__,
        product_code=settings.product_code or None,
        product_sku=settings.product_sku or None,
        licenses=[str(license) for license in settings.licenses] or None,
        entitlement_check=settings.entitlement_check.value,
        manifest=str(settings.manifest) if settings.manifest else None,
        dimensions=[dimension.name for dimension in settings.dimensions] or None,
        endpoint_url=settings.endpoint_url,
        listening={name: [str(one.address) for one in listening if one.name == name] for name in ("probe", "api")},
    )
    if settings.dimensions and settings.entitlement_check is EntitlementCheck.REGISTER_USAGE:
        hint = (
            "AWS names RegisterUsage and MeterUsage as alternatives by pricing model. Products priced by custom"
            " dimensions usually want SIDECAR_ENTITLEMENT_CHECK=meter_usage."
        )
        log.warn("pricing.mixed", hint=hint)
    endpoints = [name for name in settings.ignored if name.startswith(ENDPOINTS)]
    if endpoints:
        log.warn("endpoint.ignored", variables=endpoints, hint="Use SIDECAR_ENDPOINT_URL for tests.")
    if others := [name for name in settings.ignored if name not in endpoints]:
        hint = (
            "Use AWS_CA_BUNDLE for certificates, AWS_REGION for the region, and IRSA or the task role for credentials."
        )
        log.warn("sdk_variable.ignored", variables=others, hint=hint)
    _warn_of_exposure(settings, listening)


def _warn_of_exposure(settings: Settings, listening: Sequence[Listening]) -> None:
    """Warn where others than this pod or task can push usage without a token."""
    from sidecar.server.admission import is_loopback

    of_api = [one.address for one in listening if one.name == API]
    addresses = [str(one) for one in of_api if isinstance(one, Address) and not is_loopback(one.host)]
    if addresses and settings.api_token is None:
        hint = (
            "Whatever reaches these addresses can push usage, which is billed. Bind SIDECAR_API_BIND to 127.0.0.1, or"
            " set SIDECAR_API_TOKEN_FILE."
        )
        log.warn("listener.exposed", addresses=addresses, hint=hint)


def _serve(
    settings: Settings,
    begun: Begun,
    restart_state: RestartState,
    request: CheckRequest,
    first: ChildProcess | None,
    shared: Supervised,
) -> None:
    from sidecar.app.wiring import Sidecar
    from sidecar.server.admission import Admission
    from sidecar.server.worker import Worker

    hosts = [one.host for one in settings.api_bind if isinstance(one, Address)]
    admission = Admission([*settings.api_hosts, *hosts], settings.api_token, restart_state.read()["instance"])
    sidecar = Sidecar(settings, restart_state, request, first, shared)
    worker = Worker(sidecar, [(one.name, one.sock) for one in begun.listening], admission, shared)
    worker.run(closing=lambda: first_worker.close(shared, begun))
