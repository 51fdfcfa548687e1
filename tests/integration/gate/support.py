"""One question to an AWS that really answers over HTTP, as the short-lived child would ask it."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Final

import pytest

from sidecar.child import process
from sidecar.child.process import JobRequest
from sidecar.clock import Clock, SystemClock
from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from sidecar.gate.job import CheckJob
from sidecar.gate.messages import CheckRequest, CheckResult, KeptStatus, WorkloadIdentity, read_result
from sidecar.marketplace import sdk_environment
from sidecar.settings import Dimension, EntitlementCheck, PublicKey
from tests.fakes.http_server import LocalServer, QuietHandler
from tests.fakes.tls import tls_context
from tests.ports import free_port

PRODUCT: Final = "prod1"
REGION: Final = "us-east-1"
ROLE: Final = "arn:aws:iam::123456789012:role/app"
SECRET_KEY: Final = "wJalrXUtnFEMI-unchecked-secret"
WEB_IDENTITY: Final = "web-identity-token-that-nobody-may-see"
KEYS: Final = {"AWS_ACCESS_KEY_ID": "AKIDOFTHEPOD", "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
BY_DRY_RUN: Final[Mapping[str, Any]] = {
    "entitlement_check": EntitlementCheck.METER_USAGE.value,
    "dimensions": (Dimension(name="requests"),),
    "public_keys": (),
}
"""A question that is asked by MeterUsage."""
HTML: Final = b"<html><body>Sign in to the hotel network</body></html>"


class Shifted(SystemClock):
    """A clock that is off."""

    def __init__(self, seconds: float) -> None:
        self._off = timedelta(seconds=seconds)

    def now(self) -> datetime:
        return super().now() + self._off


@dataclass(kw_only=True)
class Asked:
    """What came of one question."""

    identity: WorkloadIdentity
    result: CheckResult
    keep: Callable[[], KeptStatus] | None


@dataclass(kw_only=True)
class Rig:
    """A place to ask from: environment, state directory, and servers that end with the test."""

    monkeypatch: pytest.MonkeyPatch
    tmp: Path
    keys: SigningKeys
    running: ExitStack
    state_dir: Path = field(init=False)
    slow: Callable[[str], CheckResult] = field(init=False)
    """The result of a question that takes seconds, asked once for all tests of a module."""

    def __post_init__(self) -> None:
        self.state_dir = self.tmp / "state"
        self.state_dir.mkdir(exist_ok=True)
        self.token_file = self.tmp / "token"
        self.token_file.write_text(WEB_IDENTITY)
        for name in list(os.environ):
            if name.startswith("AWS_") or name.lower().endswith("_proxy") or name in ("POD_UID", "BOTO_CONFIG"):
                self.monkeypatch.delenv(name)

    def aws(self, **settings: Any) -> Emulator:
        """An emulator that runs until the test ends."""
        if "key_versions" not in settings and "key_bits" not in settings:
            settings.setdefault("keys", self.keys)
        return self.running.enter_context(Emulator(product_codes=(PRODUCT, "prod2"), **settings))

    def web(self, *answers: Answer, tls: bool = False) -> Web:
        """Something that is not AWS and gives these answers in turn, the last one for ever."""
        return self.running.enter_context(Web(*answers, tls=self.tmp if tls else None))

    @property
    def irsa(self) -> dict[str, str]:
        return {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": str(self.token_file)}

    def env(self, **more: str) -> dict[str, str]:
        """A pod's environment without credentials; an empty value takes a variable away."""
        base = {
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": str(self.tmp / "no-config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.tmp / "no-credentials"),
            "HOME": str(self.tmp),
            "POD_UID": "pod-1",
            **more,
        }
        return {name: value for name, value in base.items() if value}

    def request(self, url: str | None, **changed: Any) -> CheckRequest:
        known: dict[str, Any] = {
            "product_code": PRODUCT,
            "public_keys": self.public_keys(1),
            "state_dir": str(self.state_dir),
            "endpoint_url": url,
            "workload_id": None,
            "spare_workload_id": "spare",
        }
        return CheckRequest(**{**known, **changed})

    def public_keys(self, *versions: int) -> tuple[PublicKey, ...]:
        return tuple(PublicKey(version=version, pem=self.keys.public_pem(version)) for version in versions)

    @contextmanager
    def seen_by_sdk(self, url: str | None, env: Mapping[str, str] = KEYS) -> Iterator[dict[str, str]]:
        """The pod's environment; inside, this process has what a child makes of it."""
        seen = self.env(**env)
        with self.monkeypatch.context() as here:
            for name in list(os.environ):
                here.delenv(name)
            for name, value in sdk_environment.for_sdk(seen, url, in_platform=True).items():
                here.setenv(name, value)
            yield seen

    def ask(
        self,
        url: str | None,
        env: Mapping[str, str] = KEYS,
        *,
        clock: Clock | None = None,
        new_random: Callable[[int], bytes] = os.urandom,
        **changed: Any,
    ) -> Asked:
        """Ask once, in this process."""
        with self.seen_by_sdk(url, env) as seen:
            found = [WorkloadIdentity()]
            job = CheckJob(
                request=self.request(url, **changed),
                env=seen,
                clock=clock or SystemClock(),
                new_random=new_random,
                identified=found.append,
            )
            result, keep = job.check()
        return Asked(identity=found[-1], result=result, keep=keep)

    def spawn(self, url: str | None, env: Mapping[str, str] = KEYS, **changed: Any) -> process.ChildProcess:
        """Ask once, in a real child that inherits the environment."""
        return self.spawned(self.request(url, **changed), env)

    def spawned(self, request: JobRequest, env: Mapping[str, str] = KEYS) -> process.ChildProcess:
        """A real child with this question."""
        with self.monkeypatch.context() as here:
            for name, value in self.env(**env).items():
                here.setenv(name, value)
            return process.spawn(request)


def read(child: process.ChildProcess, seconds: float = 30) -> CheckResult:
    """The child's result."""
    result, failure = read_result(child, time.monotonic() + seconds, lambda identity: None)
    assert result is not None, failure
    return result


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a web server answers."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/x-amz-json-1.1"
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0
    """Bytes that were announced and never come."""


class Web(LocalServer):
    """A small server that is not AWS; it remembers who asked."""

    def __init__(self, *answers: Answer, tls: Path | None = None) -> None:
        self._answers = list(answers)
        self.requests: list[str] = []
        super().__init__(self._handler(), tls=None if tls is None else tls_context(tls)[0])

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        web = self

        class Handler(QuietHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                web.requests.append(f"{self.command} {self.path}")
                answer = web._answers.pop(0) if len(web._answers) > 1 else web._answers[0]
                self.send_response_only(answer.status)
                self.send_header("Content-Type", answer.content_type)
                self.send_header("Content-Length", str(len(answer.body) + answer.missing))
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body)
                self.close_connection = True

            do_GET = do_POST = do_PUT = do_CONNECT = answer

        return Handler


def dead_url() -> str:
    """An address without a listener, whatever other tests of this machine listen on."""
    return f"http://127.0.0.1:{free_port()}"


@contextmanager
def black_hole() -> Iterator[str]:
    """Where connections are neither taken nor refused: a listener whose queue is full."""
    with ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
