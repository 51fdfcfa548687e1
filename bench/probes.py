"""Asks `GET /entitled` over a raw socket, on a fresh connection as a kubelet does, or on a kept one.

While a server is under load, a `Watch` asks 50 times a second on fresh connections and as often on a kept
one, and reads every answer whole: a body that is left for the next question would be timed as its answer.
Two processes ask, half a period apart, with real-time priority (SCHED_FIFO) where the system permits it, as it
does root. Otherwise the time would include the asker's own wait for a processor.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

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
BEGUN = "asking\n"
"""What a process says once it has asked for the first time."""


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
    watch = Watch()
    with ExitStack() as stack:
        asking = {kind: stack.enter_context(_asker(kind, port)) for kind in ASKERS}
        yield watch
        found = {kind: _told(process) for kind, process in asking.items()}
    watch.fresh_ns, watch.kept_ns = (sorted(found[kind]["took_ns"]) for kind in ASKERS)
    watch.failed = sum(one["failed"] for one in found.values())


@contextmanager
def _asker(kind: str, port: int) -> Iterator[subprocess.Popen[str]]:
    """A process that asks from now on, until its stdin closes."""
    argv = [sys.executable, __file__, kind, "--port", str(port)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if process.stdout.readline() != BEGUN:
            raise SystemExit(f"the process that asks on a {kind} connection ended with status {process.wait()}")
        yield process  # its stdin closes afterwards, if it has not yet


def _told(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Close this process's stdin; what it prints."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args!r} ended with status {process.returncode}")
    told: dict[str, Any] = json.loads(said)
    return told


def ask_until_told(kind: str, port: int) -> None:
    """Ask until stdin closes; then print how long each answer took."""
    _before_all_others()
    once, took = ASKERS[kind](port), []
    failed = int(not next(once))  # not timed: it connects the kept one
    print(BEGUN, end="", flush=True)
    turn = list(ASKERS).index(kind) / len(ASKERS)
    began = (math.ceil(time.monotonic() * PROBES_PER_SECOND) + turn) / PROBES_PER_SECOND
    for n in range(1, 1_000_000):
        left = began + n / PROBES_PER_SECOND - time.monotonic()
        if select.select([sys.stdin], [], [], max(0.0, left))[0]:
            break
        asked_ns = time.monotonic_ns()
        good = next(once)
        took.append(time.monotonic_ns() - asked_ns)
        failed += not good
    json.dump({"took_ns": took, "failed": failed}, sys.stdout)


def _before_all_others() -> None:
    """Have a processor as soon as there is an answer, where the system allows that."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except OSError as error:
        print(f"probes wait for a processor like any other process: SCHED_FIFO: {error.strerror}", file=sys.stderr)


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


ASKERS: Final[dict[str, Callable[[int], Iterator[bool]]]] = {"fresh": _each_fresh, "kept": _each_kept}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("connection", choices=ASKERS)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    ask_until_told(options.connection, options.port)
