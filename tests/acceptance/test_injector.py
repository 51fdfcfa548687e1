"""`injector` as a real process: it serves, gives way to another on its port, and ends at SIGTERM."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidecar.injector import certificate
from sidecar.injector.authority import Authority
from tests.acceptance.support import clean_environment, eventually
from tests.ports import free_port
from tests.unit.injector.test_pod import POD, document

pytestmark = pytest.mark.slow  # each starts processes

NAMES = ("--namespace", "gate", "--service", "injector")


def start(*words: str | Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sidecar", "injector", *NAMES, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean_environment())


def ended(*words: str | Path) -> tuple[int, str]:
    with start(*words) as process:
        out, err = process.communicate(timeout=60)
    return process.returncode, out + err


@pytest.fixture
def made(tmp_path: Path) -> Authority:
    """An authority, and what it signed where cert-manager would put it."""
    now = datetime.now(UTC)
    found = certificate.make_authority(now, now + timedelta(days=1))
    for name, text in zip(("tls.crt", "tls.key"), certificate.issue(found, "injector.gate.svc"), strict=True):
        (tmp_path / name).write_text(text)
    document(tmp_path)
    return found


def test_it_serves_until_it_is_asked_to_end(made: Authority, tmp_path: Path) -> None:
    port = free_port()
    given = ("--pieces", tmp_path / "pieces.json", "--certificate", tmp_path, "--port", str(port))
    trust = ssl.create_default_context(cadata=made.certificate)

    def ready() -> bool:
        raw = socket.create_connection(("127.0.0.1", port), timeout=5)
        with trust.wrap_socket(raw, server_hostname="injector.gate.svc") as secure:
            secure.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return secure.recv(100).startswith(b"HTTP/1.1 200 ")

    with start(*given, "--drain-seconds", "0") as process:
        eventually(ready)
        code, words = ended(*given)
        assert code == 69
        assert "injector.not_started" in words
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, "")
    events = [json.loads(line)["event"] for line in out.splitlines()]
    assert events == ["injector.started", "certificate.replaced", "injector.stopped"]


def test_requests_are_answered_after_sigterm_until_it_ends(made: Authority, tmp_path: Path) -> None:
    port = free_port()
    given = ("--pieces", tmp_path / "pieces.json", "--certificate", tmp_path, "--port", str(port))
    trust = ssl.create_default_context(cadata=made.certificate)

    def asked(method: str, path: str, body: bytes = b"") -> bytes:
        raw = socket.create_connection(("127.0.0.1", port), timeout=5)
        with trust.wrap_socket(raw, server_hostname="injector.gate.svc") as secure:
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
            secure.sendall(head.encode() + body)
            return b"".join(iter(lambda: secure.recv(65536), b""))

    def answered(status: int) -> bool:
        return asked("GET", "/readyz").startswith(b"HTTP/1.1 %d " % status)

    request = {"uid": "u", "kind": {"kind": "Pod"}, "operation": "CREATE", "namespace": "shop", "object": POD}
    review = json.dumps({"apiVersion": "admission.k8s.io/v1", "request": request}).encode()
    with start(*given, "--drain-seconds", "1.5") as process:
        eventually(lambda: answered(200))
        process.send_signal(signal.SIGTERM)
        eventually(lambda: answered(503))
        assert b'"allowed": true' in asked("POST", "/inject", review)
        assert process.wait(30) == 0
