"""Build the bytes of a response, complete before the first of them is sent.

Invariants:
- Because nothing was sent yet, a route that raises, or sends less than it announced (`wsgi`), becomes a complete 500.
- Every response of the worker's own is `application/problem+json` and repeats nothing the client sent.

Sources: RFC 9457, Problem Details for HTTP APIs.
"""

from __future__ import annotations

import io
from functools import cached_property, lru_cache
from typing import Any, Final, NamedTuple

from sidecar.api import problem
from sidecar.api.reply import QuickHandler, Reply, send
from sidecar.server import http_date
from sidecar.server.http_error import HttpError
from sidecar.server.request import Request
from sidecar.server.wsgi import Response, WsgiApp, environ_of, unquoted

INTERNAL_ERROR: Final = HttpError(500, "internal_error", "The request could not be served; the log says why.")
TOO_BUSY: Final = HttpError(503, "too_busy", "Too many requests are being served. Ask again in a second.")

ONE_PIECE_BYTES_MAX: Final = 64 * 1024
PARTS_MAX: Final = 64
"""More pieces than this are joined: each costs the poller a system call."""

USUAL: Final = (200, (), (1, 1))
"""Status, extra headers and version of the response to nearly every push and probe."""
USUAL_BYTES_MAX: Final = 1024
"""Of a body that is shared."""


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


class HttpExchange:
    """One whole request and the response to it."""

    def __init__(self, request: Request, listener: str, client: tuple[str, int], server: Any, bytes_max: int) -> None:
        self._request, self._listener = request, listener
        self._client, self._server, self._bytes_max = client, server, bytes_max

    @cached_property
    def environ(self) -> dict[str, Any]:
        """The WSGI environ. Made when first asked for."""
        return environ_of(self._request.head, self._listener, self._client, self._server)

    @property
    def method_and_path(self) -> tuple[str, str]:
        """REQUEST_METHOD and PATH_INFO of the environ, without making one."""
        head = self._request.head
        return head.method, _unquoted(head.path)

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

    def answer(self, handler: QuickHandler, *, close: bool) -> RawResponse:
        """Read the body, which changes nothing, and return what `run` would of a route that sends this reply."""
        body = self.read_body()
        if isinstance(body, RawResponse):
            return body
        try:
            reply = handler()
        except Exception as error:  # whatever the application raised is answered 500
            return error_response(INTERNAL_ERROR, head_only=self._head_only(), error=type(error).__name__)
        return self.render_reply(reply, close=close)

    def render_reply(self, reply: Reply, *, close: bool) -> RawResponse:
        """Return this reply in the bytes of a route that sends it."""
        head = self._request.head
        usual = (reply.status, reply.headers, head.version) == USUAL and head.method != "HEAD"
        if not usual or len(reply.body) > USUAL_BYTES_MAX:
            return self._collect(lambda _, start_response: send(reply, start_response), close)
        return _usual_response(http_date.second(), reply.content_type, reply.body, close or head.close)

    def _collect(self, app: WsgiApp, close: bool) -> RawResponse:
        close = close or self._request.head.close
        response = Response(self._request.head, self._bytes_max)
        try:
            response.run(app, self.environ)
            parts = response.finished(close=close)
        except Exception as error:  # whatever the application raised is answered 500
            return error_response(INTERNAL_ERROR, head_only=self._head_only(), error=type(error).__name__)
        return RawResponse(parts=_joined(parts), close=close)

    def _head_only(self) -> bool:
        return self._request.head.method == "HEAD"


def _joined(parts: list[bytes]) -> list[bytes]:
    """Return these in one piece where they are short; in their parts where copying would cost memory."""
    short = sum(map(len, parts)) <= ONE_PIECE_BYTES_MAX
    return [b"".join(parts)] if short or len(parts) > PARTS_MAX else parts


@lru_cache(maxsize=8)
def _unquoted(path: str) -> str:
    return unquoted(path)


@lru_cache(maxsize=8)
def _usual_response(second: int, content_type: str, body: bytes, close: bool) -> RawResponse:
    """Return what `wsgi.Response` makes of a 200 without extra fields, at a tenth of the cost; a test compares.

    `second`: since 1970. Thousands of pushes and probes share one response.
    """
    head = (
        f"HTTP/1.1 200 OK\r\nDate: {http_date.http_date(second)}\r\n"
        f"Connection: {'close' if close else 'keep-alive'}\r\n"
        f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\nCache-Control: no-store\r\n\r\n"
    )
    return RawResponse(parts=[head.encode("latin-1") + body], close=close)


def error_response(refusal: HttpError, *, head_only: bool = False, error: str | None = None) -> RawResponse:
    """Return the worker's own response. It closes the connection: what follows on it is not trusted."""
    body = problem.document(refusal.status, refusal.reason, refusal.detail)
    lines = [
        f"HTTP/1.1 {refusal.status} {problem.TITLES[refusal.status]}",
        f"Date: {http_date.now()}",
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
