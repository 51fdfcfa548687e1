"""Be gunicorn's worker: one process with one poller that no client and no slow route can hold.

Stock gthread hands a connection to a thread before its request is there, so four clients that send nothing block every
probe for seconds. Here the poller (`event_loop`) reads whole requests and the dispatcher has them answered.

Invariants:
- At SIGTERM the worker keeps accepting and answering until the application says that it has stopped.
- A worker that waits for nothing wakes up for its heartbeat alone. Deadlines of connections are looked at when they
  come, once a second at most; the arbiter's end wakes the poller by itself.

The application object has `listener_names`, `admission`, `wsgi()`, `stopping()` and `stopped()`, and gets
`http_counters`.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any, Final

from gunicorn.workers import base

from sidecar.server.dispatcher import RequestDispatcher
from sidecar.server.event_loop import EventLoop
from sidecar.server.gunicorn_internals import check_gunicorn, relied_on, settings_problem
from sidecar.server.limits import Counters, Limits

TICK_SECONDS: Final = 1.0
"""The least between two looks at deadlines."""
TIMEOUT_SECONDS: Final = 30
"""The arbiter ends a worker whose heartbeat is older."""
HEARTBEAT_SECONDS: Final = 12.0
"""The most between two; one may be late by more than itself."""
SWITCH_SECONDS: Final = 0.0001
"""How long a thread keeps the interpreter from the poller; CPython's own 5 ms is long for a probe."""


def gunicorn_settings() -> dict[str, object]:
    """Return the gunicorn settings this worker runs under; `Worker.check_config` refuses others."""
    return {
        "worker_class": Worker,
        **relied_on(Worker.limits),
        "timeout": TIMEOUT_SECONDS,
        "keepalive": int(Worker.limits.idle_seconds),
        "sendfile": False,
        "accesslog": None,
    }


class Worker(base.Worker):  # type: ignore[misc]
    """Serve `self.app` on `self.sockets`."""

    limits: Limits = Limits()
    _stop_asked = False
    _arbiter_ended = False

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Called by the arbiter before it forks. Raises RuntimeError, which ends the start."""
        problem = check_gunicorn() or settings_problem(cfg, cls.limits)
        if problem is not None:
            raise RuntimeError(problem)

    def init_process(self) -> None:
        """Make the loop, then let gunicorn load the application and call `run`."""
        names = tuple(self.app.listener_names)
        if len(names) != len(self.sockets):
            raise RuntimeError(f"{len(self.sockets)} listening sockets, but {len(names)} listener names")
        counters = Counters.of(names)
        self.app.http_counters = counters
        self._loop = EventLoop(self.cfg, self.limits, counters, names, self.app.admission)
        super().init_process()

    def init_signals(self) -> None:
        """Install the handlers, then unblock SIGTERM: one that came since the fork is handled now."""
        super().init_signals()
        signal.signal(signal.SIGINT, self.handle_exit)  # a terminal sends it to arbiter and worker alike
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Remember SIGTERM. Only a flag: the poller may hold any lock the application's hook would want."""
        self._stop_asked = self._loop.closing = True

    def run(self) -> None:
        """Serve until the application has stopped or the arbiter is gone, then finish what is begun."""
        os.environ.pop("SCRIPT_NAME", None)  # gunicorn would cut it off every path
        sys.setswitchinterval(SWITCH_SECONDS)
        self._loop.dispatcher = RequestDispatcher(self.wsgi, self.cfg, self.log, self._loop)
        for sock, name in zip(self.sockets, self.app.listener_names, strict=True):
            self._loop.listen(sock, name)
        self._loop.watch_file(self.PIPE[0], self._signalled)
        self._rest_seconds = HEARTBEAT_SECONDS if self._watch_arbiter() else TICK_SECONDS
        self._tick_at = time.monotonic()
        stopping = False
        while not self._arbiter_ended:
            self._turn()
            if self._stop_asked and not stopping:
                stopping, self.alive = True, False
                self._rest_seconds = TICK_SECONDS  # the application does not say when it has stopped
                self._tick_at = min(self._tick_at, self._loop.now + TICK_SECONDS)  # SIGTERM came with a heartbeat
                self.app.stopping()
            if stopping and self.app.stopped():
                break
        if not stopping:
            self.app.stopping()
        self._loop.finish(self.sockets)

    def _turn(self) -> None:
        self._loop.turn(self._tick_at)
        soon = self._loop.now + TICK_SECONDS
        if self._loop.now >= self._tick_at:
            self._arbiter_ended = self.ppid != os.getppid()
            self.notify()
            self._loop.close_expired()
            self._tick_at = max(soon, min(self._loop.now + self._rest_seconds, self._loop.next_deadline()))
        elif self._tick_at > soon:
            self._tick_at = soon  # this turn may have set a deadline

    def _watch_arbiter(self) -> bool:
        """Have the poller woken when the arbiter ends. Returns whether the kernel can do that."""
        try:
            arbiter = os.pidfd_open(self.ppid)
        except (OSError, AttributeError):  # a Python built for older kernels does not have it
            return False
        self._loop.watch_file(arbiter, self._arbiter_gone)
        self._arbiter_ended = self.ppid != os.getppid()  # before there was something to watch
        return True

    def _arbiter_gone(self) -> None:
        self._arbiter_ended = True

    def _signalled(self) -> None:
        os.read(self.PIPE[0], 4096)
