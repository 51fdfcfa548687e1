"""Run the worker under gunicorn's arbiter. Imported only once the first check has been sent.

Invariants:
- One worker, ever: a second would register the workload a second time. Signals that gunicorn takes for more workers,
  reloads or upgrades are ignored.
- SIGINT and SIGQUIT mean what SIGTERM means, the first time: whichever an image's STOPSIGNAL names, usage is sent.
- SIGTERM is not lost between a worker's fork and its readiness.
- The arbiter wakes up for signals, and when a heartbeat is overdue; gunicorn's own looks once a second.
- The file of a Unix socket stays while the worker takes pushes on it. Who made it removes it (`listeners.close`).

Sources: gunicorn's settings reference and its arbiter.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import time
from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from sidecar.api.reply import DeferredHandler, Environ, StartResponse
from sidecar.server.admission import Admission
from sidecar.server.gunicorn_logger import GunicornLogger
from sidecar.server.listeners import Listening
from sidecar.server.worker import gunicorn_settings

HEARTBEAT_DIRECTORIES: Final = ("/dev/shm", "/run", "/tmp")  # noqa: S108 - where the worker's heartbeat file may be

LOOK_SECONDS_MIN: Final = 1.0
"""Between two looks at heartbeats."""


class Routes(Protocol):
    """The WSGI callable behind both listeners: `api.router.Router`, or another service's."""

    def is_nonblocking(self, environ: Environ) -> bool:
        """Return whether the reply comes from memory, so that the poller may build it."""

    def deferred_handler(self, listener: str, method: str, path: str) -> DeferredHandler | None:
        """Return the handler of a request that is answered later, or None."""

    def commit_pending(self) -> None:
        """Start to write what deferred handlers have taken since the last call."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]: ...


class Service(Protocol):
    """What the worker runs. Made before the fork, started after it."""

    def start(self, http_counters: Any) -> Routes:
        """Start the loops and return the routes. `http_counters`: what the worker counts."""

    def stop(self) -> None:
        """Begin the end: SIGTERM has come. Returns at once."""

    def stopped(self) -> bool:
        """Return whether the worker may close its listeners: no push is taken any more."""


class SidecarArbiter(Arbiter):  # type: ignore[misc]
    """gunicorn's arbiter without the signals that start a second worker, or end before usage is sent."""

    def _ignored(self) -> None:
        """A signal that would start, reload or re-execute something."""

    handle_hup = handle_ttin = handle_ttou = handle_usr1 = handle_usr2 = handle_winch = _ignored
    handle_int = handle_quit = Arbiter.handle_term

    def init_signals(self) -> None:
        """Install the handlers, then unblock SIGTERM: one that came since the first check went out is handled now."""
        self._wakeup, writes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writes, warn_on_full_buffer=False)  # before any signal is queued: each needs its byte
        super().init_signals()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def wait_for_signals(self, timeout: float = 1.0) -> list[int]:
        """Wait for a signal, or until a worker may be overdue, and return the signals.

        The wait is for the byte that every signal writes. gunicorn waits in a queue that the handler fills, and misses
        a signal that comes just before: that costs as long as the wait, which is a second there.
        """
        poll = select.poll()
        poll.register(self._wakeup, select.POLLIN)
        if poll.poll(self._seconds_to_overdue() * 1000):
            os.read(self._wakeup, 4096)
        found: list[int] = super().wait_for_signals(timeout=0)
        return found

    def _seconds_to_overdue(self) -> float:
        """Return how long no worker can be overdue; a second at least, which is left to one told to abort."""
        if any(worker.aborted for worker in self.WORKERS.values()):
            return LOOK_SECONDS_MIN
        try:
            oldest = min((worker.tmp.last_update() for worker in self.WORKERS.values()), default=0.0)
        except (OSError, ValueError):
            return LOOK_SECONDS_MIN
        seconds: float = oldest + self.timeout - time.monotonic()
        return min(max(LOOK_SECONDS_MIN, seconds), float(self.timeout))

    def stop(self, graceful: bool = True) -> None:
        """Stop the worker. gunicorn would first unlink each Unix socket, unless it came from systemd."""
        self.systemd = True
        super().stop(graceful)

    def spawn_worker(self) -> Any:
        """Block SIGTERM until the worker listens for it: until then it inherits a handler that drops it."""
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        try:
            return super().spawn_worker()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})


class GunicornApp(BaseApplication):  # type: ignore[misc]
    """The sidecar as gunicorn runs it."""

    http_counters: Any = None
    """Set by the worker before `load`."""

    def __init__(
        self, service: Service, listening: Sequence[Listening], admission: Admission, graceful_seconds: float
    ) -> None:
        """`graceful_seconds`: the longest time between SIGTERM and the end, whatever hangs."""
        self.admission = admission
        self._service, self._listening, self._graceful_seconds = service, listening, graceful_seconds
        self.listener_names = tuple(one.name for one in listening)
        super().__init__()

    def load_config(self) -> None:
        writable = (one for one in HEARTBEAT_DIRECTORIES if os.access(one, os.W_OK))
        given = gunicorn_settings() | {
            "bind": [f"fd://{os.dup(one.sock.fileno())}" for one in self._listening],
            "logger_class": GunicornLogger,
            "graceful_timeout": self._graceful_seconds,
            "worker_tmp_dir": next(writable, None),
            "post_worker_init": _freeze_gc,
        }
        for name, value in given.items():
            self.cfg.set(name, value)

    def load(self) -> Routes:
        """Start the service in the worker."""
        return self._service.start(self.http_counters)

    def stopping(self) -> None:
        """Pass SIGTERM on to the service."""
        self._service.stop()

    def stopped(self) -> bool:
        """Return whether the worker may close its listeners."""
        return self._service.stopped()

    def run(self) -> None:
        """Run the arbiter until it ends the process."""
        SidecarArbiter(self).run()


def _freeze_gc(worker: Any) -> None:
    """Keep the collector from what exists once the worker is up: it stays."""
    gc.enable()
    gc.freeze()
