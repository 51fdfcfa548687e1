"""Asks `GET /entitled` over a raw socket, as a kubelet does: a fresh connection for every question.

While a server is under load, a `Watch` asks 50 times a second on fresh connections and as often on a kept
one, and reads every answer whole: a body that is left for the next question would be timed as its answer.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from lib import (
    BOOT_SECONDS_MAX,
    PUSH_PATH,
    REFUSED_PAUSE_SECONDS,
    RESPONSE_BYTES_MAX,
    UNENTITLED_PAUSE_SECONDS,
    Server,
)

REQUEST = b"GET /entitled HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
KEPT_REQUEST = b"GET /entitled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
ANSWER_SECONDS_MAX = 20
PUSH_PAUSE_SECONDS = 0.05
PUSH_SECONDS_MAX = 15
"""After the gate has opened."""
PROBES_PER_SECOND = 50


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
        return _exchange(connection, REQUEST)[0]


def _exchange(connection: socket.socket, request: bytes) -> tuple[Answer, bytes]:
    """The answer, and all of it as it came."""
    connection.sendall(request)
    received = b""
    while not _complete(received):
        part = connection.recv(4096)
        if not part or len(received) > RESPONSE_BYTES_MAX:
            raise ConnectionError("no whole answer")
        received += part
    return Answer(status=int(received.split(b" ", 2)[1]), at_ns=time.monotonic_ns()), received


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


def await_push(server: Server) -> None:
    """Push one event until one is kept: the probe may answer before the ledger is open."""
    deadline = time.monotonic() + PUSH_SECONDS_MAX
    last = b"refused"
    while time.monotonic() < deadline and not server.ended():
        body = f'{{"dimension":"requests","quantity":"1","id":"{uuid.uuid4()}","tags":{{"tenant":"ready"}}}}'
        head = f"POST {PUSH_PATH[server.side]} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        request = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        with suppress(OSError), socket.create_connection(("127.0.0.1", server.push_port), ANSWER_SECONDS_MAX) as opened:
            answer, last = _exchange(opened, request)
            if answer.status == 200:
                return
        time.sleep(PUSH_PAUSE_SECONDS)
    raise SystemExit(f"{server.side} kept no usage; last answer: {last[:600]!r}\n{server.log_tail()}")


@dataclass
class Watch:
    """How long each answer took, sorted once the watch is over. One that failed counts with the time it took."""

    fresh_ns: list[int] = field(default_factory=list)
    """From connect to the whole answer."""
    kept_ns: list[int] = field(default_factory=list)
    """From send to the whole answer."""
    failed: int = 0


@contextmanager
def watching(port: int) -> Iterator[Watch]:
    """Ask in the background until the block ends."""
    watch, over = Watch(), threading.Event()

    def every(took: list[int], once: Iterator[bool]) -> None:
        began = time.monotonic()
        for n in range(1, 1_000_000):
            if over.wait(max(0.0, began + n / PROBES_PER_SECOND - time.monotonic())):
                return
            asked_ns = time.monotonic_ns()
            good = next(once)
            took.append(time.monotonic_ns() - asked_ns)
            watch.failed += not good

    threads = []
    for took, once in ((watch.fresh_ns, _each_fresh(port)), (watch.kept_ns, _each_kept(port))):
        watch.failed += not next(once)  # the first is not timed: it connects the kept one
        threads.append(threading.Thread(target=every, args=(took, once), daemon=True))
    for thread in threads:
        thread.start()
    try:
        yield watch
    finally:
        over.set()
        for thread in threads:
            thread.join()
        watch.fresh_ns.sort()
        watch.kept_ns.sort()


def _each_fresh(port: int) -> Iterator[bool]:
    while True:
        try:
            good = ask(port).status == 200
        except OSError:
            good = False
        yield good


def _each_kept(port: int) -> Iterator[bool]:
    """Connects again, within an answer's time, where the server closed."""
    connection: socket.socket | None = None
    while True:
        good = False
        for _ in range(2):
            try:
                connection = connection or socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS_MAX)
                good = _exchange(connection, KEPT_REQUEST)[0].status == 200
                break
            except OSError:
                if connection:
                    connection.close()
                connection = None
        yield good
