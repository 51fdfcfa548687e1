"""Have each whole request answered: at once, by a thread of the pool, or later by a deferred handler.

Invariants:
- What the application calls nonblocking is answered in the poller; anything else goes to a small pool and comes back
  as finished bytes. A long body for a deferred handler is read by one thread, and its reply is owed from then on.
- What waits for a disk is deferred: no thread waits with it, and the replies of one commit wake the poller once.
- Where too many requests wait for a thread, or for a deferred reply, the next is answered 503 at once.

The application is a WSGI callable with `is_nonblocking(environ)`, `quick_handler(method, path)` and
`deferred_handler(listener, method, path)`. A quick handler returns a `Reply` from memory. A deferred handler is called
with body and promise; it calls the promise with a `Reply` once, on any thread, and may wait for `commit_pending()`,
which is called once for all requests of a turn. Either is None where a request has none.
"""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from sidecar import log
from sidecar.api.reply import PROBE, DeferredHandler, Reply
from sidecar.server.connection import Connection
from sidecar.server.deferred import Deferred, Promise
from sidecar.server.event_loop import EventLoop
from sidecar.server.one_thread import OneThread
from sidecar.server.request import Request
from sidecar.server.response import INTERNAL_ERROR, TOO_BUSY, HttpExchange, RawResponse, error_response
from sidecar.server.thread_pool import Pool

ReplyPromise = Promise[tuple[Connection, HttpExchange], Reply | RawResponse]


class RequestDispatcher:
    """An `event_loop.Dispatcher` over the application. Its public methods belong to the poller's thread."""

    def __init__(self, app: Any, loop: EventLoop) -> None:
        self._app, self._loop, self._limits = app, loop, loop.limits
        self._pool: Pool[Connection, RawResponse] = Pool(
            self._limits.pool_threads, self._limits.pool_queue_max, RawResponse.is_big
        )
        self._body_reader = OneThread("body-reader", self._limits.pool_queue_max)
        """For long bodies, one at a time: reading holds the interpreter, and several would only delay the poller."""
        self._deferred: Deferred[tuple[Connection, HttpExchange], Reply | RawResponse] = Deferred(
            self._limits.deferred_max, self._limits.deferred_bytes_max
        )
        self._commit_due = False
        """A deferred handler was called in this turn."""
        loop.watch_file(self._pool.fileno(), self._respond_from_pool)
        loop.watch_file(self._deferred.fileno(), self._deferred.clear_wakeup)

    def serve(self, connection: Connection, request: Request) -> None:
        """Have this request answered. Raises OSError where the client is gone."""
        listener, limits = connection.listener, self._limits
        try:
            exchange = HttpExchange(
                request, listener.name, connection.peer, connection.server, limits.response_bytes_max
            )
            short = request.body_bytes <= limits.quick_body_bytes_max and request.body_chunks <= limits.quick_chunks_max
            handler = self._app.deferred_handler(listener.name, *exchange.method_and_path)
            at_once = handler is None and (short or listener.name == PROBE)
            quick = self._app.quick_handler(*exchange.method_and_path) if at_once else None
            at_once = at_once and quick is None and self._app.is_nonblocking(exchange.environ)
        except Exception as error:  # the application's: it is answered 500
            self._loop.respond(connection, error_response(INTERNAL_ERROR, error=type(error).__name__))
            return
        close = self._loop.closing
        if quick is not None:
            self._loop.respond(connection, exchange.answer(quick, close=close))
        elif at_once:
            self._loop.respond(connection, exchange.run(self._app, close=close))
        elif handler is not None:
            self._defer(connection, exchange, handler, request.body_bytes, short)
        elif self._pool.submit(connection, partial(self._run_in_pool, exchange, close)):
            self._loop.busy(connection)
        else:
            self._too_busy(connection, head_only=request.head.method == "HEAD")

    def waiting(self) -> int:
        """Return how many deferred replies are ready to be sent."""
        return self._deferred.waiting()

    def send_deferred(self, until: float) -> None:
        """Send the deferred replies that are ready, the oldest first and one in any case, until `until`."""
        while (resolved := self._deferred.next_resolved()) is not None:
            (connection, exchange), reply = resolved
            if isinstance(reply, Reply):
                reply = exchange.render_reply(reply, close=self._loop.closing)
            self._loop.respond_later(connection, reply)
            if time.monotonic() >= until:
                return

    def end_turn(self) -> None:
        """Commit what the handlers of this turn have taken."""
        if self._commit_due:
            self._commit_due = False
            self._app.commit_pending()

    def _respond_from_pool(self) -> None:
        for connection, response in self._pool.results():
            self._loop.respond_later(connection, response)

    def _too_busy(self, connection: Connection, head_only: bool = False) -> None:
        self._loop.counters.queue_full += 1
        self._loop.respond(connection, error_response(TOO_BUSY, head_only=head_only))

    def _defer(
        self, connection: Connection, exchange: HttpExchange, handler: DeferredHandler, size: int, short: bool
    ) -> None:
        """Call the handler, here where the body is short, else on a thread; its reply comes through the promise."""
        promise = self._deferred.promise((connection, exchange), size)
        if promise is None:
            self._too_busy(connection)
        elif short:
            self._loop.busy(connection)
            self._commit_due = True
            _handle(exchange, handler, promise)
        elif self._body_reader.submit(partial(self._handle_long, exchange, handler, promise)):
            self._loop.busy(connection)
        else:
            promise.drop()
            self._too_busy(connection)

    def _handle_long(self, exchange: HttpExchange, handler: DeferredHandler, promise: ReplyPromise) -> None:
        """Handle a long body on the thread for them, which is free again as soon as the body is read."""
        error = _handle(exchange, handler, promise)
        self._app.commit_pending()
        if error is not None:
            log.error("request.failed", error=error)

    def _run_in_pool(self, exchange: HttpExchange, close: bool) -> RawResponse:
        """Run a route on a thread of the pool, which must survive whatever the route does."""
        try:
            response = exchange.run(self._app, close=close)
        except BaseException as error:  # the thread survives, and the client is answered 500
            response = error_response(INTERNAL_ERROR, error=type(error).__name__)
        if response.error is not None:
            log.error("request.failed", error=response.error)
        return response


def _handle(exchange: HttpExchange, handler: DeferredHandler, promise: ReplyPromise) -> str | None:
    """Call the handler. Return the exception's type where it fails; the client gets 500."""
    try:
        body = exchange.read_body()
        if isinstance(body, RawResponse):
            promise(body)
        else:
            handler(body, promise)
    except BaseException as error:  # the promise is kept: the client is answered 500
        failed = type(error).__name__
        promise(error_response(INTERNAL_ERROR, error=failed))
        return failed
    return None
