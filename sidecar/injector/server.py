"""Answer the API server over HTTPS: `POST /inject`, and `GET /healthz` and `/readyz` for the kubelet.

Invariants:
- Handshakes are made in the connection's own thread: a silent connection delays no other.
- A new certificate is used for each connection that begins after it; those that are open keep theirs.
- Anyone in the cluster can open a connection. Connections are bounded in number, bodies in time and bytes, and large
  bodies are read and answered one at a time, so that the process stays within its memory.
- An idle connection is kept for longer than the API server keeps it: one that we closed while a request comes would
  refuse a pod.
- While it ends it goes on answering, is not ready, and asks to close each connection, so that the API server comes back
  to another injector.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from sidecar import log
from sidecar.injector import review
from sidecar.injector.connections import Connections
from sidecar.injector.pieces import Document

BODY_MAX: Final = 4 << 20
"""Bytes. An object is at most 3 MiB for the API server; escapes make it longer."""
MARKS: Final = (b"[", b"{", b'"', b",")
MARKS_MAX: Final = 300_000
"""What JSON becomes in memory follows from these: 4 MiB of empty lists would take 200."""
LARGE: Final = 64 << 10
"""Bytes of a body; nearly every pod is smaller."""
CONNECTIONS_MAX: Final = 256
IDLE_SECONDS: Final = 120.0
"""The API server closes a connection after 90 seconds (client-go, IdleConnTimeout)."""
HANDSHAKE_SECONDS: Final = 10.0
BODY_SECONDS: Final = 10.0
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
        self.connections, self.large = Connections(CONNECTIONS_MAX), threading.Lock()
        super().__init__(("", port), Handler)

    def use(self, context: ssl.SSLContext) -> None:
        """Use this TLS for connections that begin from now on."""
        self.context = context

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        super().server_bind()

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(HANDSHAKE_SECONDS)
        with self.context.wrap_socket(request, server_side=True, do_handshake_on_connect=False) as secure:
            self.connections.heard(secure)
            try:
                secure.do_handshake()
                Handler(secure, client_address, self)
            finally:
                self.connections.ended(secure)

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
    timeout = IDLE_SECONDS

    def parse_request(self) -> bool:
        self.server.connections.heard(self.connection)
        return super().parse_request()

    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._answer(200, b"ok\n", "text/plain")
        elif self.path == "/readyz":
            ready = self.server.ready() and not self.server.ending
            self._answer(200 if ready else 503, b"ready\n" if ready else b"not ready\n", "text/plain")
        else:
            self._answer(404, b"not found\n", "text/plain")

    def do_POST(self) -> None:
        length = self._length()
        if length is None:
            return
        if length <= LARGE:
            self._decide(self._body(length))
        elif self.server.large.acquire(timeout=BODY_SECONDS):
            try:
                self._decide(self._body(length))
            finally:
                self.server.large.release()
        else:
            self._refuse(503, "other large bodies are read")

    def _decide(self, body: bytes) -> None:
        if self.path.partition("?")[0] != "/inject":
            self._answer(404, b"not found\n", "text/plain")
            return
        if sum(body.count(mark) for mark in MARKS) > MARKS_MAX:
            self._refuse(413, "a body has too many values")
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

    def _length(self) -> int | None:
        """Return the length of the body; answer by ourselves, and return None, where there is none to be read."""
        try:
            length = int(self.headers.get("Content-Length", ""))
        except ValueError:
            length = -1
        if 0 <= length <= BODY_MAX:
            return length
        self._refuse(411 if length < 0 else 413, "a body needs a length, of 4 MiB at most")
        return None

    def _body(self, length: int) -> bytes:
        """Return the body, or less where the client ends. Raises TimeoutError where all of it takes too long."""
        until, found = time.monotonic() + BODY_SECONDS, bytearray()
        while len(found) < length:
            self.connection.settimeout(max(until - time.monotonic(), 0.001))
            part = self.rfile.read1(length - len(found))
            if not part:
                break
            found += part
        self.connection.settimeout(self.timeout)
        return bytes(found)

    def _refuse(self, status: int, why: str) -> None:
        self.close_connection = True
        self._answer(status, f"{why}\n".encode(), "text/plain")

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
