"""Build the bytes of a response, complete before the first of them is sent.

Invariants:
- gunicorn's own `wsgi.create` and `Response` make the environ, the head and the framing; they write into a `Collector`
  instead of a socket, so no route ever waits for a client.
- Because nothing was sent yet, a route that raises, or sends less than it announced, becomes a complete 500.
- Every response of the worker's own is `application/problem+json` and repeats nothing the client sent.
- There is no `Server` header.

Sources: RFC 9457, Problem Details for HTTP APIs.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple

from gunicorn import util
from gunicorn.http import wsgi

from sidecar.api import problem
from sidecar.api.reply import LISTENER, Reply, send
from sidecar.server.http_error import HttpError
from sidecar.server.request import Request

INTERNAL_ERROR: Final = HttpError(500, "internal_error", "The request could not be served; the log says why.")
TOO_BUSY: Final = HttpError(503, "too_busy", "Too many requests are being served. Ask again in a second.")

ONE_PIECE_BYTES_MAX: Final = 64 * 1024
PARTS_MAX: Final = 64
"""More pieces than this are joined: each costs the poller a system call."""

USUAL: Final = (200, (), "POST", (1, 1))
"""Status, extra headers, method and version of the response to nearly every push."""

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


class RawResponse(NamedTuple):
    """A finished response, and what to do and count after it."""

    parts: list[bytes]
    """What to send, in order."""
    close: bool
    refused: int | None = None
    """The status, where the worker refused the request by itself."""
    error: str | None = None
    """The exception's type, where the route failed."""

    def is_big(self) -> bool:
        """Return whether several of these would take too much memory."""
        return len(self.parts) > 1 or any(len(part) > ONE_PIECE_BYTES_MAX for part in self.parts)


class AnswerTooLarge(Exception):
    """A route produced more than the worker holds for one client."""


class ShortAnswer(Exception):
    """A route started no response, or sent less than its Content-Length announced."""


class Collector:
    """What gunicorn takes for the client's socket: it keeps what is sent."""

    def __init__(self, bytes_max: int) -> None:
        self.parts: list[bytes] = []
        self._bytes_left = bytes_max

    def sendall(self, data: bytes) -> None:
        """Keep these bytes. Raises AnswerTooLarge."""
        self._bytes_left -= len(data)
        if self._bytes_left < 0:
            raise AnswerTooLarge
        self.parts.append(data)

    def send(self, data: bytes) -> int:
        """Keep these bytes and return their number, as a socket does."""
        self.sendall(data)
        return len(data)

    def finished(self) -> list[bytes]:
        """Return everything kept: in one piece when it is short, in its parts when copying would cost memory."""
        short = sum(map(len, self.parts)) <= ONE_PIECE_BYTES_MAX
        return [b"".join(self.parts)] if short or len(self.parts) > PARTS_MAX else self.parts


class Response(wsgi.Response):  # type: ignore[misc]
    """gunicorn's response without the header that names the server."""

    def default_headers(self) -> list[str]:
        """Return status line, Date, Connection and framing."""
        return [line for line in super().default_headers() if not line.startswith("Server:")]

    def write(self, arg: bytes) -> None:
        """Take a part; of a response without a body the head alone: gunicorn would log that it drops the rest."""
        super().write(b"" if self._omits_body else arg)

    def complete(self) -> bool:
        """Return whether the route sent what it announced."""
        if self.status is None:
            return False
        announced = self.response_length
        return bool(announced is None or self._omits_body or self.sent == announced)


class HttpExchange:
    """One whole request and the response to it."""

    def __init__(
        self, cfg: Any, request: Request, listener: str, client: tuple[str, int], server: Any, bytes_max: int
    ) -> None:
        self._cfg, self._request, self._listener = cfg, request, listener
        self._client, self._server, self._bytes_max = client, server, bytes_max

    @cached_property
    def _made(self) -> tuple[Collector, Response, dict[str, Any]]:
        collector = Collector(self._bytes_max)
        response, environ = wsgi.create(
            self._request.message, collector, self._client, self._server, self._cfg, response_class=Response
        )
        environ["wsgi.multithread"] = True
        environ[LISTENER] = self._listener
        return collector, response, environ

    @property
    def environ(self) -> dict[str, Any]:
        """The WSGI environ. Made when first asked for."""
        return self._made[2]

    @property
    def method_and_path(self) -> tuple[str, str]:
        """REQUEST_METHOD and PATH_INFO of the environ, without making one."""
        message = self._request.message
        return message.method, _unquoted(message.path)

    def read_body(self) -> bytes | RawResponse:
        """Return the body, or the response to one that cannot be read. Once."""
        body = self._request.read_body()
        return error_response(body, head_only=self._head_only()) if isinstance(body, HttpError) else body

    def run(self, app: WsgiApp, *, close: bool) -> RawResponse:
        """Read the body, call the application, return its response. Raises nothing of the application's."""
        body = self.read_body()
        if isinstance(body, RawResponse):
            return body
        self.environ["wsgi.input"] = io.BytesIO(body)
        if body:  # a chunked body has a length by now
            self.environ["CONTENT_LENGTH"] = str(len(body))
        return self._collect(app, close)

    def render_reply(self, reply: Reply, *, close: bool) -> RawResponse:
        """Return this reply in the bytes that gunicorn would write."""
        message = self._request.message
        if (reply.status, reply.headers, message.method, message.version) != USUAL:
            return self._collect(lambda _, start_response: send(reply, start_response), close)
        close = close or message.should_close()
        return RawResponse(parts=[_usual_head(reply, close) + reply.body], close=close)

    def _collect(self, app: WsgiApp, close: bool) -> RawResponse:
        try:
            collector, response, environ = self._made
            if close:
                response.force_close()
            _ask(app, response, environ)
        except Exception as error:
            return error_response(INTERNAL_ERROR, head_only=self._head_only(), error=type(error).__name__)
        return RawResponse(parts=collector.finished(), close=response.should_close())

    def _head_only(self) -> bool:
        return bool(self._request.message.method == "HEAD")


def _ask(app: WsgiApp, response: Response, environ: dict[str, Any]) -> None:
    parts = app(environ, response.start_response)
    try:
        for part in parts:
            response.write(part)
        if response.status is None:
            raise ShortAnswer
        response.close()
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    if not response.complete():
        raise ShortAnswer


@lru_cache(maxsize=8)
def _unquoted(path: str) -> str:
    return str(util.unquote_to_wsgi_str(path))


@lru_cache(maxsize=1)
def _date(second: int) -> str:
    """Return the Date header of a second; thousands of responses share one."""
    return str(util.http_date(second))


def _usual_head(reply: Reply, close: bool) -> bytes:
    """Return what gunicorn writes before a 200 without extra headers, at a tenth of the cost; a test compares."""
    return (
        f"HTTP/1.1 200 OK\r\nDate: {_date(int(time.time()))}\r\nConnection: {'close' if close else 'keep-alive'}\r\n"
        f"Content-Type: {reply.content_type}\r\nContent-Length: {len(reply.body)}\r\nCache-Control: no-store\r\n\r\n"
    ).encode("latin-1")


def error_response(refusal: HttpError, *, head_only: bool = False, error: str | None = None) -> RawResponse:
    """Return the worker's own response. It closes the connection: what follows on it is not trusted."""
    body = problem.document(refusal.status, refusal.reason, refusal.detail)
    lines = [
        f"HTTP/1.1 {refusal.status} {problem.TITLES[refusal.status]}",
        f"Date: {util.http_date()}",
        "Connection: close",
        f"Content-Type: {problem.CONTENT_TYPE}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
    ]
    lines += [f"{name}: {value}" for name, value in refusal.headers]
    if refusal.status == 503:
        lines.append("Retry-After: 1")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
    counted = None if refusal is INTERNAL_ERROR else refusal.status
    return RawResponse(parts=[head if head_only else head + body], close=True, refused=counted, error=error)
