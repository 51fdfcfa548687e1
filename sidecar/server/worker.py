"""The gunicorn worker: one poller that no client and no slow route can hold.

Stock gthread hands a connection to a thread before its request is there, so four clients that send
nothing block every probe for seconds. Rules kept here instead:

- every socket stays non-blocking in one poller, and the poller never waits for anything but it;
- a request is acted on when it is whole (`request`); what the application calls quick is answered
  here, anything else goes to a small pool (`pool`) and comes back as finished bytes;
- what waits for a disk is taken and answered later (`deferred`): no thread waits with it, and the answers
  of one commit wake the poller once;
- which listener a connection belongs to is told by the socket that accepted it, never by a header;
- the poller writes no log line: stdout may be stuck. What it does to clients is counted;
- one connection gets one answer in a turn, however much it has sent ahead; a turn is a few
  milliseconds, new connections and probes first, and what is left waits for the next in its order;
- at SIGTERM the worker keeps accepting and answering until the application says it has stopped.

The application object gives `listener_names`, `wsgi()`, `stopping()` and `stopped()`, and is given
`http_counters`; the WSGI callable has `is_nonblocking(environ)` and `deferred_handler(listener, method, path)` beside
it. A taker is called with body and promise, and calls the promise with a `Reply`, once, on any thread; it may wait
for `commit_pending()`, which is called once for all that were taken in one turn.
"""

from __future__ import annotations

import errno
import os
import selectors
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any, Final

from gunicorn.workers import base

from sidecar.api.reply import PROBE, DeferredHandler, Reply
from sidecar.server.connection import Connection, Listener, Phase
from sidecar.server.deferred import Deferred, Promise
from sidecar.server.gunicorn_internals import check_gunicorn, relied_on, settings_problem
from sidecar.server.limits import Counters, Limits
from sidecar.server.request import HttpError, Request
from sidecar.server.response import INTERNAL_ERROR, TOO_BUSY, HttpExchange, RawResponse, error_response
from sidecar.server.thread_pool import Pool

TICK_SECONDS: Final = 1.0
"""gunicorn's own heartbeat; deadlines and the parent are looked at with it."""
SWITCH_SECONDS: Final = 0.0001
"""How long a thread keeps the interpreter from the poller; CPython's own 5 ms is long for a probe."""
ACCEPTS_PER_TURN: Final = 16
ACCEPT_SECONDS: Final = 0.003
"""How long a turn takes new connections of one listener, each with its first request; one at least."""
STEPS_SECONDS: Final = 0.002
"""How long a turn serves open connections; one of each queue at least."""
ADVANCES_PER_TURN: Final = 8
"""Requests sent ahead that are served before the poller looks for new connections again."""
SCRATCH_BYTES: Final = 64 * 1024
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
OUT_OF_FILES: Final = (errno.EMFILE, errno.ENFILE)

Owed = Promise[tuple[Connection, HttpExchange], Reply | RawResponse]


def gunicorn_settings() -> dict[str, object]:
    """The gunicorn settings this worker runs under; `Worker.check_config` refuses others."""
    return {
        "worker_class": Worker,
        **relied_on(Worker.limits),
        "timeout": 30,
        "keepalive": int(Worker.limits.idle_seconds),
        "sendfile": False,
        "accesslog": None,
    }


class Worker(base.Worker):  # type: ignore[misc]
    """Serves `self.app` on `self.sockets`; see the module's rules."""

    limits: Limits = Limits()
    _stop_asked = False
    _finishing = False

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Called by the arbiter before it forks. Raises RuntimeError, which ends the start."""
        problem = check_gunicorn() or settings_problem(cfg, cls.limits)
        if problem is not None:
            raise RuntimeError(problem)

    def init_process(self) -> None:
        """Prepare everything of ours, then let gunicorn load the application and call `run`."""
        names = tuple(self.app.listener_names)
        if len(names) != len(self.sockets):
            raise RuntimeError(f"{len(self.sockets)} listening sockets, but {len(names)} listener names")
        self.counters = Counters.of(names)
        self.app.http_counters = self.counters
        self._listeners = {name: Listener(name, self.limits, self.counters) for name in names}
        self._poller = selectors.DefaultSelector()
        self._pool: Pool[Connection, RawResponse | None] = Pool(
            self.limits.pool_threads, self.limits.pool_queue_max, lambda answer: answer is not None and answer.is_big()
        )
        """What comes back is None where the answer was promised for later."""
        self._deferred: Deferred[tuple[Connection, HttpExchange], Reply | RawResponse] = Deferred(
            self.limits.deferred_max, self.limits.deferred_bytes_max
        )
        self._taking = threading.Lock()
        self._taken = False
        """Something was taken in this turn."""
        self._scratch = bytearray(SCRATCH_BYTES)
        self._ready: dict[str, dict[Connection, None]] = {n: {} for n in sorted(names, key=lambda n: n != PROBE)}
        """What the poller reported and no turn has come to yet, probes first."""
        self._pipelined: dict[Connection, None] = {}
        """Answered, and perhaps the next whole request is here already."""
        super().init_process()

    def init_signals(self) -> None:
        """From here on SIGTERM is heard; one that came since the fork was held back and is heard now."""
        super().init_signals()
        signal.signal(signal.SIGINT, self.handle_exit)  # a terminal sends it to master and worker alike
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def handle_exit(self, sig: int, frame: Any) -> None:
        """SIGTERM. Only a flag: the poller may hold any lock the application's hook would want."""
        self._stop_asked = True

    # The loop

    def run(self) -> None:
        """Serve until the application has stopped or the arbiter is gone, then finish what is begun."""
        os.environ.pop("SCRIPT_NAME", None)  # gunicorn would cut it off every path
        sys.setswitchinterval(SWITCH_SECONDS)
        self._listen()
        self._now = self._tick_at = time.monotonic()
        stopping = False
        while self.ppid == os.getppid():
            self._turn()
            if self._stop_asked and not stopping:
                stopping, self.alive = True, False
                self.app.stopping()
            if stopping and self.app.stopped():
                break
        if not stopping:
            self.app.stopping()
        self._finish()

    def _listen(self) -> None:
        for sock, name in zip(self.sockets, self.app.listener_names, strict=True):
            sock.setblocking(False)
            # Accepted sockets inherit these.
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                sock.setsockopt(socket.SOL_SOCKET, option, self.limits.socket_buffer_bytes)
            accept = partial(self._accept, sock, sock.getsockname(), self._listeners[name])
            self._poller.register(sock, selectors.EVENT_READ, accept)
        self._poller.register(self.PIPE[0], selectors.EVENT_READ, self._signalled)
        self._poller.register(self._pool.fileno(), selectors.EVENT_READ, self._hand_back)
        self._poller.register(self._deferred.fileno(), selectors.EVENT_READ, self._deferred.clear_wakeup)

    def _turn(self) -> None:
        """Wait for something to happen, and let everything that did happen take one step."""
        waiting = self._pipelined or any(self._ready.values()) or self._deferred.waiting()
        timeout = 0.0 if waiting else max(0.0, self._tick_at - time.monotonic())
        ready = self._poller.select(timeout)
        self._now = time.monotonic()
        for key, _ in ready:
            if not isinstance(key.data, Connection):
                key.data()
            elif key.data not in self._pipelined:
                self._ready[key.data.listener.name][key.data] = None
        until = time.monotonic() + STEPS_SECONDS
        for name, queue in self._ready.items():
            if name != PROBE:
                self._send_deferred(until)  # what is begun is finished before more is begun
            self._run_queue(queue, self._step, list(queue), until)
        self._run_queue(self._pipelined, self._advance, list(islice(self._pipelined, ADVANCES_PER_TURN)), until)
        if self._taken:
            self._taken = False
            self.wsgi.commit_pending()
        if self._now >= self._tick_at:
            self._tick()

    def _run_queue(
        self,
        queue: dict[Connection, None],
        step: Callable[[Connection], None],
        connections: list[Connection],
        until: float,
    ) -> None:
        """Let these take their step, the first in any case; those without time stay in the queue."""
        for connection in connections:
            if connection in queue:  # not closed since
                del queue[connection]
                self._guarded(step, connection)
                if time.monotonic() >= until:
                    return

    def _tick(self) -> None:
        self._tick_at = self._now + TICK_SECONDS
        self.notify()
        for listener in self._listeners.values():
            for connection in listener.expired(self._now):
                if connection.phase in (Phase.READING, Phase.WRITING):
                    self.counters.timed_out += 1
                self._close(connection)

    def _signalled(self) -> None:
        os.read(self.PIPE[0], 4096)

    def _hand_back(self) -> None:
        for connection, answer in self._pool.results():
            if answer is not None and connection.phase is Phase.BUSY:
                self._guarded(partial(self._answer, answer=answer), connection)

    def _send_deferred(self, until: float) -> None:
        """Send what was promised and has been given, the oldest first and one in any case."""
        while (given := self._deferred.next_resolved()) is not None:
            (connection, exchange), answer = given
            if connection.phase is Phase.BUSY:
                if isinstance(answer, Reply):
                    answer = exchange.give(answer, close=self._stop_asked or self._finishing)
                self._guarded(partial(self._answer, answer=answer), connection)
            if time.monotonic() >= until:
                return

    def _finish(self) -> None:
        """Close the listeners; give what is in the pool and being written its last seconds."""
        self._finishing = True
        for sock in self.sockets:
            self._poller.unregister(sock)
            sock.close()
        for connection in self._within(Phase.IDLE, Phase.READING, Phase.LINGERING):
            self._close(connection)
        until = time.monotonic() + self.limits.finish_seconds
        while self._within(Phase.BUSY, Phase.WRITING) and time.monotonic() < until:
            self._tick_at = min(self._tick_at, until)
            self._turn()
        for connection in self._within(*(phase for phase in Phase if phase is not Phase.CLOSED)):
            self._close(connection)

    def _within(self, *phases: Phase) -> list[Connection]:
        return [c for listener in self._listeners.values() for c in listener.within(*phases)]

    # One connection

    def _accept(self, sock: Any, server: Any, listener: Listener) -> None:
        until = time.monotonic() + ACCEPT_SECONDS
        for _ in range(ACCEPTS_PER_TURN):
            try:
                client, peer = sock.accept()
            except OSError as error:
                if error.errno in OUT_OF_FILES:
                    self._evict(max(self._listeners.values(), key=Listener.size).oldest())
                return
            client.setblocking(False)
            if listener.size() >= self.limits.connections_max:
                self._evict(listener.oldest())
            # gunicorn trusts whatever comes from a socket without an address; nobody here is trusted.
            peer = (peer[0], peer[1]) if isinstance(peer, tuple) else ("", 0)
            connection = Connection(client, peer, server, listener, self.cfg)
            listener.move(connection, Phase.READING, self._now)
            self._guarded(self._step, connection)
            if time.monotonic() >= until:
                return

    def _guarded(self, step: Callable[[Connection], None], connection: Connection) -> None:
        """One client's trouble ends that client's connection and nothing else."""
        try:
            step(connection)
        except OSError:
            self._close(connection)
        except Exception:
            self.counters.unexpected += 1
            self._close(connection)

    def _step(self, connection: Connection) -> None:
        phase = connection.phase
        if phase is Phase.BUSY:
            self._watch(connection, 0)  # only now: most clients say nothing before they have their answer
        elif phase is Phase.WRITING:
            self._flush(connection)
        elif phase is Phase.LINGERING:
            if connection.receive_nothing(self._scratch) == 0:
                self._close(connection)
        elif phase in (Phase.READING, Phase.IDLE):
            self._read(connection)

    def _read(self, connection: Connection) -> None:
        count = connection.receive(self._scratch)
        if count == 0:
            self._close(connection)
        elif count is None:
            self._watch(connection, selectors.EVENT_READ)
        else:
            if connection.phase is Phase.IDLE:
                connection.listener.move(connection, Phase.READING, self._now)
            self._advance(connection)

    def _advance(self, connection: Connection) -> None:
        """Act on what has been read, if that is a whole request."""
        found = connection.reader.take()
        if isinstance(found, HttpError):
            self._answer(connection, error_response(found))
        elif isinstance(found, Request):
            self._serve(connection, found)
        else:
            if connection.reader.continue_due() and connection.sock.send(CONTINUE) != len(CONTINUE):
                self._close(connection)
                return
            self._watch(connection, selectors.EVENT_READ)
            self._enforce_byte_limits(connection)

    def _serve(self, connection: Connection, request: Request) -> None:
        listener, limits = connection.listener, self.limits
        try:
            exchange = HttpExchange(
                self.cfg, request, listener.name, connection.peer, connection.server, limits.answer_bytes_max
            )
            short = request.body_bytes <= limits.quick_body_bytes_max and request.body_chunks <= limits.quick_chunks_max
            taker = self.wsgi.deferred_handler(listener.name, *exchange.method_and_path)
            quick = taker is None and (short or listener.name == PROBE) and self.wsgi.is_nonblocking(exchange.environ)
        except Exception as error:
            self._answer(connection, error_response(INTERNAL_ERROR, error=type(error).__name__))
            return
        close = self._stop_asked or self._finishing
        if quick:
            self._answer(connection, exchange.run(self.wsgi, close=close))
        elif taker is not None:
            self._defer(connection, exchange, taker, request.body_bytes, short)
        elif self._pool.submit(connection, partial(self._run_in_pool, exchange, close)):
            self._busy(connection)
        else:
            self._too_busy(connection, head_only=request.message.method == "HEAD")

    def _busy(self, connection: Connection) -> None:
        connection.listener.move(connection, Phase.BUSY, self._now)
        connection.listener.weigh(connection)

    def _too_busy(self, connection: Connection, head_only: bool = False) -> None:
        self.counters.queue_full += 1
        self._answer(connection, error_response(TOO_BUSY, head_only=head_only))

    def _defer(
        self, connection: Connection, exchange: HttpExchange, taker: DeferredHandler, size: int, short: bool
    ) -> None:
        """Have a request taken, here where that is quick; its answer comes through the promise."""
        promise = self._deferred.promise((connection, exchange), size)
        if promise is None:
            self._too_busy(connection)
        elif short:
            self._busy(connection)
            self._taken = True
            _take(exchange, taker, promise)
        elif self._pool.submit(connection, partial(self._take_in_pool, exchange, taker, promise)):
            self._busy(connection)
        else:
            promise.drop()
            self._too_busy(connection)

    def _take_in_pool(self, exchange: HttpExchange, taker: DeferredHandler, promise: Owed) -> None:
        """On a thread of the pool, which is free again as soon as the body is read; one body at a time.

        Reading is the interpreter's work alone: several at once would take turns with the poller, and none be sooner.
        """
        with self._taking:
            error = _take(exchange, taker, promise)
        self.wsgi.commit_pending()
        if error is not None:
            self.log.error("request.failed", extra={"error": error})

    def _run_in_pool(self, exchange: HttpExchange, close: bool) -> RawResponse:
        """On a thread of the pool, which must survive whatever the route does."""
        try:
            answer = exchange.run(self.wsgi, close=close)
        except BaseException as error:
            answer = error_response(INTERNAL_ERROR, error=type(error).__name__)
        if answer.error is not None:
            self.log.error("request.failed", extra={"error": answer.error})
        return answer

    def _answer(self, connection: Connection, answer: RawResponse) -> None:
        listener = connection.listener
        if answer.refused is not None:
            self.counters.refused[listener.name, answer.refused] += 1
        if answer.error is not None:
            self.counters.failed += 1
        connection.put(answer.parts)
        connection.close_after = answer.close
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        listener = connection.listener
        if not connection.send():
            if connection.phase is not Phase.WRITING:
                listener.move(connection, Phase.WRITING, self._now)
            self._watch(connection, selectors.EVENT_WRITE)
            self._enforce_byte_limits(connection)
            return
        if self._finishing:
            self._close(connection)
            return
        if connection.close_after:
            connection.reader.buffer.clear()
            connection.sock.shutdown(socket.SHUT_WR)
            listener.move(connection, Phase.LINGERING, self._now)
        elif connection.reader.buffer:
            listener.move(connection, Phase.READING, self._now)
            self._pipelined[connection] = None
        else:
            listener.move(connection, Phase.IDLE, self._now)
        self._watch(connection, selectors.EVENT_READ)
        listener.weigh(connection)

    def _enforce_byte_limits(self, connection: Connection) -> None:
        """Count what this connection holds; where that is too much, older ones pay."""
        listener = connection.listener
        listener.weigh(connection)
        while (holder := listener.oldest_holder(keep=connection)) is not None:
            self._evict(holder)

    def _evict(self, connection: Connection | None) -> None:
        if connection is not None:
            self.counters.evicted += 1
            self._close(connection)

    def _watch(self, connection: Connection, events: int) -> None:
        if events == connection.watched:
            return
        if not connection.watched:
            self._poller.register(connection.sock, events, connection)
        elif events:
            self._poller.modify(connection.sock, events, connection)
        else:
            self._poller.unregister(connection.sock)
        connection.watched = events

    def _close(self, connection: Connection) -> None:
        if connection.phase is Phase.CLOSED:
            return
        self._watch(connection, 0)
        self._pipelined.pop(connection, None)
        self._ready[connection.listener.name].pop(connection, None)
        connection.outbox.clear()
        connection.listener.move(connection, Phase.CLOSED, self._now)
        connection.sock.close()


def _take(exchange: HttpExchange, taker: DeferredHandler, promise: Owed) -> str | None:
    """Call the taker. Its failure is an answer like any other, and its type is returned."""
    body = exchange.read_body()
    if isinstance(body, RawResponse):
        promise(body)
        return None
    try:
        taker(body, promise)
    except BaseException as error:
        failed = type(error).__name__
        promise(error_response(INTERNAL_ERROR, error=failed))
        return failed
    return None
