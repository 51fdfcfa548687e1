"""The worker serves a Unix socket as it serves a port: limits, probes, and who may ask."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar import proof
from tests.integration.server.attacks import attacked, counter
from tests.integration.server.servers import ROOT, Server, eventually, read_all, server, split

TOKEN = "s3cret-token-of-the-test"
EVENT = b'{"dimension": "requests", "quantity": 1}'
WORST_SECONDS_MAX = 1.0
"""Of a probe beside an attack. Under load of other tests; a probe that waits for a client waits ten seconds."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with server(site=True, admission={}, unix=tmp_path_factory.mktemp("api") / "api.sock") as found:
        yield found


def asked(running: Server, head: str, body: bytes = b"") -> tuple[int, str]:
    """Status, and the reason of a refusal."""
    with running.connect("api") as sock:
        sock.sendall(f"{head}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body)
        status, _, found = split(read_all(sock))
    return status, str(json.loads(found).get("reason", ""))


@pytest.mark.parametrize("host", ["localhost", "localhost:8485", "127.0.0.1", "[::1]:1", "gate.localhost"])
def test_any_loopback_name_is_served(running: Server, host: str) -> None:
    assert asked(running, f"POST /v1/usage HTTP/1.1\r\nHost: {host}", EVENT) == (200, "")


@pytest.mark.parametrize("host", ["evil.example", "unix", "10.0.0.1", ""])
def test_any_other_name_is_refused_as_on_a_port(running: Server, host: str) -> None:
    assert asked(running, f"POST /v1/usage HTTP/1.1\r\nHost: {host}", EVENT) == (403, "host_refused")


def test_a_foreign_origin_is_refused_as_on_a_port(running: Server) -> None:
    head = "POST /v1/usage HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example"
    assert asked(running, head, EVENT) == (403, "cross_origin")


def test_a_token_is_asked_for_as_on_a_port(tmp_path: Path) -> None:
    with server(site=True, admission={"token": TOKEN}, unix=tmp_path / "api.sock") as guarded:
        assert asked(guarded, "GET /v1/usage HTTP/1.1\r\nHost: localhost") == (401, "token_refused")
        head = f"GET /v1/usage HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}"
        assert asked(guarded, head) == (200, "")


@pytest.mark.parametrize(
    "attack",
    [
        "silent_connections",
        *(pytest.param(one, marks=pytest.mark.slow) for one in ("half_sent_bodies", "unread_answers", "busy_routes")),
    ],
)
def test_no_client_of_the_socket_holds_up_a_probe_on_it_or_beside_it(tmp_path: Path, attack: str) -> None:
    with server(unix=tmp_path / "api.sock") as running:
        for name in ("probe", "api"):
            running.probe_seconds(name)
        with attacked(running, attack, "api"):
            assert max(running.probe_seconds(name) for _ in range(3) for name in ("probe", "api")) < WORST_SECONDS_MAX
        assert counter(running, "unexpected") == 0


def test_the_oldest_connection_makes_room_where_the_socket_has_too_many(tmp_path: Path) -> None:
    with server(unix=tmp_path / "api.sock", connections_max=8) as running:
        held = [running.connect("api") for _ in range(12)]
        eventually(lambda: counter(running, "evicted") == 4)
        assert held[0].recv(1) == b"", "the oldest is closed"
        assert running.ask("api", "/entitled")[0] == 200
        for sock in held:
            sock.close()


def test_a_client_that_is_too_slow_is_closed(tmp_path: Path) -> None:
    with server(unix=tmp_path / "api.sock", request_seconds=0.2) as running, running.connect("api") as sock:
        sock.sendall(b"GET /entitled HTTP/1.1\r\nHost: x")
        assert read_all(sock) == b""
        assert counter(running, "timed_out") == 1


# -- the clients that a product may copy

CLIENTS = ROOT / "docs" / "examples" / "clients"


@pytest.mark.parametrize("line", [[sys.executable, str(CLIENTS / "report.py")], ["sh", str(CLIENTS / "report.sh")]])
def test_a_client_reports_over_the_socket(running: Server, line: list[str]) -> None:
    if line[0] == "sh" and not shutil.which("curl"):
        pytest.skip("no curl here")
    batch = json.dumps([{"dimension": "requests", "quantity": 1, "id": f"socket-{Path(line[1]).name}"}])
    ended = subprocess.run(
        [*line, f"unix:{running.unix}", "10"], input=batch, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, json.loads(ended.stdout)) == (0, {"accepted": 1, "duplicates": 0}), ended.stderr


def test_a_proof_is_asked_for_over_the_socket(running: Server) -> None:
    assert proof.ask("n" * 32, f"unix:{running.unix}", timeout=10).count(".") == 2
