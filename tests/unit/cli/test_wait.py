"""`wait`, `exec` and `recheck` against a fake sidecar."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.cli import wait as wait_command
from sidecar.errors import Exit, SettingsError
from tests.fakes.peer import Peer, Received, gate_reply, http_answer
from tests.ports import free_port, needs_ipv6

ROOT = Path(__file__).parents[3]
Capture = pytest.CaptureFixture[str]
Env = pytest.MonkeyPatch
OPEN, SHUT, DENIED = gate_reply(200, True, "entitled"), gate_reply(503, False), gate_reply(403, False, "denied")


@pytest.fixture(autouse=True)
def bare(monkeypatch: Env) -> Iterator[None]:
    """Unset the addresses; restore the signal handlers afterwards."""
    for name in ("SIDECAR_PROBE_BIND", "SIDECAR_API_BIND", "SIDECAR_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGPIPE, signal.SIGXFSZ)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_an_open_gate_ends_the_wait(capsys: Capture) -> None:
    with Peer([OPEN]) as peer:
        assert wait_command.wait(5, peer.url) == Exit.OK
    assert capsys.readouterr().err == "entitled (some_reason): Do this.\n"
    assert [(one.method, one.target) for one in peer.requests] == [("GET", "/entitled")]


def test_a_denial_ends_the_wait(capsys: Capture) -> None:
    with Peer([DENIED]) as peer:
        assert wait_command.wait(None, peer.url) == Exit.DENIED
    assert "denied" in capsys.readouterr().err


def test_each_new_state_is_shown_once_while_waiting(capsys: Capture) -> None:
    with Peer([SHUT, SHUT, gate_reply(503, False, "unavailable"), OPEN]) as peer:
        assert wait_command.wait(30, peer.url) == Exit.OK
    shown = [line.split(" ")[0] for line in capsys.readouterr().err.splitlines()]
    assert shown == ["pending", "unavailable", "entitled"]
    assert len(peer.requests) == 4


@pytest.mark.parametrize(
    "answer",
    [
        SHUT,
        gate_reply(503, False, "misconfigured"),
        http_answer(200, "<html>"),
        http_answer(200, {"status": "ok"}),
        http_answer(403, {"error": "forbidden"}),
        http_answer(403, "<html>"),
        gate_reply(200, False, "odd"),
        http_answer(200, {"entitled": "yes"}),
        http_answer(302, "", Location="http://127.0.0.1:1/"),
        b"SSH-2.0-OpenSSH\r\n",
        b"",
        None,
    ],
)
def test_any_other_response_is_waited_out_until_the_timeout(capsys: Capture, answer: bytes | None) -> None:
    with Peer([answer]) as peer:
        assert wait_command.wait(0.05, peer.url) == Exit.UNAVAILABLE
    assert capsys.readouterr().err.endswith("not entitled within 0.05 s\n")


def test_a_sidecar_that_does_not_run_yet_is_waited_for(capsys: Capture, monkeypatch: Env) -> None:
    monkeypatch.setenv("SIDECAR_PROBE_BIND", f":{free_port()}")
    assert wait_command.wait(0, None) == Exit.UNAVAILABLE
    assert "waiting for the sidecar at 127.0.0.1:" in capsys.readouterr().err


def test_without_a_url_the_containers_own_sidecar_is_read(monkeypatch: Env) -> None:
    with Peer([OPEN]) as peer:
        monkeypatch.setenv("SIDECAR_PROBE_BIND", f"127.0.0.1:{peer.port}")
        assert wait_command.wait(5, None) == Exit.OK


@pytest.mark.parametrize(("path", "asked"), [("", "/entitled"), ("/", "/entitled"), ("/gate/x", "/gate/x")])
def test_a_url_may_name_another_path(path: str, asked: str) -> None:
    with Peer([OPEN]) as peer:
        assert wait_command.wait(5, peer.url + path) == Exit.OK
    assert peer.requests[0].target == asked


@pytest.mark.parametrize("url", ["product:8484", "ftp://product", "http://", "http://u:p@product"])
def test_an_invalid_url_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError, match="--url"):
        wait_command.wait(0, url)


def test_deeply_nested_json_is_waited_out() -> None:
    with Peer([http_answer(200, "[" * 60_000)]) as peer:
        assert wait_command.wait(0, peer.url) == Exit.UNAVAILABLE


@pytest.mark.parametrize(("name", "value"), [("SIDECAR_PROBE_BIND", ":http"), ("SIDECAR_CONFIG", "/")])
def test_a_setting_without_an_address_is_a_settings_error(monkeypatch: Env, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError):
        wait_command.wait(0, None)


def test_wait_ends_on_sigterm_as_pid_1() -> None:
    with Peer([SHUT]) as peer:
        process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "wait", "--url", peer.url], cwd=ROOT, stderr=subprocess.PIPE, text=True
        )
        assert process.stderr
        assert "pending" in process.stderr.readline()
        process.terminate()
        assert process.wait(20) == 128 + signal.SIGTERM
        process.stderr.close()


# -- exec


@pytest.mark.parametrize(
    ("command", "code", "words"), [("/no/such", 127, "no such command"), ("no-such-x", 127, "no such")]
)
def test_an_unknown_command_is_127_before_any_wait(capsys: Capture, command: str, code: int, words: str) -> None:
    assert wait_command.wait_then_exec(None, [command]) == code
    assert words in capsys.readouterr().err


def test_a_command_that_cannot_be_executed_is_126_before_any_wait(capsys: Capture, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path):
        assert wait_command.wait_then_exec(None, [str(path)]) == 126
    assert "cannot be executed" in capsys.readouterr().err


def test_a_command_the_kernel_refuses_is_126(capsys: Capture, monkeypatch: Env, tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(b"\x00\x01\x02")
    path.chmod(0o755)
    with Peer([OPEN]) as peer:
        monkeypatch.setenv("SIDECAR_PROBE_BIND", f"127.0.0.1:{peer.port}")
        assert wait_command.wait_then_exec(5, [str(path)]) == 126


def test_exec_waits_for_the_sidecar_that_is_named(capsys: Capture, monkeypatch: Env, tmp_path: Path) -> None:
    with Peer([OPEN]) as usual, Peer([DENIED]) as named:
        monkeypatch.setenv("SIDECAR_PROBE_BIND", f"127.0.0.1:{usual.port}")
        command = ["/usr/bin/touch", str(tmp_path / "started")]
        assert wait_command.wait_then_exec(5, command, f"http://127.0.0.1:{named.port}") == 77
    assert not (tmp_path / "started").exists()


@pytest.mark.parametrize(("answer", "code"), [(DENIED, 77), (SHUT, 69)])
def test_a_gate_that_does_not_open_starts_nothing(
    capsys: Capture, monkeypatch: Env, tmp_path: Path, answer: bytes, code: int
) -> None:
    with Peer([answer]) as peer:
        monkeypatch.setenv("SIDECAR_PROBE_BIND", f"127.0.0.1:{peer.port}")
        assert wait_command.wait_then_exec(0, ["/usr/bin/touch", str(tmp_path / "started")]) == code
    assert not (tmp_path / "started").exists()
    assert "was not started" in capsys.readouterr().err


def execute(port: int, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sidecar", "exec", "--timeout", "10", "--", *command],
        cwd=ROOT,
        env=os.environ | {"SIDECAR_PROBE_BIND": f"127.0.0.1:{port}"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_exec_replaces_itself_with_the_command() -> None:
    with Peer([SHUT, OPEN]) as peer:
        ended = execute(peer.port, "sh", "-c", 'echo "$@"; exit 42', "sh", "--timeout", "a b", "--")
    assert (ended.returncode, ended.stdout) == (42, "--timeout a b --\n")


def test_the_command_has_the_default_signal_handlers() -> None:
    with Peer([OPEN]) as peer:
        ended = execute(peer.port, "sh", "-c", "grep SigIgn /proc/self/status")
    ignored = int(ended.stdout.split()[1], 16)
    assert not ignored & 1 << (signal.SIGPIPE - 1)


@needs_ipv6
def test_the_ipv6_loopback_is_waited_for_too(monkeypatch: Env) -> None:
    with Peer([OPEN], "::1") as peer:
        monkeypatch.setenv("SIDECAR_PROBE_BIND", f":{peer.port}")
        assert wait_command.wait(5, None) == Exit.OK
        monkeypatch.setenv("SIDECAR_PROBE_BIND", f"127.0.0.1:{peer.port}")
        assert wait_command.wait(0.05, None) == Exit.UNAVAILABLE


def test_a_workload_that_cannot_be_reached_is_named_with_where_to_look(capsys: Capture, monkeypatch: Env) -> None:
    port = free_port()
    assert wait_command.wait(0.05, f"http://127.0.0.1:{port}") == Exit.UNAVAILABLE
    shown = capsys.readouterr().err
    assert "refused" in shown
    assert "kubectl get pods" in shown
    monkeypatch.setenv("SIDECAR_PROBE_BIND", f"127.0.0.1:{port}")
    assert wait_command.wait(0.05, None) == Exit.UNAVAILABLE
    assert "kubectl" not in capsys.readouterr().err, "the own sidecar has just not started yet"


# -- recheck


def asked(request: Received) -> bytes:
    fine = (request.method, request.target) == ("POST", "/v1/recheck")
    return http_answer(202, {"asked": True}) if fine else http_answer(404, {"reason": "not_found"})


def test_an_accepted_recheck_is_0(capsys: Capture, monkeypatch: Env) -> None:
    with Peer(asked) as peer:
        monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{peer.port}")
        assert wait_command.recheck() == Exit.OK
    assert "being asked" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (http_answer(429, {"reason": "asked_just_now", "detail": "ask again in 9 s."}), "asked_just_now"),
        (http_answer(404, {"reason": "not_found"}), "not_found"),
        (http_answer(200, {}), "not done"),
        (http_answer(202, "<html>"), "no sidecar answers"),
        (b"", "no sidecar answers"),
    ],
)
def test_a_refused_recheck_is_69_with_its_reason(capsys: Capture, monkeypatch: Env, answer: bytes, words: str) -> None:
    with Peer([answer]) as peer:
        monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{peer.port}")
        assert wait_command.recheck() == Exit.UNAVAILABLE == 69
    assert words in capsys.readouterr().err


def test_a_recheck_sends_the_token_where_one_is_set(monkeypatch: Env, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("token-of-the-test")
    monkeypatch.setenv("SIDECAR_API_TOKEN_FILE", str(tmp_path / "token"))
    with Peer([http_answer(202, {"asked": True})]) as peer:
        monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{peer.port}")
        assert wait_command.recheck() == Exit.OK
    assert [one.headers["authorization"] for one in peer.requests] == ["Bearer token-of-the-test"]


def test_a_recheck_without_a_sidecar_is_69(capsys: Capture, monkeypatch: Env) -> None:
    monkeypatch.setenv("SIDECAR_API_BIND", f"127.0.0.1:{free_port()}")
    assert wait_command.recheck() == Exit.UNAVAILABLE
    assert "SIDECAR_API_BIND" in capsys.readouterr().err


def test_a_recheck_with_a_malformed_address_is_no_traceback(monkeypatch: Env) -> None:
    monkeypatch.setenv("SIDECAR_API_BIND", ":http")
    try:
        assert wait_command.recheck() != 0
    except SettingsError:
        pass
