"""A connection has one request served at a time, however its requests and its replies come together."""

from __future__ import annotations

import errno
import os
import select
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from sidecar.api.reply import API, PROBE
from sidecar.server.connection import Connection
from sidecar.server.event_loop import EventLoop
from sidecar.server.limits import Counters, Limits
from sidecar.server.request import Request
from sidecar.server.response import RawResponse

TURN_SECONDS = 0.05


class Later:
    """A dispatcher that answers `/later…` when it is told to, and everything else at once."""

    def __init__(self, loop: EventLoop) -> None:
        self._loop = loop
        self._owed: list[tuple[Connection, RawResponse]] = []
        self._given: list[tuple[Connection, RawResponse]] = []
        self.served: list[str] = []

    def give(self) -> None:
        """Have everything that is owed sent in the next turn."""
        self._given += self._owed
        self._owed.clear()

    def serve(self, connection: Connection, request: Request) -> None:
        target = request.head.target
        self.served.append(target)
        response = RawResponse(
            parts=[b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(target), target.encode())], close=False
        )
        if target.startswith("/later"):
            self._loop.busy(connection)
            self._owed.append((connection, response))
        else:
            self._loop.respond(connection, response)

    def waiting(self) -> bool:
        return bool(self._given)

    def send_deferred(self, until: float) -> None:
        while self._given:
            self._loop.respond_later(*self._given.pop(0))

    def end_turn(self) -> None:
        pass


class Rig:
    def __init__(self) -> None:
        self.counters = Counters.of([PROBE, API])
        self.loop = EventLoop(Limits(), self.counters, [PROBE, API])
        self.loop.dispatcher = self.dispatcher = Later(self.loop)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.loop.listen(self.server, API)
        self.client = socket.create_connection(self.server.getsockname())
        self.client.settimeout(10)

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.turn(time.monotonic() + TURN_SECONDS)

    def turn_until(self, reached: Callable[[], bool]) -> None:
        until = time.monotonic() + 10
        while not reached():
            assert time.monotonic() < until
            self.turn()

    def close(self) -> None:
        self.client.close()
        self.loop.finish([self.server])


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.close()


def get(target: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()


def test_a_request_that_arrives_with_the_reply_to_one_before_waits_for_the_one_between(rig: Rig) -> None:
    whole = get("/first") + get("/later1") + get("/later2")
    rig.client.sendall(whole[:6])
    rig.turn_until(lambda: rig.counters.open[API] == 1)
    rig.client.sendall(whole[6:])
    rig.turn_until(lambda: "/later1" in rig.dispatcher.served)
    rig.client.sendall(get("/last"))
    assert select.select([rig.client], [], [], 10)[0], "the first is answered"
    rig.dispatcher.give()  # `/later1` is answered in the turn in which `/last` is read
    rig.turn(3)
    assert rig.dispatcher.served == ["/first", "/later1", "/later2"], "one at a time"
    rig.dispatcher.give()
    rig.turn_until(lambda: "/last" in rig.dispatcher.served)
    received = b""
    while not received.endswith(b"/last"):
        received += rig.client.recv(4096)
    assert [line for line in received.decode().split("\r\n") if line.startswith("/")] == [
        "/firstHTTP/1.1 200 OK",
        "/later1HTTP/1.1 200 OK",
        "/later2HTTP/1.1 200 OK",
        "/last",
    ]


def test_what_the_poller_cannot_take_is_not_watched(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def register(self, fd: int, events: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(rig.loop, "_poller", Full())
    reads, writes = os.pipe()
    before = dict(rig.loop._watched)
    with pytest.raises(OSError, match="No space"):
        rig.loop.watch_file(reads, lambda: None)
    assert rig.loop._watched == before
    monkeypatch.undo()
    os.close(reads)
    os.close(writes)


def test_a_descriptor_that_was_closed_by_another_can_be_taken_out(rig: Rig) -> None:
    reads, writes = os.pipe()
    rig.loop.watch_file(reads, lambda: None)
    os.close(reads)
    rig.loop._unwatch(reads)
    assert reads not in rig.loop._watched
    os.close(writes)
