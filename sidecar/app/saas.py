"""Run the SaaS service: one gunicorn arbiter, one worker that takes usage and, where no other replica does, sends it.

Invariants:
- Settings are read, the database is opened once and the ports are bound before anything starts.
- Connections to the database are made in the worker, after the fork.
- The server, its limits and who may ask are the sidecar's own.
- At SIGTERM pushes that were taken are finished, closed hours are sent, and the process ends inside the budget.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from sidecar import log
from sidecar.app.run import DRAIN_SECONDS, FOREIGN
from sidecar.errors import Exit, Problem, SettingsError
from sidecar.remote_clock import answering_clock
from sidecar.server import listeners
from sidecar.settings import Address
from sidecar.settings.choices import OnDispute
from sidecar.settings.saas import SaasSettings, load

CLOCK_SECONDS: Final = 30.0
"""How long an emulator that starts at the same time is waited for."""
MISSING: Final = (
    "saas needs SQLAlchemy, Alembic and psycopg: run `pip install '.[saas]'` in a checkout of this"
    " project, or use the image of `docker build --target saas`."
)


def run(env: Mapping[str, str], flags: Mapping[str, str]) -> int:
    """Serve until told to stop. Returns the exit code. Raises SettingsError before anything is started."""
    fault = missing()
    if fault:
        sys.stderr.write(f"{fault}\n")
        return Exit.CONFIG
    settings = load(env, flags)
    log.start(settings.common.log_level.value)
    if not _database_opens(settings):
        return Exit.UNAVAILABLE
    listening = listeners.listen(settings.common)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    master = os.getpid()
    try:
        _announce(settings, listening)
        for name in FOREIGN:
            os.environ.pop(name, None)
        return _serve(settings, listening, env)
    finally:
        if os.getpid() == master:
            listeners.close(listening)
        log.LINES.drain(DRAIN_SECONDS)


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


def _serve(settings: SaasSettings, listening: tuple[listeners.Listening, ...], env: Mapping[str, str]) -> int:
    from sidecar.server.admission import Admission
    from sidecar.server.gunicorn_app import GunicornApp
    from sidecar.server.gunicorn_internals import check_gunicorn

    fault = check_gunicorn()
    if fault:
        log.error("server.refused", hint=f"{fault}. Install the gunicorn that pyproject.toml names.")
        return Exit.SOFTWARE
    common, master = settings.common, os.getpid()
    hosts = [one.host for one in common.api_bind if isinstance(one, Address)]
    admission = Admission([*common.api_hosts, *hosts], common.api_token, os.urandom(16).hex())
    try:
        GunicornApp(SaasService(settings, env), listening, admission, common.flush_seconds).run()
    except SystemExit as exc:
        if os.getpid() != master:
            raise  # the worker's own end; what follows is the master's
        if exc.code not in (None, 0):
            return Exit.SOFTWARE
    log.event("saas.stopped")
    return Exit.OK


class SaasService:
    """The service's threads in one worker. Made in the arbiter, started in the worker."""

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
