"""Serve HTTP in one process with one poller that no client and no slow route can hold.

The poller (`event_loop`) reads whole requests and the dispatcher has them answered: clients that send nothing, and
routes that hang, block no probe.

Invariants:
- At SIGTERM the worker keeps accepting and answering until the service says that it has stopped.
- SIGTERM is not lost: it is blocked until the worker listens for it.
- A worker that waits for nothing wakes up for its heartbeat alone. Deadlines of connections are looked at when they
  come, once a second at most; the supervisor's end wakes the poller by itself.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Protocol

from sidecar.api.reply import DeferredHandler, Environ, QuickHandler, StartResponse
from sidecar.server.admission import Admission
from sidecar.server.dispatcher import RequestDispatcher
from sidecar.server.event_loop import EventLoop
from sidecar.server.limits import Counters, Limits
from sidecar.server.supervised import Supervised
from sidecar.server.supervisor import IGNORED_SIGNALS

TICK_SECONDS: Final = 1.0
"""The least between two looks at deadlines."""
HEARTBEAT_SECONDS: Final = 12.0
"""The most between two; one may be late by more than itself (`supervisor.TIMEOUT_SECONDS`)."""
SWITCH_SECONDS: Final = 0.0001
"""How long a thread keeps the interpreter from the poller; CPython's own 5 ms is long for a probe."""
LIMITS: Final = Limits()


class Routes(Protocol):
    """The WSGI callable behind both listeners: `api.router.Router`, or another service's."""

    def quick_handler(self, method: str, path: str) -> QuickHandler | None:
        """Return what makes the reply to a probe, from memory; None for any other request."""

    def is_nonblocking(self, environ: Environ) -> bool:
        """Return whether the reply comes from memory, so that the poller may build it."""

    def deferred_handler(self, listener: str, method: str, path: str) -> DeferredHandler | None:
        """Return the handler of a request that is answered later, or None."""

    def commit_pending(self) -> None:
        """Start to write what deferred handlers have taken since the last call."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]: ...


class Service(Protocol):
    """What the worker runs."""

    def start(self, http_counters: Counters) -> Routes:
        """Start the loops and return the routes. `http_counters`: what the worker counts."""

    def stop(self) -> None:
        """Begin the end: SIGTERM has come. Returns at once."""

    def stopped(self) -> bool:
        """Return whether the worker may close its listeners: no push is taken any more."""


class Worker:
    """Serve a service on listening sockets."""

    def __init__(
        self,
        service: Service,
        listening: Sequence[tuple[str, Any]],
        admission: Admission | None,
        shared: Supervised,
        limits: Limits = LIMITS,
    ) -> None:
        """`listening`: name of the listener and socket, for each."""
        self._service, self._listening, self._shared = service, listening, shared
        names = [name for name, _ in listening]
        self._counters = Counters.of(names)
        self._loop = EventLoop(limits, self._counters, names, admission)
        self._stop_asked = False
        self._supervisor_ended = False
        self._rest_seconds = TICK_SECONDS
        self._tick_at = 0.0

    def run(self, closing: Callable[[], object] = bool) -> None:
        """Serve until the service has stopped or the supervisor is gone, then finish what is begun.

        `closing`: called while the sockets are still listened on, just before they are closed.
        """
        self._listen_for_signals()
        self._loop.dispatcher = RequestDispatcher(self._service.start(self._counters), self._loop)
        _freeze_gc()
        sys.setswitchinterval(SWITCH_SECONDS)
        for name, sock in self._listening:
            self._loop.listen(sock, name)
        self._rest_seconds = HEARTBEAT_SECONDS if self._watch_supervisor() else TICK_SECONDS
        self._serve()
        closing()
        self._loop.finish(sock for _, sock in self._listening)

    def _serve(self) -> None:
        self._tick_at = time.monotonic()
        stopping = False
        while not self._supervisor_ended:
            self._turn()
            if self._stop_asked and not stopping:
                stopping = True
                self._rest_seconds = TICK_SECONDS  # the service does not say when it has stopped
                self._tick_at = min(self._tick_at, self._loop.now + TICK_SECONDS)  # SIGTERM came with a heartbeat
                self._service.stop()
            if stopping and self._service.stopped():
                return
        if not stopping:
            self._service.stop()

    def _turn(self) -> None:
        self._loop.turn(self._tick_at)
        soon = self._loop.now + TICK_SECONDS
        if self._loop.now >= self._tick_at:
            self._supervisor_ended = self._shared.supervisor != os.getppid()
            self._shared.beat()
            self._loop.close_expired()
            self._tick_at = max(soon, min(self._loop.now + self._rest_seconds, self._loop.next_deadline()))
        elif self._tick_at > soon:
            self._tick_at = soon  # this turn may have set a deadline

    def _listen_for_signals(self) -> None:
        """Install the handlers, then unblock all: a SIGTERM that came since the fork is handled now."""
        reads, writes = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writes, warn_on_full_buffer=False)
        self._loop.watch_file(reads, lambda: _drain(reads))
        for number in (signal.SIGTERM, signal.SIGINT):  # a terminal sends SIGINT to both processes
            signal.signal(number, self._ask_to_stop)
        signal.signal(signal.SIGQUIT, _end_at_once)
        signal.signal(signal.SIGABRT, _abort)
        for number in IGNORED_SIGNALS:
            signal.signal(number, _ignore)  # a child does not inherit this, as it would SIG_IGN
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def _ask_to_stop(self, _signal: int, _frame: object) -> None:
        """Remember it. Only a flag: the poller may hold any lock that the service's hook would want."""
        self._stop_asked = self._loop.closing = True

    def _watch_supervisor(self) -> bool:
        """Have the poller woken when the supervisor ends. Returns whether the kernel can do that."""
        try:
            supervisor = os.pidfd_open(self._shared.supervisor)
        except (OSError, AttributeError):  # a Python built for older kernels does not have it
            return False
        self._loop.watch_file(supervisor, self._supervisor_gone)
        self._supervisor_ended = self._shared.supervisor != os.getppid()  # before there was something to watch
        return True

    def _supervisor_gone(self) -> None:
        self._supervisor_ended = True


def _end_at_once(_signal: int, _frame: object) -> None:
    """End without what is still to be sent: a person insists."""
    sys.exit(0)


def _abort(_signal: int, _frame: object) -> None:
    """End, whatever hangs: code that this interrupts may swallow any exception."""
    os._exit(1)


def _ignore(_signal: int, _frame: object) -> None:
    """A signal that asks another server for something."""


def _drain(handle: int) -> None:
    os.read(handle, 4096)


def _freeze_gc() -> None:
    """Keep the collector from what exists once the worker is up: it stays."""
    gc.enable()
    gc.freeze()
