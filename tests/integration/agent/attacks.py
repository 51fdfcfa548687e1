"""What clients can do to a server short of breaking it: each opens connections and holds them."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.integration.agent.servers import Server, eventually

BIG_ANSWER_BYTES = 1_000_000
BODY_BYTES = {"probe": 4_000, "api": 1_000_000}


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
    assert connections[-1].recv(1)
    return connections


def closes_never_returned(server: Server, listener: str) -> list[socket.socket]:
    """64 that ask for a close and do not close."""
    return _held(server, listener, 64, _request("/entitled", "Connection: close\r\n"))


def hanging_routes(server: Server, listener: str) -> list[socket.socket]:
    """20 routes that never return: the whole pool and its whole queue."""
    return _held(server, listener, 20, _request("/slow"))


def unread_answers(server: Server, listener: str) -> list[socket.socket]:
    """64 big answers that nobody reads."""
    return _held(server, listener, 64, _request(f"/big?{BIG_ANSWER_BYTES}"))


def requests_sent_ahead(server: Server, listener: str) -> list[socket.socket]:
    """64 that pipeline a thousand requests each and read nothing."""
    return _held(server, listener, 64, _request("/entitled") * 1_000)


def busy_routes(server: Server, listener: str) -> list[socket.socket]:
    """Four routes that compute for ever in the server's own interpreter."""
    return _held(server, listener, 4, _request("/burn"))


ATTACKS: dict[str, Callable[[Server, str], list[socket.socket]]] = {
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
