"""Stand-ins for what a test does not want to be real: time, keys, children, views, and peers on loopback."""

from __future__ import annotations

import base64
import functools
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sidecar.api.metrics import Metric
from sidecar.entitlement.status import GateState, Status
from sidecar.gate.messages import CheckRequest, KeptStatus, Report
from sidecar.log import LOGGER
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import Action
from sidecar.settings import Dimension, Settings

NOON = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
PRODUCT = "8f7k2m1q9w3e5r7t0y2u4i6o8"
NOWHERE = Path("/nonexistent/product.yaml")
"""Where no manifest is."""


# -- time ------------------------------------------------------------------------------------------


@dataclass
class FakeClock:
    """Stands still until it is moved."""

    at: datetime = NOON
    seconds: float = 1000.0

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.seconds

    def advance(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)
        self.seconds += seconds


# -- keys ------------------------------------------------------------------------------------------


def private_key(name: str = "first", bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key, the same for the same name and size."""
    return _made(name, bits)


@functools.cache
def _made(_name: str, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@functools.cache
def public_pem(name: str = "first", bits: int = 2048) -> str:
    key = private_key(name, bits).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@functools.cache
def pkcs1_pem(name: str = "first") -> str:
    return private_key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()


@functools.cache
def private_pem(name: str = "first") -> str:
    return private_key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@functools.cache
def elliptic_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def base64_of(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()


def body_of(pem: str) -> str:
    """A piece of a key's text that no message may hold."""
    return pem.splitlines()[2]


# -- settings --------------------------------------------------------------------------------------


def settings(**env: str) -> Settings:
    """Settings that are good, with `SIDECAR_…` changed as given in lower case."""
    given = {"product_code": PRODUCT, "public_key": public_pem(), "termination_log": "/nonexistent/log"} | env
    return Settings.load({f"SIDECAR_{name.upper()}": value for name, value in given.items()}, {}, NOWHERE)


def question(of: Settings | None = None) -> CheckRequest:
    return CheckRequest.of(of or settings(), spare_workload_id="spare")


# -- log -------------------------------------------------------------------------------------------


class Events(logging.Handler):
    """What was logged: events by name, each with its fields."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []
        self._heard = threading.Condition()

    def emit(self, record: logging.LogRecord) -> None:
        with self._heard:
            self.records.append(record)
            self._heard.notify_all()

    def names(self) -> list[str]:
        return [record.getMessage() for record in self.records]

    def of(self, name: str) -> list[dict[str, Any]]:
        return [record.__dict__ for record in self.records if record.getMessage() == name]

    def one(self, name: str) -> dict[str, Any]:
        (found,) = self.of(name)
        return found

    def wait_for(self, name: str, seconds: float = 10.0, times: int = 1) -> bool:
        with self._heard:
            return self._heard.wait_for(lambda: self.names().count(name) >= times, seconds)


@contextmanager
def hearing() -> Iterator[Events]:
    """The sidecar's log events while the block runs."""
    events, level, spread = Events(), LOGGER.level, LOGGER.propagate
    LOGGER.addHandler(events)
    LOGGER.setLevel(logging.DEBUG)
    LOGGER.propagate = False
    try:
        yield events
    finally:
        LOGGER.removeHandler(events)
        LOGGER.setLevel(level)
        LOGGER.propagate = spread


# -- children --------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class FakeChild:
    """A child with its lines already said. `takes` seconds of `clock` pass with the first line."""

    lines: list[bytes | None] = field(default_factory=list)
    clock: FakeClock | None = None
    takes: float = 0.0
    pid: int = 4242
    ended: bool = False
    killed: bool = False
    closed: bool = False
    while_heard: Callable[[], None] | None = None
    deadlines: list[float] = field(default_factory=list)

    def read_line(self, deadline: float) -> bytes | None:
        self.deadlines.append(deadline)
        if self.clock and self.takes:
            self.clock.advance(self.takes)
            self.takes = 0.0
        if self.while_heard:
            self.while_heard()
        if self.lines:
            return self.lines.pop(0)
        self.ended = True
        return None

    def kill(self) -> None:
        self.killed = True

    def close(self) -> None:
        self.closed = True
        self.ended = True


def saying(report: Report, *, kept: KeptStatus | None = None, **more: Any) -> FakeChild:
    """A child that reports, and then says whether it kept the answer."""
    lines: list[bytes | None] = [report.as_json().encode()]
    return FakeChild(lines=lines + ([kept.as_json().encode()] if kept else []), **more)


def crashed(place: str = "ValueError at asking.py:12") -> FakeChild:
    return FakeChild(lines=[json.dumps({"crashed": place}).encode()])


def silent() -> FakeChild:
    """A child that is still running when its time is up."""
    return FakeChild(lines=[None])


# -- usage -----------------------------------------------------------------------------------------

REQUESTS = Dimension(name="requests")


@dataclass(kw_only=True)
class FakeUsage:
    """An `api.ports.UsagePort` that keeps in memory. `later`: answers are owed until `pay`; `broken` makes all fail."""

    dimensions: Mapping[str, Dimension] = field(default_factory=lambda: {"requests": REQUESTS})
    at: datetime = NOON
    result: PushAccepted | PushRefused | None = None
    """What every push comes to; None: everything is accepted."""
    later: bool = False
    found: Sequence[UsageRecord] = ()
    pages: Mapping[str, tuple[Sequence[str], str]] = field(default_factory=dict)
    broken: Exception | None = None
    kept: list[UsageEvent] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    owed: list[Callable[[], None]] = field(default_factory=list)
    acts: list[tuple[Action, Hour | None, str | None, str | None]] = field(default_factory=list)

    def _whole(self) -> None:
        if self.broken:
            raise self.broken

    def now(self) -> datetime:
        self._whole()
        return self.at

    def push(
        self, events: Sequence[UsageEvent], now: datetime, on_result: Callable[[PushAccepted | PushRefused], None]
    ) -> None:
        assert now == self.at
        result = self.result or PushAccepted(accepted=len(events), duplicates=0)
        self.kept += events if isinstance(result, PushAccepted) else ()
        self.owed.append(lambda: on_result(result))
        if not self.later:
            self.pay()

    def commit_pending(self) -> None:
        """Everything was kept at once."""

    def count_refusal(self, reason: str) -> None:
        self.refusals.append(reason)

    def pay(self) -> None:
        """Give every answer that is owed."""
        while self.owed:
            self.owed.pop(0)()

    def records(self) -> Iterator[UsageRecord]:
        self._whole()
        return iter(self.found)

    def apply_action(
        self, action: Action, hour: Hour | None, dimension: str | None, record_id: str | None
    ) -> Sequence[UsageRecord]:
        self._whole()
        self.acts.append((action, hour, dimension, record_id))
        return self.found

    def export(self, after: str) -> tuple[Sequence[str], str]:
        self._whole()
        if after and after not in self.pages:
            raise ValueError("no page ended there.")
        return self.pages.get(after, ((), ""))


# -- the view --------------------------------------------------------------------------------------

PENDING = GateState(status=Status.PENDING, reason="asking", hint="Wait.", checked_at=None, asking_since=NOON)


def gate_state(status: Status, **changes: Any) -> GateState:
    given = {"status": status, "reason": "some_reason", "hint": "Do this.", "checked_at": NOON} | changes
    return replace(PENDING, **given)


@dataclass(kw_only=True)
class FakeView:
    """What HTTP is told; every part can be set, and `broken` makes the parts fail."""

    product_code: str = PRODUCT
    now: GateState = PENDING
    retry_after: int = 7
    stopped: str | None = None
    overdue_since: datetime | None = None
    fault: tuple[str, str] | None = None
    usage: FakeUsage = field(default_factory=FakeUsage)
    wait: int = 0
    samples: Sequence[Metric] = ()
    document: Mapping[str, object] = field(default_factory=lambda: {"version": "test"})
    broken: Exception | None = None
    rechecks: int = 0

    def _whole(self) -> None:
        if self.broken:
            raise self.broken

    def gate_state(self) -> GateState:
        self._whole()
        return self.now

    def retry_after_seconds(self) -> int:
        return self.retry_after

    def stopped_loop(self) -> str | None:
        return self.stopped

    def metering_overdue_since(self) -> datetime | None:
        return self.overdue_since

    def metering_fault(self) -> tuple[str, str] | None:
        return self.fault

    def metrics(self) -> Sequence[Metric]:
        return self.samples

    def status(self) -> Mapping[str, object]:
        self._whole()
        return self.document

    def recheck(self) -> int:
        self._whole()
        self.rechecks += 1
        return self.wait


# -- peers on loopback -----------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Received:
    """One request a peer got."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


Answers = Sequence[bytes | None] | Callable[[Received], bytes | None]


class Peer:
    """A tiny server on loopback. Answers in turn, the last one for ever; None is silence."""

    def __init__(self, answers: Answers) -> None:
        self.requests: list[Received] = []
        self._answers = answers
        self._over = threading.Event()
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._sock.shutdown(socket.SHUT_RDWR)
        self._sock.close()
        for thread in list(self._threads):
            thread.join(5)

    def _serve(self) -> None:
        while not self._over.is_set():
            try:
                client, _ = self._sock.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._talk, args=(client,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _talk(self, client: socket.socket) -> None:
        with client:
            data = b""
            while b"\r\n\r\n" not in data:
                chunk = client.recv(65_536)
                if not chunk:
                    return
                data += chunk
            head, _, body = data.partition(b"\r\n\r\n")
            first, *rest = head.decode("latin-1").split("\r\n")
            method, target, _ = first.split(" ", 2)
            headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
            while len(body) < int(headers.get("content-length", 0)) and (chunk := client.recv(65_536)):
                body += chunk
            received = Received(method=method, target=target, headers=headers, body=body)
            self.requests.append(received)
            answer = self._next(received)
            if answer is None:
                self._over.wait(30)
                return
            try:
                client.sendall(answer)
            except OSError:
                pass

    def _next(self, received: Received) -> bytes | None:
        if callable(self._answers):
            return self._answers(received)
        return self._answers[min(len(self.requests), len(self._answers)) - 1]


def http_answer(status: int, body: bytes | str | Mapping[str, object], **headers: str) -> bytes:
    """One whole HTTP answer."""
    content = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + content


def gate(status: int, entitled: bool, words: str = "pending", **more: object) -> bytes:
    """What `/entitled` answers."""
    body = {"entitled": entitled, "status": words, "reason": "some_reason", "hint": "Do this."}
    return http_answer(status, body | more)
