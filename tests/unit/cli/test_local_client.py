"""The health check: open, shut or unreachable; always one line within a second, with next to nothing imported."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sidecar.cli import endpoint, local_client
from sidecar.errors import SettingsError
from tests.fakes.config import NOWHERE, PRODUCT
from tests.fakes.keys import public_pem
from tests.fakes.peer import Peer, gate_reply, http_answer
from tests.ports import free_port, needs_ipv6

ROOT = Path(__file__).parents[3]
Env = pytest.MonkeyPatch


@pytest.fixture(autouse=True)
def bare(monkeypatch: Env) -> None:
    for name in (
        "SIDECAR_PROBE_BIND",
        "SIDECAR_API_BIND",
        "SIDECAR_CONFIG",
        "SIDECAR_ON_METERING_OVERDUE",
        "KUBERNETES_SERVICE_HOST",
    ):
        monkeypatch.delenv(name, raising=False)


def check(monkeypatch: Env, answers: list[bytes | None] | Callable[[object], bytes | None]) -> tuple[bool, str]:
    with Peer(answers) as peer:  # type: ignore[arg-type]
        monkeypatch.setenv("SIDECAR_PROBE_BIND", f":{peer.port}")
        fine, line = local_client.healthcheck(str(NOWHERE))
    assert "\n" not in line
    assert [(one.method, one.target) for one in peer.requests] == [("GET", "/entitled")]
    return fine, line


def test_an_open_gate_is_healthy(monkeypatch: Env) -> None:
    assert check(monkeypatch, [gate_reply(200, True, "entitled")]) == (True, "entitled (some_reason): Do this.")


@pytest.mark.parametrize(
    ("setting", "fine"),
    [(None, True), ("alert", True), ("shut", True), ("not_ready", False), ("file", False), ("pod", True)],
)
def test_overdue_metering_is_unhealthy_only_where_that_is_set(
    monkeypatch: Env, tmp_path: Path, setting: str | None, fine: bool
) -> None:
    """Under `shut` the gate would be shut, and that is what is asked. In a pod `/readyz` says it."""
    if setting == "file":
        (tmp_path / "config.yaml").write_text("on_metering_overdue: not_ready\n")
        monkeypatch.setenv("SIDECAR_CONFIG", str(tmp_path / "config.yaml"))
    elif setting:
        monkeypatch.setenv("SIDECAR_ON_METERING_OVERDUE", setting.replace("pod", "not_ready"))
    if setting == "pod":
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    answer = {"entitled": True, "status": "entitled", "metering_overdue_since": "2026-01-02T10:00:00.000Z"}
    found, line = check(monkeypatch, [http_answer(200, answer)])
    assert found is fine
    assert ("metering_overdue" in line and "2026-01-02T10:00" in line) is not fine
    assert check(monkeypatch, [http_answer(200, answer | {"metering_overdue_since": None})])[0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (gate_reply(503, False), "pending (some_reason): Do this."),
        (gate_reply(403, False, "denied"), "denied (some_reason): Do this."),
        (gate_reply(503, True, "odd"), "odd"),
        (gate_reply(200, False, "odd"), "odd"),
        (http_answer(200, {"entitled": "true"}), "None"),
        (http_answer(200, {"entitled": 1}), "None"),
        (http_answer(200, {}), "None"),
        (http_answer(200, "<html>It works!</html>"), "unreachable"),
        (http_answer(200, "[]"), "not the sidecar"),
        (http_answer(200, ""), "unreachable"),
        (http_answer(302, "", Location="http://elsewhere/"), "unreachable"),
        (b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        (b"HTTP/1.1\r\n\r\n{}", "does not speak HTTP"),
        (b"HTTP/1.1 OK\r\n\r\n{}", "unreachable"),
        (b"", "does not speak HTTP"),
        (gate_reply(200, True)[:-10], "unreachable"),
    ],
)
def test_any_other_response_is_a_shut_gate(monkeypatch: Env, answer: bytes, words: str) -> None:
    fine, line = check(monkeypatch, [answer])
    assert fine is False
    assert words in line


def test_a_silent_server_is_a_shut_gate_within_a_second(monkeypatch: Env) -> None:
    fine, line = check(monkeypatch, [None])
    assert (fine, local_client.TIMEOUT_SECONDS < 1) == (False, True)
    assert "timed out" in line


def test_a_slow_server_is_a_shut_gate_within_a_second() -> None:
    import socket
    import time

    over = threading.Event()

    def drip(server: socket.socket) -> None:
        client, _ = server.accept()
        with client:
            for _ in range(12):
                if over.wait(0.1):
                    return
                try:
                    client.sendall(b"H")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=drip, args=(server,), daemon=True)
        thread.start()
        began = time.monotonic()
        with pytest.raises((OSError, ValueError)):
            local_client.get_json([server.getsockname()], "GET /entitled", timeout=0.3)
        took = time.monotonic() - began
        over.set()
        thread.join(5)
    assert took < 0.8


def test_an_unreachable_sidecar_is_a_shut_gate(monkeypatch: Env) -> None:
    monkeypatch.setenv("SIDECAR_PROBE_BIND", f":{free_port()}")
    fine, line = local_client.healthcheck(str(NOWHERE))
    assert not fine
    assert "entitlement-sidecar run" in line


def test_no_control_character_of_an_answer_reaches_the_terminal(monkeypatch: Env) -> None:
    fine, line = check(monkeypatch, [gate_reply(503, False, "\x1b[2Jcode", hint="\x9b1m \x00 \u202eexe")])
    assert (fine, line.isprintable()) == (False, True)
    assert "\\x1b[2Jcode" in line


def test_the_result_is_one_line_whatever_the_server_sends(monkeypatch: Env) -> None:
    fine, line = check(monkeypatch, [gate_reply(503, False, "a\nb\r\nc\u2028d", hint="x\t\ty")])
    assert line == "a b c d (some_reason): x y"
    assert not fine


# -- where to look


@pytest.mark.parametrize(
    ("value", "addresses"),
    [
        ("", [("127.0.0.1", 8484), ("::1", 8484)]),
        (":9", [("127.0.0.1", 9), ("::1", 9)]),
        ("[::]:9", [("127.0.0.1", 9), ("::1", 9)]),
        ("0.0.0.0:9", [("127.0.0.1", 9)]),
        ("10.0.0.1:9", [("10.0.0.1", 9)]),
        ("[fd00::1]:9", [("fd00::1", 9)]),
        (" localhost:9 , :10", [("localhost", 9), ("127.0.0.1", 10), ("::1", 10)]),
    ],
)
def test_the_environment_moves_the_probe_listener(monkeypatch: Env, value: str, addresses: list[object]) -> None:
    monkeypatch.setenv("SIDECAR_PROBE_BIND", value)
    assert endpoint.listener_addresses("probe_bind", str(NOWHERE)) == addresses


def test_the_api_listener_has_its_own_variable(monkeypatch: Env) -> None:
    assert endpoint.listener_addresses("api_bind", str(NOWHERE)) == [("127.0.0.1", 8485), ("::1", 8485)]
    monkeypatch.setenv("SIDECAR_API_BIND", "127.0.0.1:7")
    assert endpoint.listener_addresses("api_bind", str(NOWHERE))[0] == ("127.0.0.1", 7)


def test_the_settings_file_moves_the_listener(monkeypatch: Env, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({"product_code": PRODUCT, "public_key": public_pem(), "probe_bind": "127.0.0.1:7"}))
    monkeypatch.setenv("SIDECAR_CONFIG", str(path))
    assert endpoint.listener_addresses("probe_bind", str(NOWHERE))[0] == ("127.0.0.1", 7)
    monkeypatch.setenv("SIDECAR_PROBE_BIND", ":8")
    assert endpoint.listener_addresses("probe_bind", str(NOWHERE))[0] == ("127.0.0.1", 8)


def test_the_manifest_moves_the_listener(tmp_path: Path) -> None:
    path = tmp_path / "product.yaml"
    keys = [{"version": 1, "key": public_pem()}]
    path.write_text(yaml.safe_dump({"products": [{"code": "a", "public_keys": keys}], "probe_bind": ":6"}))
    assert endpoint.listener_addresses("probe_bind", str(path))[0] == ("127.0.0.1", 6)


def test_a_wrong_settings_file_is_reported(monkeypatch: Env, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("probe_bind: nonsense\n")
    monkeypatch.setenv("SIDECAR_CONFIG", str(path))
    with pytest.raises(SettingsError):
        endpoint.listener_addresses("probe_bind", str(NOWHERE))
    fine, line = local_client.healthcheck(str(NOWHERE))
    assert not fine
    assert "'nonsense'" in line
    assert "\n" not in line


@pytest.mark.parametrize("value", [":http", "nonsense", "127.0.0.1:"])
def test_a_malformed_address_is_a_shut_gate(monkeypatch: Env, value: str) -> None:
    monkeypatch.setenv("SIDECAR_PROBE_BIND", value)
    assert local_client.healthcheck(str(NOWHERE))[0] is False


@needs_ipv6
def test_the_ipv6_loopback_is_asked_where_nothing_listens_on_the_ipv4_one(monkeypatch: Env) -> None:
    with Peer([gate_reply(200, True, "entitled")], "::1") as peer:
        for value in (f":{peer.port}", f"[::]:{peer.port}", f"127.0.0.1:{peer.port},[::1]:{peer.port}"):
            monkeypatch.setenv("SIDECAR_PROBE_BIND", value)
            assert local_client.healthcheck(str(NOWHERE))[0], value
        for value in (f"127.0.0.1:{peer.port}", f"0.0.0.0:{peer.port}"):
            monkeypatch.setenv("SIDECAR_PROBE_BIND", value)
            assert not local_client.healthcheck(str(NOWHERE))[0], "the sidecar does not listen on ::1 then"


@needs_ipv6
@pytest.mark.parametrize("answer", [gate_reply(403, False, "denied"), b"", None])
def test_what_answers_first_is_not_overruled_by_another_address(monkeypatch: Env, answer: bytes | None) -> None:
    with Peer([gate_reply(200, True, "entitled")], "::1") as other, Peer([answer], "127.0.0.1", other.port) as peer:
        monkeypatch.setenv("SIDECAR_PROBE_BIND", f":{peer.port}")
        assert not local_client.healthcheck(str(NOWHERE))[0]
    assert (len(peer.requests), len(other.requests)) == (1, 0)


def test_where_no_address_answers_the_first_is_named(monkeypatch: Env) -> None:
    port = free_port()
    monkeypatch.setenv("SIDECAR_PROBE_BIND", f":{port}")
    assert "refused" in local_client.healthcheck(str(NOWHERE))[1]


# -- what it costs

HEAVY = (
    "json",
    "re",
    "enum",
    "typing",
    "collections",
    "functools",
    "contextlib",
    "pathlib",
    "signal",
    "socket",
    "encodings.idna",
    "argparse",
    "http.client",
    "yaml",
    "dataclasses",
    "sidecar.settings",
    "sidecar.errors",
    "logging",
    "subprocess",
    "urllib.request",
    "ssl",
    "asyncio",
    "email",
    "importlib.metadata",
    "h11",
    "flask",
    "botocore",
    "jwt",
    "cryptography",
)


def test_the_health_check_imports_next_to_nothing() -> None:
    program = (
        "import sys\n"
        "from sidecar.__main__ import main\n"
        f"code = main(['healthcheck'], {str(NOWHERE)!r})\n"
        "print(code, *sys.modules)"
    )
    with Peer([gate_reply(200, True, "entitled")]) as peer:
        ended = subprocess.run(
            [sys.executable, "-S", "-c", program],
            cwd=ROOT,
            env={"SIDECAR_PROBE_BIND": f"127.0.0.1:{peer.port}"},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert ended.stderr == ""
    said, last = ended.stdout.splitlines()
    code, *modules = last.split()
    assert (code, said) == ("0", "entitled (some_reason): Do this.")
    assert "sidecar.cli.local_client" in modules
    assert not [name for name in HEAVY if name in modules]


@pytest.mark.parametrize(
    ("peer", "own", "here"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.2", "127.0.0.1", True),
        ("::1", "::1", True),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.2", "10.0.0.1", False),
        ("fd00::2", "fd00::1", False),
    ],
)
def test_an_address_is_here_where_both_ends_of_a_connection_are(peer: str, own: str, here: bool) -> None:
    assert endpoint.is_here(peer, own) is here


class Elsewhere:
    """A connection to another machine."""

    closed = False

    def getpeername(self) -> tuple[str, int]:
        return ("192.0.2.77", 8484)

    def getsockname(self) -> tuple[str, int]:
        return ("192.0.2.2", 40000)

    def close(self) -> None:
        self.closed = True


def test_a_gate_on_another_machine_is_not_believed(monkeypatch: Env) -> None:
    there = Elsewhere()
    monkeypatch.setenv("SIDECAR_PROBE_BIND", "192.0.2.77:8484")
    monkeypatch.setattr(endpoint, "_tcp_connection", lambda *_: there)
    fine, line = local_client.healthcheck(str(NOWHERE))
    assert not fine
    assert "192.0.2.77:8484 is not an address of this machine or pod" in line
    assert there.closed
