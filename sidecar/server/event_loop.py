"""Accept connections, read requests and write responses in one poller that waits for nothing else.

Invariants:
- Every socket stays non-blocking; the poller writes no log line, since stdout may be stuck. It counts instead.
- A request is dispatched when it is whole (`request`), and its response is finished bytes (`response`).
- The listener of a connection is told by the socket that accepted it, never by a header.
- One connection gets one response in a turn, however much it has sent ahead. A turn is short: new connections and
  probes first, and what is left keeps its order for the next turn.
- Trouble with one client ends that client's connection and nothing else.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Final, Protocol

from sidecar.api.reply import PROBE
from sidecar.server.admission import Admission
from sidecar.server.connection import BUSY, CLOSED, IDLE, LINGERING, READING, WRITING, Connection, Listener, Phase
from sidecar.server.http_error import HttpError
from sidecar.server.limits import Counters, Limits
from sidecar.server.request import Request
from sidecar.server.response import RawResponse, error_response

ACCEPTS_PER_TURN: Final = 16
ACCEPT_SECONDS: Final = 0.003
"""How long a turn takes new connections of one listener, each with its first request; one at least."""
STEPS_SECONDS_MIN: Final = 0.0003
STEPS_SECONDS_MAX: Final = 0.002
"""How long a turn serves open connections, one of each queue at least. A new probe waits until it ends."""
STEP_SECONDS: Final = 0.00002
"""What a turn has for each connection or reply that is ready: to ask for those that it leaves again takes time, too."""
ADVANCES_PER_TURN: Final = 8
"""Requests sent ahead that are served before the poller looks for new connections again."""
SCRATCH_BYTES: Final = 64 * 1024
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
OUT_OF_FILES: Final = (errno.EMFILE, errno.ENFILE)
UNIX_SERVER: Final = ("localhost", 0)
"""Where a request over a Unix socket arrived, which has no address: only a name of loopback fits it."""


class Dispatcher(Protocol):
    """What the loop hands whole requests to (`dispatcher`). Every method returns at once."""

    def serve(self, connection: Connection, request: Request) -> None:
        """Have this request answered, now or later, by `EventLoop.respond`."""

    def waiting(self) -> int:
        """Return how many deferred replies are ready to be sent."""

    def send_deferred(self, until: float) -> None:
        """Send the deferred replies that are ready, the oldest first and one in any case, until `until`."""

    def end_turn(self) -> None:
        """Commit what the handlers of this turn have taken."""


class EventLoop:
    """The poller and every open connection. Belongs to one thread."""

    dispatcher: Dispatcher

    def __init__(
        self, limits: Limits, counters: Counters, names: Iterable[str], admission: Admission | None = None
    ) -> None:
        """`names`: the listeners' names; `admission`: their access check; None allows all."""
        self.limits, self.counters = limits, counters
        self.closing = False
        """The worker ends: each response closes its connection."""
        self.now = time.monotonic()
        """When this turn began, monotonic."""
        self._finishing = False
        self._poller = select.epoll()
        self._watched: dict[int, Connection | Callable[[], None]] = {}
        """Descriptor → what the poller reports. A number that is used again within a turn costs one vain read."""
        self._listeners = {name: Listener(name, limits, counters, admission) for name in names}
        self._scratch = bytearray(SCRATCH_BYTES)
        probes_first = sorted(self._listeners, key=lambda name: name != PROBE)
        self._ready: dict[str, dict[Connection, None]] = {name: {} for name in probes_first}
        """What the poller reported and no turn has come to yet, probes first."""
        self._pipelined: dict[Connection, None] = {}
        """Answered, and perhaps the next whole request is here already."""

    def watch_file(self, fd: int, callback: Callable[[], None]) -> None:
        """Call `callback` whenever `fd` is readable."""
        self._poller.register(fd, select.EPOLLIN)
        self._watched[fd] = callback

    def listen(self, sock: Any, name: str) -> None:
        """Accept connections from this socket under this listener's name."""
        sock.setblocking(False)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # accepted sockets inherit these, over TCP
            sock.setsockopt(socket.SOL_SOCKET, option, self.limits.socket_buffer_bytes)
        server = UNIX_SERVER if sock.family == socket.AF_UNIX else sock.getsockname()
        self.watch_file(sock.fileno(), partial(self._accept, sock, server, self._listeners[name]))

    # -- one turn ----------------------------------------------------------------------------------

    def turn(self, tick_at: float) -> None:
        """Wait until something happens or `tick_at` (monotonic), and let everything that happened take one step."""
        waiting = self._pipelined or any(self._ready.values()) or self.dispatcher.waiting()
        ready = self._poller.poll(0.0 if waiting else max(0.0, tick_at - time.monotonic()))
        self.now = time.monotonic()
        for fd, _ in ready:
            reported = self._watched.get(fd)
            if isinstance(reported, Connection):
                if reported not in self._pipelined:
                    self._ready[reported.listener.name][reported] = None
            elif reported is not None:  # none: an earlier one of these has closed it
                reported()
        steps = len(ready) + self.dispatcher.waiting()
        until = time.monotonic() + min(max(STEPS_SECONDS_MIN, steps * STEP_SECONDS), STEPS_SECONDS_MAX)
        for name, queue in self._ready.items():
            if name != PROBE:
                self.dispatcher.send_deferred(until)  # what is begun is finished before more is begun
            self._run_queue(queue, self._step, list(queue), until)
        self._run_queue(self._pipelined, self._advance, list(islice(self._pipelined, ADVANCES_PER_TURN)), until)
        self.dispatcher.end_turn()

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

    def close_expired(self) -> None:
        """Close every connection whose phase has lasted too long."""
        for listener in self._listeners.values():
            for connection in listener.expired(self.now):
                if connection.phase in (READING, WRITING):
                    self.counters.timed_out += 1
                self._close(connection)

    def next_deadline(self) -> float:
        """Return when the first phase of a connection has lasted too long (monotonic); infinity where none is open."""
        return min(listener.next_deadline() for listener in self._listeners.values())

    def finish(self, sockets: Iterable[Any]) -> None:
        """Close the listening sockets; give requests being served and responses being written a last moment."""
        self.closing = self._finishing = True
        for sock in sockets:
            self._unwatch(sock.fileno())
            sock.close()
        for connection in self._within(IDLE, READING, LINGERING):
            self._close(connection)
        until = time.monotonic() + self.limits.finish_seconds
        while self._within(BUSY, WRITING) and time.monotonic() < until:
            self.turn(until)
        for connection in self._within(*(phase for phase in Phase if phase is not CLOSED)):
            self._close(connection)

    def _within(self, *phases: Phase) -> list[Connection]:
        return [c for listener in self._listeners.values() for c in listener.within(*phases)]

    # -- what the dispatcher asks for --------------------------------------------------------------

    def busy(self, connection: Connection) -> None:
        """Wait for this connection's response without reading more from it."""
        connection.listener.move(connection, BUSY, self.now)
        connection.listener.weigh(connection)

    def respond_later(self, connection: Connection, response: RawResponse) -> None:
        """Send the response of a connection that was busy, unless it was closed meanwhile."""
        if connection.phase is BUSY:
            self._guarded(self.respond, connection, response)

    def respond(self, connection: Connection, response: RawResponse) -> None:
        """Send as much of the response as the client takes; the rest when it reads on. Raises OSError."""
        listener = connection.listener
        if response.refused is not None:
            self.counters.refused[listener.name, response.refused] += 1
        if response.error is not None:
            self.counters.failed += 1
        connection.put(response.parts)
        connection.close_after = response.close
        self._flush(connection)

    # -- one connection ----------------------------------------------------------------------------

    def _accept(self, sock: Any, server: Any, listener: Listener) -> None:
        until = time.monotonic() + ACCEPT_SECONDS
        for _ in range(ACCEPTS_PER_TURN):
            try:
                client, peer = sock.accept()
            except OSError as error:
                if error.errno in OUT_OF_FILES:
                    self._evict(max(self._listeners.values(), key=Listener.size).oldest())
                return
            # `setblocking` would release the GIL. The socket has no timeout: no default is set.
            os.set_blocking(client.fileno(), False)
            if server is UNIX_SERVER:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.limits.socket_buffer_bytes)
            if listener.size() >= self.limits.connections_max:
                self._evict(listener.oldest())
            peer = (peer[0], peer[1]) if isinstance(peer, tuple) else ("", 0)
            connection = Connection(client, peer, server, listener)
            listener.move(connection, READING, self.now)
            self._guarded(self._step, connection)
            if time.monotonic() >= until:
                return

    def _guarded(self, step: Callable[..., None], connection: Connection, *response: RawResponse) -> None:
        try:
            step(connection, *response)
        except OSError:
            self._close(connection)
        except Exception:  # counted, and the end of this connection only
            self.counters.unexpected += 1
            self._close(connection)

    def _step(self, connection: Connection) -> None:
        phase = connection.phase
        if phase is IDLE or phase is READING:
            self._read(connection)
        elif phase is BUSY:
            self._watch(connection, 0)  # only now: most clients send nothing before they have their response
        elif phase is WRITING:
            self._flush(connection)
        elif phase is LINGERING and connection.receive_nothing(self._scratch) == 0:
            self._close(connection)

    def _read(self, connection: Connection) -> None:
        count = connection.receive(self._scratch)
        if count == 0:
            self._close(connection)
        elif count is None:
            self._watch(connection, select.EPOLLIN)
        else:
            self._advance(connection)

    def _advance(self, connection: Connection) -> None:
        """Dispatch what has been read, if that is a whole request."""
        found = connection.reader.take()
        if isinstance(found, HttpError):
            self.respond(connection, error_response(found, head_only=connection.reader.head_only))
        elif isinstance(found, Request):
            self.dispatcher.serve(connection, found)
        else:
            if connection.reader.continue_due() and connection.sock.send(CONTINUE) != len(CONTINUE):
                self._close(connection)
                return
            if connection.phase is IDLE:
                connection.listener.move(connection, READING, self.now)
            self._watch(connection, select.EPOLLIN)
            self._enforce_byte_limits(connection)

    def _flush(self, connection: Connection) -> None:
        listener = connection.listener
        if not connection.send():
            if connection.phase is not WRITING:
                listener.move(connection, WRITING, self.now)
            self._watch(connection, select.EPOLLOUT)
            self._enforce_byte_limits(connection)
            return
        if self._finishing:
            self._close(connection)
            return
        if connection.close_after:
            connection.reader.buffer.clear()
            connection.sock.shutdown(socket.SHUT_WR)
            listener.move(connection, LINGERING, self.now)
        elif connection.reader.buffer:
            listener.move(connection, READING, self.now)
            self._pipelined[connection] = None
            self._ready[listener.name].pop(connection, None)  # in both it would be served twice in this turn
        else:
            listener.move(connection, IDLE, self.now)
        self._watch(connection, select.EPOLLIN)
        listener.weigh(connection)

    def _enforce_byte_limits(self, connection: Connection) -> None:
        """Count what this connection holds; where that is too much, close older ones."""
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
        fd = connection.sock.fileno()
        if not connection.watched:
            self._poller.register(fd, events)
            self._watched[fd] = connection
        elif events:
            self._poller.modify(fd, events)
        else:
            self._unwatch(fd)
        connection.watched = events

    def _unwatch(self, fd: int) -> None:
        self._watched.pop(fd, None)
        with suppress(OSError):  # what cannot be taken out was taken out, or is closed
            self._poller.unregister(fd)

    def _close(self, connection: Connection) -> None:
        if connection.phase is CLOSED:
            return
        self._watch(connection, 0)
        self._pipelined.pop(connection, None)
        self._ready[connection.listener.name].pop(connection, None)
        connection.outbox.clear()
        connection.listener.move(connection, CLOSED, self.now)
        connection.sock.close()
