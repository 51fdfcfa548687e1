"""Run the SaaS service: a supervisor, and one worker that takes usage and, where no other replica does, sends it.

Invariants:
- Settings are read, the database is opened once and the ports are bound before anything starts. A worker that replaces
  one has its settings and its sockets.
- The server, its limits and who may ask are the sidecar's own.
- At SIGTERM pushes that were taken are finished, closed hours are sent, and the process ends inside the budget.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from sidecar import log
from sidecar.app import first_worker, start
from sidecar.app.first_worker import Begun
from sidecar.errors import Exit, Problem, SettingsError
from sidecar.quick_dataclasses import replace
from sidecar.remote_clock import answering_clock
from sidecar.restart_state import RestartState
from sidecar.server import listeners
from sidecar.server.supervised import Supervised
from sidecar.server.supervisor import DRAIN_SECONDS, log_crash, stop_pending, supervise
from sidecar.settings import Address
from sidecar.settings.choices import OnDispute
from sidecar.settings.files import Files
from sidecar.settings.saas import SaasSettings, load

CLOCK_SECONDS: Final = 30.0
"""How long an emulator that starts at the same time is waited for."""
START_SECONDS: Final = 3600.0
"""How long a start may take: it brings the schema up to date, in a database of any size."""
MISSING: Final = (
    "saas needs SQLAlchemy, Alembic and psycopg: run `pip install '.[saas]'` in a checkout of this"
    " project, or use the image of `docker build --target saas`."
)


def run(env: Mapping[str, str], flags: Mapping[str, str]) -> int:
    """Serve until told to stop. Returns the exit code."""
    fault = missing()
    if fault:
        sys.stderr.write(f"{fault}\n")
        return Exit.CONFIG
    return supervise(lambda shared: _work(env, flags, shared), _ended, START_SECONDS)


def _work(env: Mapping[str, str], flags: Mapping[str, str], shared: Supervised) -> int:
    """Be the worker, which a supervisor starts, and replaces."""
    restart_state = RestartState(shared.restart_state)
    earlier = first_worker.take(shared)
    files = earlier.files if earlier else Files()
    try:
        settings = load(env, flags, files=files)
        settings = replace(settings, common=first_worker.in_time(settings.common, shared))
        log.start(settings.common.log_level.value)
        if not _database_opens(settings):
            return Exit.UNAVAILABLE
        begun = earlier or _begin(settings, files, shared, restart_state)
    except SettingsError as exc:
        sys.stderr.write(f"{exc}\n")
        return Exit.CONFIG
    if shared.seconds_left() is None:
        shared.allow(settings.common.flush_seconds)
    if stop_pending() and not earlier:  # one before this one may have taken usage
        return Exit.OK
    try:
        if not shared.has_served:
            _announce(settings, begun.listening)
        _serve(settings, begun, env, shared, restart_state)
    except Exception as exc:
        if shared.has_served or shared.last_beat():
            raise  # the supervisor tries again
        log_crash(exc)
        return Exit.SOFTWARE
    finally:
        log.LINES.drain(DRAIN_SECONDS)
    return Exit.OK


def _begin(settings: SaasSettings, files: Files, shared: Supervised, restart_state: RestartState) -> Begun:
    """Bind every socket, and leave all to the workers that follow. Raises SettingsError."""
    begun = Begun(files=files, listening=listeners.listen(settings.common))
    restart_state.update(log_level=settings.common.log_level.value)
    first_worker.hand_on(shared, begun, restart_state)
    return begun


def _ended(shared: Supervised, failed: int) -> int:
    """Remove what workers left, log the end, and return the exit code.

    `failed`: that of a start that failed; 0: there is none.
    """
    restart_state = RestartState(shared.restart_state)
    start.remove(restart_state.read().get("socket_files", []))
    if failed:
        return failed  # the worker has said why
    log.start(restart_state.log_level())
    log.event("saas.stopped")
    log.LINES.drain(DRAIN_SECONDS)
    return Exit.OK


def missing() -> str:
    """Return what has to be installed first; empty: nothing."""
    from importlib.util import find_spec

    return MISSING if any(find_spec(name) is None for name in ("sqlalchemy", "alembic", "psycopg")) else ""


def _database_opens(settings: SaasSettings) -> bool:
    """Open the database once, which brings its schema up to date, and say what is wrong where that fails."""
    from sidecar.saas.sql_store import open_store
    from sidecar.saas.store import StoreError

    try:
        now = answering_clock(settings.common.clock_url, CLOCK_SECONDS).now()
        open_store(settings.database_url, settings.common.dimensions, now).close()
    except TimeoutError as exc:
        fault = f"{exc}. Start the emulator first: an hour of this machine's time would be sealed in another year."
        raise SettingsError([Problem(setting="SIDECAR_CLOCK_URL", fault=fault)]) from exc
    except StoreError as exc:
        if exc.reason == "database_url_malformed":
            raise SettingsError([Problem(setting="SIDECAR_DATABASE_URL", fault=exc.hint)]) from exc
        log.error("store.failed", reason=exc.reason, hint=exc.hint)
        sys.stderr.write(f"{exc.reason}: {exc.hint}\n")
        return False
    return True


def _announce(settings: SaasSettings, listening: tuple[listeners.Listening, ...]) -> None:
    import sidecar

    log.event(
        "saas.started",
        version=sidecar.__version__,
        products=list(settings.products),
        dimensions=[dimension.name for dimension in settings.common.dimensions],
        region=settings.region,
        endpoint_url=settings.common.endpoint_url,
        queue_url=settings.queue_url,
        listening={name: [str(one.address) for one in listening if one.name == name] for name in ("probe", "api")},
    )


def _serve(
    settings: SaasSettings, begun: Begun, env: Mapping[str, str], shared: Supervised, restart_state: RestartState
) -> None:
    from sidecar.server.admission import Admission
    from sidecar.server.worker import Worker

    common = settings.common
    hosts = [one.host for one in common.api_bind if isinstance(one, Address)]
    instance = restart_state.kept("instance", os.urandom(16).hex())
    admission = Admission([*common.api_hosts, *hosts], common.api_token, instance)
    worker = Worker(SaasService(settings, env), [(one.name, one.sock) for one in begun.listening], admission, shared)
    worker.run(closing=lambda: first_worker.close(shared, begun))


class SaasService:
    """The service's threads in one worker."""

    def __init__(self, settings: SaasSettings, env: Mapping[str, str]) -> None:
        self._settings, self._env = settings, dict(env)
        self._closed = threading.Event()

    def start(self, http_counters: Any) -> Any:
        """Connect, start the threads, and return the routes. Raises StoreError."""
        from sidecar.marketplace import sdk_environment
        from sidecar.saas.aws import Aws
        from sidecar.saas.http import SaasRouter, application
        from sidecar.saas.intake import Intake
        from sidecar.saas.leading import Leading
        from sidecar.saas.log_events import SaasEvents
        from sidecar.saas.notice_handler import NoticeHandler
        from sidecar.saas.pace import Pace
        from sidecar.saas.resolving import Resolver
        from sidecar.saas.sending import Sender
        from sidecar.saas.sql_store import open_store
        from sidecar.saas.status import SaasStatus

        settings, common = self._settings, self._settings.common
        clock = answering_clock(common.clock_url, CLOCK_SECONDS)
        sdk_environment.take(self._env, common.endpoint_url, in_platform=False)
        self._store = store = open_store(settings.database_url, common.dimensions, clock.now())
        aws, events = Aws(self._env, common.endpoint_url, settings.region), SaasEvents()
        sender = Sender(
            store,
            aws,
            Pace(time.monotonic, time.sleep, random.random),
            events,
            region=settings.region,
            quantity_field=common.quantity_field,
            roll_forward_disputed=common.on_dispute is OnDispute.ROLL_FORWARD,
            chance=random.random,
        )
        notices = NoticeHandler(store, settings.products)
        queue = aws.queue(settings.queue_url) if settings.queue_url else None
        self._leading = leading = Leading(store, sender, notices, clock, queue)
        dimensions = {one.name: one for one in common.dimensions}
        self._intake = Intake(store, dimensions, leading.now)
        status = SaasStatus(settings, leading, self._intake, events, clock.now)
        resolver = Resolver(store, settings.products, aws.resolve)
        self._intake.start()
        leading.start()
        return SaasRouter(
            status,
            self._intake,
            lambda: application(
                store=store, resolver=resolver, notices=notices, leading=leading, status=status, now=leading.now
            ),
        )

    def stop(self) -> None:
        """Take no more usage, and send what is due. Returns at once."""
        self._intake.stop()
        self._leading.stop()
        threading.Thread(target=self._close, name="close", daemon=True).start()

    def stopped(self) -> bool:
        """Return whether every push is answered, the last pass is over and the database is left."""
        return self._closed.is_set()

    def _close(self) -> None:
        self._intake.wait()
        self._leading.wait()
        self._store.close()
        self._closed.set()
