"""What clients can do to a server short of breaking it: each opens connections and holds them.

    python -m tests.integration.server.attacks PORT CONNECTIONS KIND

is the client of the floods, a process of its own: it asks again with every answer, until its standard
input ends or a minute has passed. Loopback only.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from tests.integration.server.servers import ROOT, Server, eventually

BIG_ANSWER_BYTES = 1_000_000
BODY_BYTES = {"probe": 4_000, "api": 1_000_000}
FLOOD_SECONDS_MAX = 60.0


class Closable(Protocol):
    """What ends an attack, or its part of one."""

    def close(self) -> None: ...


def _held(server: Server, listener: str, count: int, data: bytes) -> list[socket.socket]:
    """So many connections that sent this much, as far as the server takes it, and now do nothing."""
    connections = []
    for _ in range(count):
        sock = server.connect(listener)
        sock.settimeout(0.2)
        with contextlib.suppress(OSError):
            sock.sendall(data)
        connections.append(sock)
    return connections


def _request(path: str, more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n".encode()


def silent_connections(server: Server, listener: str) -> list[socket.socket]:
    """64 that never send a byte."""
    return _held(server, listener, 64, b"")


def half_sent_heads(server: Server, listener: str) -> list[socket.socket]:
    """64 that stop inside a header."""
    return _held(server, listener, 64, b"GET /entitled HTTP/1.1\r\nHost: x\r\nX-Half: ")


def half_sent_bodies(server: Server, listener: str) -> list[socket.socket]:
    """64 that announce the longest body there is and send half of it."""
    size = BODY_BYTES[listener]
    head = f"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
    return _held(server, listener, 64, head + b"x" * (size // 2))


def half_sent_chunks(server: Server, listener: str) -> list[socket.socket]:
    """64 that send tiny chunks and never the last one."""
    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return _held(server, listener, 64, head + b"1\r\nx\r\n" * 600)


def idle_connections(server: Server, listener: str) -> list[socket.socket]:
    """2 000 that were answered once and stay."""
    connections = _held(server, listener, 2_000, _request("/entitled"))
    connections[-1].settimeout(10.0)  # it comes after the answers of all before it
    assert connections[-1].recv(1)
    return connections


def closes_never_returned(server: Server, listener: str) -> list[socket.socket]:
    """64 that ask for a close and do not close."""
    return _held(server, listener, 64, _request("/entitled", "Connection: close\r\n"))


def hanging_routes(server: Server, listener: str) -> list[socket.socket]:
    """20 routes that never return: the whole pool and its whole queue."""
    return _held(server, listener, 20, _request("/slow"))


def unread_answers(server: Server, listener: str) -> list[socket.socket]:
    """64 big replies that the client does not read."""
    return _held(server, listener, 64, _request(f"/big?{BIG_ANSWER_BYTES}"))


def requests_sent_ahead(server: Server, listener: str) -> list[socket.socket]:
    """64 that pipeline a thousand requests each and read nothing."""
    return _held(server, listener, 64, _request("/entitled") * 1_000)


def busy_routes(server: Server, listener: str) -> list[socket.socket]:
    """Four routes that compute for ever in the server's own interpreter."""
    return _held(server, listener, 4, _request("/burn"))


def _chunked(method: str, path: str, chunks: int, trailer: int) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
    fields = b"X-A: 1\r\n"
    return head.encode() + fields * 60 + b"\r\n" + b"1\r\nx\r\n" * chunks + b"0\r\n" + fields * trailer + b"\r\n"


FLOODS = {
    "chunks-probe": _chunked("GET", "/entitled", 16, 60),
    "chunks-api": _chunked("POST", "/echo", 512, 60),
    "refused-probe": _chunked("GET", "/entitled", 660, 60),
    "refused-api": _chunked("POST", "/echo", 4_000, 60),
}


class Flood:
    """So many connections of a client of its own that ask without a pause."""

    def __init__(self, server: Server, listener: str, *, kind: str, count: int) -> None:
        arguments = [str(server.ports[listener]), str(count), f"{kind}-{listener}"]
        command = [sys.executable, "-m", "tests.integration.server.attacks", *arguments]
        self._client = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._client.stdout is not None
        assert self._client.stdout.readline(), "the first answer"

    def close(self) -> None:
        self._client.communicate()


def _flood(port: int, count: int, data: bytes) -> None:
    poller = selectors.DefaultSelector()
    poller.register(sys.stdin, selectors.EVENT_READ)

    def ask(sock: socket.socket | None = None) -> None:
        if sock is None:
            sock = socket.create_connection(("127.0.0.1", port))
            poller.register(sock, selectors.EVENT_READ)
        with contextlib.suppress(OSError):
            sock.sendall(data)

    for _ in range(count):
        ask()
    until, answered = time.monotonic() + FLOOD_SECONDS_MAX, False
    while time.monotonic() < until:
        for key, _ in poller.select(1.0):
            if key.fileobj is sys.stdin:
                return
            sock = key.fileobj
            assert isinstance(sock, socket.socket)
            try:
                answer = sock.recv(65_536)
            except OSError:
                answer = b""
            if not answered:
                print("answered", flush=True)
                answered = True
            if answer and b"Connection: close" not in answer:
                ask(sock)
            else:
                poller.unregister(sock)
                sock.close()
                ask()


def _floods(kind: str, count: int) -> Callable[[Server, str], list[Flood]]:
    return lambda server, listener: [Flood(server, listener, kind=kind, count=count)]


ATTACKS: dict[str, Callable[[Server, str], Sequence[Closable]]] = {
    f"flood_of_{kind}_{count}": _floods(kind, count) for kind in ("chunks", "refused") for count in (16, 200)
} | {
    attack.__name__: attack
    for attack in (
        silent_connections,
        half_sent_heads,
        half_sent_bodies,
        half_sent_chunks,
        idle_connections,
        closes_never_returned,
        hanging_routes,
        unread_answers,
        requests_sent_ahead,
        busy_routes,
    )
}


@contextmanager
def attacked(server: Server, attack: str, listener: str) -> Iterator[None]:
    """While this attack holds."""
    connections = ATTACKS[attack](server, listener)
    if attack == "hanging_routes":
        eventually(lambda: counter(server, "open", listener) >= 20)
    try:
        yield
    finally:
        for sock in connections:
            sock.close()


def counter(server: Server, name: str, key: str | None = None) -> int:
    """One of the worker's counters, asked on the other listener than most attacks hold."""
    found = json.loads(server.ask("probe", "/counters")[2])[name]
    return int(found if key is None else found.get(key, 0))


if __name__ == "__main__":
    _flood(int(sys.argv[1]), int(sys.argv[2]), FLOODS[sys.argv[3]])
