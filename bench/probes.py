"""Asks `GET /entitled` over a raw socket, as a kubelet does: a fresh connection for every question."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from dataclasses import dataclass

from lib import (
    BOOT_SECONDS_MAX,
    REFUSED_PAUSE_SECONDS,
    RESPONSE_BYTES_MAX,
    UNENTITLED_PAUSE_SECONDS,
    Server,
)

REQUEST = b"GET /entitled HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
ANSWER_SECONDS_MAX = 20


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    at_ns: int
    """Monotonic, once head and body are complete."""


@dataclass(frozen=True, kw_only=True)
class Boot:
    """Instants of one start, as spans since exec."""

    first_answer_ns: int
    entitled_ns: int


def ask(port: int) -> Answer:
    """One question; raises OSError where there is no whole answer."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS_MAX) as connection:
        connection.sendall(REQUEST)
        received = b""
        while not _complete(received):
            part = connection.recv(4096)
            if not part or len(received) > RESPONSE_BYTES_MAX:
                raise ConnectionError("no whole answer")
            received += part
        return Answer(status=int(received.split(b" ", 2)[1]), at_ns=time.monotonic_ns())


def _complete(received: bytes) -> bool:
    """Head and body may arrive in two segments."""
    head, blank, body = received.partition(b"\r\n\r\n")
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return bool(blank) and len(body) >= int(value)
    if blank:
        raise ConnectionError("an answer without Content-Length")
    return False


def await_entitled(server: Server) -> Boot:
    """Poll from exec to the first 200."""
    first = 0
    deadline = time.monotonic() + BOOT_SECONDS_MAX
    last: object = "refused"
    while time.monotonic() < deadline and not server.ended():
        try:
            answer = ask(server.port)
        except OSError as error:
            last = error
            time.sleep(REFUSED_PAUSE_SECONDS)
            continue
        first = first or answer.at_ns
        if answer.status == 200:
            return Boot(first_answer_ns=first - server.started_ns, entitled_ns=answer.at_ns - server.started_ns)
        last = answer.status
        time.sleep(UNENTITLED_PAUSE_SECONDS)
    raise SystemExit(f"{server.side} did not become entitled; last answer: {last}\n{server.log_tail()}")


def ask_many(port: int, times: int) -> None:
    """Questions one after another, each on its own connection; every answer must be 200."""
    failed = 0
    for _ in range(times):
        status = 0
        with suppress(OSError):
            status = ask(port).status
        failed += status != 200
    if failed:
        raise SystemExit(f"{failed} of {times} probes failed on port {port}")
