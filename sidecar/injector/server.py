"""Answer the API server over HTTPS: `POST /inject`, and `GET /healthz` and `/readyz` for the kubelet.

Invariants:
- Handshakes are made in the connection's own thread: one that says nothing keeps nobody else waiting.
- A new certificate is used for each connection that begins after it; those that are open keep theirs.
- Connections are bounded, in number, time and bytes: anyone in the cluster can open one.
- While it ends it goes on answering, is not ready, and asks to close each connection, so that the API server comes back
  to another injector.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from sidecar import log
from sidecar.injector import review
from sidecar.injector.pieces import Document

BODY_MAX: Final = 8 << 20
"""Bytes. An object is at most 3 MiB for the API server; escapes make it longer."""
CONNECTIONS_MAX: Final = 256
TIMEOUT_SECONDS: Final = 60.0
"""Of a connection that says nothing; the kubelet and the API server come back."""
BACKLOG: Final = 256


class InjectorServer(ThreadingHTTPServer):
    """The server. `context` is the TLS of connections that begin now; `ready` says whether the API server trusts it."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = BACKLOG
    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def __init__(
        self, port: int, document: Document, home: str, context: ssl.SSLContext, ready: Callable[[], bool]
    ) -> None:
        """Bind at once; port 0 is any that is free. `home`: the injector's own namespace. Raises OSError."""
        self.document, self.home, self.context, self.ready = document, home, context, ready
        self.ending = False
        self._room = threading.BoundedSemaphore(CONNECTIONS_MAX)
        super().__init__(("", port), Handler)

    def use(self, context: ssl.SSLContext) -> None:
        """Use this TLS for connections that begin from now on."""
        self.context = context

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Return whether there is room for one more; a connection without room is closed at once."""
        return self._room.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(TIMEOUT_SECONDS)
        with self.context.wrap_socket(request, server_side=True) as secure:
            Handler(secure, client_address, self)

    def shutdown_request(self, request: Any) -> None:
        with contextlib.suppress(OSError):
            super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a client that breaks off, or does not trust us, is its own to notice."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: InjectorServer
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    """An answer leaves whole and at once: it would wait up to 40 ms until what was sent before it is acknowledged."""
    timeout = TIMEOUT_SECONDS

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._answer(200, b"ok\n", "text/plain")
        elif self.path == "/readyz":
            ready = self.server.ready() and not self.server.ending
            self._answer(200 if ready else 503, b"ready\n" if ready else b"not ready\n", "text/plain")
        else:
            self._answer(404, b"not found\n", "text/plain")

    def do_POST(self) -> None:
        body = self._body()
        if body is None:
            return
        if self.path.partition("?")[0] != "/inject":
            self._answer(404, b"not found\n", "text/plain")
            return
        try:
            question = review.read(body)
        except ValueError as exc:
            self._answer(400, f"{exc}\n".encode(), "text/plain")
            return
        answer = review.decide(question, self.server.document, self.server.home)
        where = {"namespace": question.namespace, "pod": question.name, "dry_run": question.dry_run}
        if answer.refusal is not None:
            log.warn("pod.refused", **where, hint=answer.refusal)
        elif answer.pod is not None:
            log.event("pod.injected", **where)
        self._answer(200, review.reply(question, answer), "application/json")

    def _body(self) -> bytes | None:
        """Return the body; answer by ourselves, and return None, where there is none to be read."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if 0 <= length <= BODY_MAX:
            return self.rfile.read(length)
        self.close_connection = True
        self._answer(411 if length < 0 else 413, b"a body needs a length, of 8 MiB at most\n", "text/plain")
        return None

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.server.ending:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: what was decided is logged, requests of the kubelet are not."""
