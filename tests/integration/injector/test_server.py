"""The injector over real HTTPS: trusted by its authority alone, with a new certificate while others are open."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from sidecar.injector import certificate
from sidecar.injector.authority import Authority
from sidecar.injector.connections import Connections
from sidecar.injector.server import BODY_MAX, LARGE, InjectorServer
from tests.unit.injector.test_pod import POD, document

HOST = "injector.gate.svc"


def authority() -> Authority:
    now = datetime.now(UTC)
    return certificate.make_authority(now, now + timedelta(days=1))


def context(of: Authority) -> ssl.SSLContext:
    return certificate.server_context(*certificate.issue(of, HOST))


class Client:
    """The API server: it trusts one bundle, and asks for the Service's name."""

    def __init__(self, server: InjectorServer, bundle: str) -> None:
        raw = socket.create_connection(("127.0.0.1", server.server_port), timeout=10)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the API server does
        secure = ssl.create_default_context(cadata=bundle).wrap_socket(raw, server_hostname=HOST)
        self.connection = http.client.HTTPConnection(HOST)
        self.connection.sock = secure

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        response.body = response.read()  # type: ignore[attr-defined]
        return response


@pytest.fixture(scope="module")
def first() -> Authority:
    return authority()


@pytest.fixture
def server(first: Authority, tmp_path: Path) -> Iterator[InjectorServer]:
    ready = threading.Event()
    ready.set()
    with InjectorServer(0, document(tmp_path), "gate", context(first), ready.is_set) as found:
        found.state = ready  # type: ignore[attr-defined]
        threading.Thread(target=found.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield found
        found.shutdown()


def question(**annotations: str) -> bytes:
    pod: dict[str, Any] = {**POD, "metadata": {"annotations": annotations}}
    request = {"uid": "u", "kind": {"kind": "Pod"}, "operation": "CREATE", "namespace": "shop", "object": pod}
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "request": request}).encode()


ASKS = {"entitlement-sidecar.io/inject": "true"}


def test_a_pod_is_answered_with_a_patch(server: InjectorServer, first: Authority) -> None:
    response = Client(server, first.certificate).ask("POST", "/inject?timeout=5s", question(**ASKS))
    found = json.loads(response.body)["response"]  # type: ignore[attr-defined]
    assert (response.status, found["allowed"]) == (200, True)
    assert {one["path"] for one in json.loads(base64.b64decode(found["patch"]))} >= {"/spec/initContainers"}


def test_who_does_not_know_the_authority_does_not_talk_to_us(server: InjectorServer) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(server, authority().certificate)


def test_a_new_certificate_serves_new_connections_and_old_ones_go_on(server: InjectorServer, first: Authority) -> None:
    second = authority()
    old = Client(server, first.certificate)
    assert old.ask("GET", "/healthz").status == 200
    server.use(context(second))
    assert old.ask("GET", "/healthz").status == 200
    with pytest.raises(ssl.SSLCertVerificationError):
        Client(server, first.certificate)
    both = first.certificate + second.certificate
    assert Client(server, both).ask("GET", "/healthz").status == 200


def test_a_connection_that_says_nothing_keeps_nobody_waiting(server: InjectorServer, first: Authority) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.server_port)) for _ in range(20)]
    assert Client(server, first.certificate).ask("GET", "/healthz").status == 200
    for one in silent:
        one.close()


@pytest.mark.parametrize("sent", [b"", b"GET /heal"], ids=["silent", "slow"])
def test_connections_that_are_too_many_shut_nobody_out(sent: bytes, server: InjectorServer, first: Authority) -> None:
    server.connections = Connections(4)
    opened = []
    for _ in range(6):
        opened.append(Client(server, first.certificate))
        assert opened[-1].ask("GET", "/healthz").status == 200
        opened[-1].connection.sock.sendall(sent)
    known = Client(server, first.certificate)
    for _ in range(6):
        assert Client(server, first.certificate).ask("POST", "/inject", question(**ASKS)).status == 200
        assert known.ask("GET", "/healthz").status == 200, "who says something is kept"
    assert opened[0].connection.sock.recv(1) == b"", "who says nothing is not"


def drip(client: Client) -> None:
    """Send a byte after the other until the connection ends."""
    while True:
        client.connection.sock.sendall(b" ")


def test_a_body_that_comes_too_slowly_is_given_up(
    server: InjectorServer, first: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidecar.injector.server.BODY_SECONDS", 0.3)
    slow = Client(server, first.certificate)
    slow.connection.sock.sendall(f"POST /inject HTTP/1.1\r\nContent-Length: {LARGE + 1}\r\n\r\n".encode())
    large = b" " * LARGE + question(**ASKS)
    assert Client(server, first.certificate).ask("POST", "/inject", large).status in (200, 503)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        drip(slow)
    assert Client(server, first.certificate).ask("POST", "/inject", large).status == 200


def test_it_is_ready_while_it_is_trusted_and_does_not_end(server: InjectorServer, first: Authority) -> None:
    client = Client(server, first.certificate)
    assert client.ask("GET", "/readyz").status == 200
    server.state.clear()  # type: ignore[attr-defined]
    assert client.ask("GET", "/readyz").status == 503
    server.state.set()  # type: ignore[attr-defined]
    server.ending = True
    response = client.ask("GET", "/readyz")
    assert (response.status, response.headers["Connection"]) == (503, "close")
    assert Client(server, first.certificate).ask("POST", "/inject", question()).status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status"),
    [
        ("GET", "/", None, {}, 404),
        ("POST", "/elsewhere", b"{}", {}, 404),
        ("POST", "/inject", b"no json", {}, 400),
        ("POST", "/inject", b"", {"Content-Length": str(BODY_MAX + 1)}, 413),
        ("POST", "/inject", b"[" + b"[]," * 150_000 + b"[]]", {}, 413),
        ("POST", "/inject", None, {"Transfer-Encoding": "chunked", "Content-Length": "x"}, 411),
    ],
)
def test_what_is_no_question_gets_an_error(
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
    server: InjectorServer,
    first: Authority,
) -> None:
    assert Client(server, first.certificate).ask(method, path, body, **headers).status == status
