"""What the poller does for one probe, with nothing beside it: the real server and router, over a gate that is open."""

from __future__ import annotations

import argparse
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from statistics import median
from types import SimpleNamespace
from typing import Any

from lib import Setup
from probes import ANSWER_SECONDS_MAX, KEPT_REQUEST, REQUEST
from where_table import table

from sidecar.api.router import Router
from sidecar.entitlement.status import Status
from sidecar.server.dispatcher import RequestDispatcher
from sidecar.server.event_loop import EventLoop
from sidecar.server.limits import Counters, Limits

PROBES = 4000
LISTENER = "probe"


class View:
    """What the router reads for `/entitled`, and nothing else."""

    product_code = "prod1"
    usage = None

    def metering_overdue_since(self) -> None:
        return None

    def gate_state(self) -> Any:
        return GATE


GATE = SimpleNamespace(
    entitled=True, status=Status.ENTITLED, reason="accepted", hint="It may run.", checked_at=datetime.now(UTC)
)


def probe(_: Setup, options: argparse.Namespace) -> None:
    """Print the median of many probes on each kind of connection."""
    rows = []
    for name, request in (("fresh", REQUEST), ("kept", KEPT_REQUEST)):
        with _serving() as (loop, port):
            rows.append((name, *(f"{one * 1e6:.0f}" if one else "–" for one in _ask(loop, port, request))))
    table("A probe, in µs of the poller", ("connection", "until it is answered", "to close it"), rows)


@contextmanager
def _serving() -> Iterator[tuple[EventLoop, int]]:
    limits, counters = Limits(), Counters.of([LISTENER, "api"])
    loop = EventLoop(limits, counters, [LISTENER, "api"])
    loop.dispatcher = RequestDispatcher(Router(View()), loop)  # type: ignore[arg-type]
    with socket.create_server(("127.0.0.1", 0)) as listening:
        loop.listen(listening, LISTENER)
        yield loop, listening.getsockname()[1]


def _ask(loop: EventLoop, port: int, request: bytes) -> tuple[float, float]:
    """Return the seconds until a probe is answered, and to close its connection; 0 for one that is kept."""
    answered, closed = [], []
    client: socket.socket | None = None
    for _ in range(PROBES):
        client = client or socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS_MAX)
        client.sendall(request)
        answered.append(_turn(loop))
        if b'"entitled": true' not in client.recv(4096):
            raise SystemExit("the router did not answer as it should")
        if request == REQUEST:
            client.close()
            client = None
            closed.append(_turn(loop))
    return median(answered), median(closed) if closed else 0.0


def _turn(loop: EventLoop) -> float:
    began = time.perf_counter()
    loop.turn(time.monotonic() + 1)
    return time.perf_counter() - began
