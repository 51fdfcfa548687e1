"""A product with a page of metrics, a ledger on disk, and the loop between them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sidecar.billing.pulled_usage import PulledUsage
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.readings import Reading
from sidecar.settings.dimensions import Aggregation, Dimension, Scope
from sidecar.settings.pull_sources import PullSource, SourceKind, SourceTake
from sidecar.sources.loop import SourcesLoop
from tests.fakes.clock import NOON, FakeClock
from tests.fakes.http_server import LocalServer, QuietHandler

OWNER = Owner(workload="pod-1", product_code="product", region="us-east-1")
DIMENSIONS = (
    Dimension(name="requests", tags=("tenant",), decimals=6),
    Dimension(name="peak", aggregation=Aggregation.MAX, scope=Scope.POD),
    Dimension(name="hours"),
)


class Product(LocalServer):
    """Serves `body` as its page of metrics."""

    def __init__(self, port: int = 0) -> None:
        product = self

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                product.answer(self)

        self.body: bytes = b""
        self.status = 200
        self.headers: dict[str, str] = {"Content-Type": "text/plain; version=0.0.4"}
        self.asked: list[str] = []
        super().__init__(Handler, port)
        self.start()

    @property
    def url(self) -> str:
        return f"{super().url}/metrics"

    def say(self, text: str) -> None:
        self.body = text.encode()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        self.asked.append(handler.path)
        handler.send_response(self.status)
        for name, value in {"Content-Length": str(len(self.body)), **self.headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(self.body)


class Pull:
    """The loop's passes, one by one, over a ledger on disk that may be opened again."""

    def __init__(self, directory: Path, sources: Sequence[PullSource], **more: Any) -> None:
        self.directory, self.sources, self.more = directory, tuple(sources), more
        self.clock = FakeClock(NOON)
        self.entitled = True
        self.restart()

    def restart(self) -> None:
        """Open the ledger again with a new loop, as the next process does."""
        if hasattr(self, "ledger"):
            self.ledger.close()
        self.ledger = Ledger.open(self.directory, OWNER, DIMENSIONS, self.clock.now())
        self.store = PulledUsage(over(self.ledger))
        self.loop = SourcesLoop(
            sources=self.sources, store=self.store, entitled=lambda: self.entitled, clock=self.clock, **self.more
        )

    def read(self, seconds: float = 30) -> None:
        """Read what is due, so many seconds later."""
        self.clock.advance(seconds)
        self.loop.run_once()

    @property
    def reason(self) -> str:
        """Return why the first source fails; empty where it does not."""
        fault = self.loop.statuses[0].fault
        return fault.reason if fault else ""

    def counted(self, dimension: str = "requests") -> Decimal:
        return next(one.accepted for one in self.ledger.balances() if one.dimension == dimension)

    @property
    def now(self) -> datetime:
        return self.clock.now()


def over(ledger: Ledger) -> Any:
    """Return what the store reads of the billing loop."""
    monitor, events = SimpleNamespace(stuck=False), SimpleNamespace(workload=OWNER.workload)
    return SimpleNamespace(ledger=ledger, monitor=monitor, events=events)


def counter(url: str, **more: Any) -> PullSource:
    given = {"kind": SourceKind.PROMETHEUS, "dimension": "requests", "url": url, "metric": "requests_total"}
    return PullSource(**(given | more))


def gauge(url: str) -> PullSource:
    return counter(url, dimension="peak", metric="sessions", take=SourceTake.MAXIMUM)


class Deadly:
    """A store that ends the process before, or just after, it keeps usage."""

    def __init__(self, pull: Pull, when: str) -> None:
        self._store, self._when = pull.store, when
        self.workload = OWNER.workload

    def readings(self, source: str) -> dict[str, Reading]:
        return dict(self._store.readings(source))

    def keep(
        self, events: Sequence[UsageEvent], source: str, readings: Sequence[Reading], now: datetime
    ) -> PushAccepted | PushRefused:
        if self._when == "before":
            os._exit(9)
        result = self._store.keep(events, source, readings, now)
        if self._when == "after":
            os._exit(9)
        return result


def killed(directory: Path, url: str, when: str) -> None:
    """Read once, and die there. Runs in a process of its own."""
    pull = Pull(directory, [counter(url)])
    store = Deadly(pull, when)
    SourcesLoop(sources=pull.sources, store=store, entitled=lambda: True, clock=pull.clock).run_once()
