"""Starts, stops, crashes and restarts: what the platform does to a container, done to a real process."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from sidecar.server import supervisor
from tests.acceptance.support import Sidecar, eventually
from tests.acceptance.test_pod_status import POD, with_api_mount
from tests.ports import free_port


def test_sigterm_ends_it_with_0_within_the_budget(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path, SIDECAR_FLUSH_SECONDS="2") as sidecar:
        sidecar.shows("entitled")
        began = time.monotonic()
        sidecar.told(signal.SIGTERM)
        assert sidecar.ended(10) == 0
        assert time.monotonic() - began < 5
        assert sidecar.note.read_text() == "", "ended because it was told to: nothing to explain"


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.03, 0.06, 0.1, 0.15, 0.2])
def test_sigterm_is_heard_at_whatever_moment_of_the_start(aws: Emulator, tmp_path: Path, seconds: float) -> None:
    """One that meets the worker between its fork and its readiness must not be dropped."""
    for nudge in range(4):
        with Sidecar(aws, tmp_path) as sidecar:
            assert sidecar.process is not None
            eventually(partial(_catches_sigterm, sidecar.process.pid))  # not before our first line has run
            with pytest.raises(subprocess.TimeoutExpired):
                sidecar.process.wait(seconds + nudge / 100)
            began = time.monotonic()
            sidecar.told(signal.SIGTERM)
            assert sidecar.ended(10) == 0, sidecar.text()
            assert time.monotonic() - began < 4
        assert not _left_over(sidecar)


@pytest.mark.slow
def test_told_to_end_before_the_first_check_it_ends_without_asking(aws: Emulator, tmp_path: Path) -> None:
    """SIGTERM comes while the worker binds its ports, and waits there until it is looked for."""
    code = (
        "import os, signal, sys, time\n"
        "from sidecar.server import listeners\n"
        "listen = listeners.listen\n"
        "def told(*given, **named):\n"
        "    os.kill(os.getppid(), signal.SIGTERM)\n"
        "    while signal.SIGTERM not in signal.sigpending():\n"
        "        time.sleep(0.01)\n"
        "    return listen(*given, **named)\n"
        "listeners.listen = told\n"
        "from sidecar.server import supervised\n"
        "supervised.GRACEFUL_SECONDS = 20\n"
        "from sidecar.__main__ import main\n"
        "sys.exit(main(['run']))\n"
    )
    sidecar = Sidecar(aws, tmp_path)
    sidecar.line = [sys.executable, "-c", code]
    with sidecar:
        assert sidecar.ended() == 0
    assert not _left_over(sidecar)
    assert sidecar.events("sidecar.started") == []
    assert aws.calls() == []


def _catches_sigterm(pid: int) -> bool:
    """Return whether the process has a handler for SIGTERM, or blocks it: the kernel ends it by neither."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigCgt", "SigBlk"))]
    return any(mask >> (signal.SIGTERM - 1) & 1 for mask in masks)


def test_sigterm_while_aws_hangs_ends_it_as_quickly(aws: Emulator, tmp_path: Path) -> None:
    aws.fault("RegisterUsage", "hang", times=None)
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("pending")
        began = time.monotonic()
        sidecar.told(signal.SIGTERM)
        assert sidecar.ended(10) == 0
        assert time.monotonic() - began < 5
        eventually(lambda: not _left_over(sidecar))


def _left_over(sidecar: Sidecar) -> list[str]:
    """Processes that still carry this sidecar's pod in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"POD_UID={sidecar.pod}".encode() in (entry / "environ").read_bytes():
                found.append(entry.name)
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_a_worker_killed_while_pending_is_replaced_and_asks_again(aws: Emulator, tmp_path: Path) -> None:
    aws.fault("RegisterUsage", "hang", times=1)
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("pending")
        first = sidecar.worker()
        os.kill(first, signal.SIGKILL)
        sidecar.shows("entitled")
        assert sidecar.worker() != first


@pytest.mark.slow
def test_a_killed_worker_leaves_the_gate_open_without_asking_again(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        asked = len(aws.calls())
        first = sidecar.worker()
        os.kill(first, signal.SIGKILL)
        eventually(lambda: sidecar.worker() != first)
        sidecar.shows("entitled")
        assert len(aws.calls()) == asked


@pytest.mark.slow
def test_a_worker_that_hangs_is_replaced(aws: Emulator, tmp_path: Path) -> None:
    """The supervisor sleeps until a heartbeat is overdue, and wakes up for nothing before."""
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        first = sidecar.worker()
        os.kill(first, signal.SIGSTOP)
        eventually(lambda: sidecar.worker() != first, seconds=supervisor.TIMEOUT_SECONDS + 30)
        sidecar.shows("entitled")
        assert "WORKER TIMEOUT" in sidecar.logged("server.error")["text"]


@pytest.mark.slow
def test_after_a_restart_with_aws_unreachable_a_kept_answer_opens_the_gate(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        eventually(lambda: list(tmp_path.glob("answer-*.json")))
    aws.fault("*", "drop_before", times=None)
    with Sidecar(aws, tmp_path, POD_UID=sidecar.pod) as again:
        assert again.shows("entitled")["reason"] == "kept_answer"
        assert again.logged("answer.reopened")["workload"] == sidecar.pod
        aws.clear_faults()
        eventually(lambda: again.probe()[1]["reason"] == "registered")


@pytest.mark.slow
def test_an_answer_copied_to_another_workload_opens_nothing(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        kept = eventually(lambda: list(tmp_path.glob("answer-*.json")))[0]
    aws.fault("*", "drop_before", times=None)
    thief = Sidecar(aws, tmp_path)
    shutil.copy(kept, tmp_path / f"answer-{hashlib.sha256(thief.pod.encode()).hexdigest()[:32]}.json")
    with thief:
        assert thief.logged("registration.held")["kept_refused"] == "kept_other_workload"
        assert thief.probe()[0] == 503


@pytest.mark.slow
def test_a_kept_answer_opens_nothing_when_aws_says_no(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        eventually(lambda: list(tmp_path.glob("answer-*.json")))
    aws.fault("RegisterUsage", "CustomerNotEntitledException", times=None)
    with Sidecar(aws, tmp_path, POD_UID=sidecar.pod) as again:
        assert again.shows("denied")["reason"] == "customer_not_entitled"
        assert again.events("answer.reopened") == []


@pytest.mark.slow
def test_a_state_directory_that_cannot_be_written_does_not_hold_up_the_gate(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path, SIDECAR_STATE_DIR="/proc/nowhere") as sidecar:
        sidecar.shows("entitled")
        assert "/proc/nowhere" in str(sidecar.logged("answer.save_failed"))


STUCK_FSYNC = """
#include <unistd.h>
int fsync(int fd) { for (;;) pause(); }
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="making a disk stick needs a C compiler")
def test_a_stuck_disk_holds_up_neither_the_gate_nor_a_probe_nor_the_end(aws: Emulator, tmp_path: Path) -> None:
    """Every fsync hangs, as on a dead network disk."""
    source, shim = tmp_path / "stuck.c", tmp_path / "stuck.so"
    source.write_text(STUCK_FSYNC)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", shim, source], check=True)
    with Sidecar(aws, tmp_path, LD_PRELOAD=str(shim)) as sidecar:
        sidecar.shows("entitled")
        assert not list(tmp_path.glob("answer-*.json"))
        eventually(lambda: list(tmp_path.glob("answer-*.new")))  # the child is stuck; the gate was first
        assert sidecar.probe("/healthz")[0] == 200
        assert "does not answer" in sidecar.logged("answer.save_failed")["fault"]
        assert sidecar.probe()[0] == 200
    eventually(lambda: not _left_over(sidecar))


def test_bad_settings_are_all_listed_and_nothing_is_started(aws: Emulator, tmp_path: Path) -> None:
    sidecar = Sidecar(aws, tmp_path, SIDECAR_ON_DENIED="maybe", SIDECAR_REASK_SECONDS="soon", SIDECAR_UNHEARD_OF="1")
    with sidecar:
        assert sidecar.ended() == 78
    for words in ("SIDECAR_ON_DENIED", "'maybe'", "SIDECAR_REASK_SECONDS", "'soon'", "SIDECAR_UNHEARD_OF", "Example"):
        assert words in sidecar.text()
        assert words in sidecar.note.read_text()
    assert aws.calls() == []


@pytest.mark.slow
def test_a_service_named_sidecar_in_the_namespace_is_no_setting(aws: Emulator, tmp_path: Path) -> None:
    injected = {
        "SIDECAR_SERVICE_HOST": "10.0.0.1",
        "SIDECAR_SERVICE_PORT": "80",
        "SIDECAR_SERVICE_PORT_HTTP": "80",
        "SIDECAR_PORT": "tcp://10.0.0.1:80",
        "SIDECAR_PORT_80_TCP": "tcp://10.0.0.1:80",
        "SIDECAR_PORT_80_TCP_PROTO": "tcp",
        "SIDECAR_PORT_80_TCP_PORT": "80",
        "SIDECAR_PORT_80_TCP_ADDR": "10.0.0.1",
    }
    with Sidecar(aws, tmp_path, **injected) as sidecar:
        sidecar.shows("entitled")
        assert sidecar.command("settings").returncode == 0


def test_a_taken_port_is_named_and_nothing_is_started(aws: Emulator, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with Sidecar(aws, tmp_path, SIDECAR_PROBE_BIND=f"127.0.0.1:{port}") as sidecar:
            assert sidecar.ended() == 78
            assert f"127.0.0.1:{port}" in sidecar.text()
            assert "SIDECAR_PROBE_BIND" in sidecar.note.read_text()
    assert aws.calls() == []


def test_a_name_that_contradicts_the_pod_ends_it_with_78(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path, SIDECAR_WORKLOAD_ID="somebody-else") as sidecar:
        assert sidecar.ended() == 78
        assert "somebody-else" in sidecar.note.read_text()
        assert sidecar.pod in sidecar.note.read_text()


@pytest.mark.slow
def test_without_an_identity_a_uuid_names_it_and_nothing_is_kept(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        pass
    nameless = Sidecar(aws, tmp_path)
    del nameless.env["POD_UID"]
    Path(nameless.env["AWS_WEB_IDENTITY_TOKEN_FILE"]).write_text("a token that names no pod")
    with nameless:
        nameless.shows("entitled")
        status = nameless.api("GET /v1/status")[1]
        assert status["workload"]["kind"] == "nameless"
        assert (tmp_path / "workload-id").read_text().strip() == status["workload"]["id"]
    named = hashlib.sha256(str(status["workload"]["id"]).encode()).hexdigest()[:32]
    assert not (tmp_path / f"answer-{named}.json").exists()
    assert sidecar.pod != status["workload"]["id"]


@pytest.mark.slow
def test_without_a_pod_uid_the_pods_token_names_it(aws: Emulator, tmp_path: Path) -> None:
    sidecar = Sidecar(aws, tmp_path)
    del sidecar.env["POD_UID"]
    with sidecar:
        sidecar.shows("entitled")
        workload = sidecar.api("GET /v1/status")[1]["workload"]
        assert (workload["kind"], workload["id"]) == ("pod", sidecar.pod)


@pytest.mark.slow
def test_by_default_probes_answer_on_ipv4_and_ipv6_and_the_api_on_loopback_only(aws: Emulator, tmp_path: Path) -> None:
    port = free_port("::")
    with Sidecar(aws, tmp_path, SIDECAR_PROBE_BIND=f":{port}", SIDECAR_API_BIND=None) as sidecar:
        sidecar.probe_port = port
        sidecar.shows("entitled")
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port), 2):
                pass
        listening = sidecar.logged("sidecar.started")["listening"]
        assert listening["api"] == ["127.0.0.1:8485", "[::1]:8485"]


@pytest.mark.slow
@pytest.mark.parametrize("reporter", [False, True], ids=["alone", "with a reporter"])
@pytest.mark.parametrize("more", [{}, {"SIDECAR_DIMENSIONS": "requests"}], ids=["gate alone", "metering"])
def test_the_idle_worker_has_imported_nothing_heavy(
    aws: Emulator, tmp_path: Path, more: dict[str, str], reporter: bool
) -> None:
    """Looked at from outside: which files it maps, and what its own importer would have to have loaded."""
    heavy = ("botocore", "boto3", "jwt", "cryptography", "flask", "werkzeug", "yaml", "asyncio", "_rust")
    heavy += (
        "gunicorn",
        "email",
        "ssl",
        "s3transfer",
        "jmespath",
        "kubernetes",
        "urllib3",
        "requests",
        "pydantic",
        "http",
        "hashlib",
        "_hashlib",
        "hmac",
    )
    code = (
        "import sys, threading\n"
        "from sidecar.server import worker\n"
        "def tell():\n"
        "    with open(sys.argv[1], 'w') as file:\n"
        "        file.write(' '.join(sys.modules))\n"
        "freeze = worker._freeze_gc\n"
        "def settled():\n"
        "    freeze()\n"
        "    threading.Timer(2.0, tell).start()\n"
        "worker._freeze_gc = settled\n"
        f"{with_api_mount(tmp_path) if reporter else ''}"
        "from sidecar.__main__ import main\n"
        "sys.exit(main(['run']))\n"
    )
    told = tmp_path / "modules"
    sidecar = Sidecar(aws, tmp_path, **more)
    sidecar.line = [sys.executable, "-c", code, str(told)]
    sidecar.env |= POD if reporter else {}
    with sidecar:
        sidecar.shows("entitled")
        sidecar.probe("/healthz")
        modules = eventually(lambda: told.exists() and told.read_text()).split()
        maps = Path(f"/proc/{sidecar.worker()}/maps").read_text()
    found = [name for name in modules if name.split(".")[0] in heavy]
    assert found == []
    assert "sidecar.gate.loop" in modules, "the test looks at the right process"
    assert ("sqlite3" in modules) == bool(more), "who meters nothing loads nothing for it"
    assert ("sidecar.pod_status.reporter" in modules) == reporter, "a sidecar without a reporter loads no module of it"
    assert "sidecar.pod_status.writer" not in modules, "only the child writes"
    routes = ("sidecar.sources.", "sidecar.saas", "sidecar.gate.license_loop", "sidecar.gate.seat_keeper", "sqlalchemy")
    assert [name for name in modules if name.startswith(routes)] == [], (
        "who pulls nothing and holds no seat loads neither"
    )
    assert not [name for name in heavy if f"/{name}/" in maps]
    assert "libcrypto" not in maps


@pytest.mark.slow
def test_no_process_of_run_imports_boto3(aws: Emulator, tmp_path: Path) -> None:
    """Neither the worker nor a child, the forked first one and the spawned later ones: a stand-in notes its import."""
    noted = tmp_path / "imported"
    stand_in = tmp_path / "path" / "boto3.py"
    stand_in.parent.mkdir()
    stand_in.write_text(f"import pathlib; pathlib.Path({str(noted)!r}).touch()\n")
    sidecar = Sidecar(aws, tmp_path, SIDECAR_DIMENSIONS="requests", PYTHONPATH=str(stand_in.parent))
    with sidecar:
        sidecar.shows("entitled")
        assert sidecar.command("report", "requests", "3").returncode == 0
        sidecar.told(signal.SIGTERM)
        assert sidecar.ended() == 0
    assert sidecar.events("record.settled"), "a spawned child has called AWS"
    assert not noted.exists()
    subprocess.run([sys.executable, "-c", "import boto3"], env=sidecar.env, check=True)
    assert noted.exists(), "the stand-in is what an import finds"


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="a new PID namespace needs root")
def test_as_pid_1_it_reaps_orphans_and_forwards_sigterm_and_exit_code(aws: Emulator, tmp_path: Path) -> None:
    sidecar = Sidecar(aws, tmp_path, SIDECAR_ON_DENIED="exit", SIDECAR_REASK_SECONDS="0")
    inside = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*inside, "true"], check=False).returncode:
        pytest.skip("no PID namespaces here")
    with sidecar.start(inside) as running:
        running.shows("entitled")
        assert running.process is not None
        one = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/children").read_text().split()[0]
        enter = ["nsenter", "--target", one, "--pid", "--mount", "--"]
        orphan = "(sleep 0.2 & echo) | cat; exec true"
        subprocess.run([*enter, "setsid", "sh", "-c", orphan], check=True)
        eventually(lambda: "Z" not in _states(enter))
        os.kill(int(one), signal.SIGTERM)
        assert running.ended() == 0
    aws.unsubscribe()
    with Sidecar(aws, tmp_path, SIDECAR_ON_DENIED="exit").start(inside) as denied:
        assert denied.ended() == 77


def _states(enter: list[str]) -> str:
    shown = subprocess.run([*enter, "ps", "-eo", "stat="], capture_output=True, text=True, check=True)
    return "".join(line[0] for line in shown.stdout.split())


def test_no_secret_is_in_any_log_or_answer(aws: Emulator, tmp_path: Path) -> None:
    """Real ones: the signed token, the session credentials STS gave, the service-account token, the key."""
    secrets: set[str] = set()
    with Sidecar(aws, tmp_path, SIDECAR_LOG_LEVEL="debug") as sidecar:
        sidecar.shows("entitled")
        kept = eventually(lambda: list(tmp_path.glob("answer-*.json")))[0]
        secrets |= set(json.loads(kept.read_text())["token"].split("."))
        secrets.add(json.loads(kept.read_text())["token"])
        answers = [sidecar.api("GET /v1/status"), sidecar.probe("/entitled"), sidecar.api("GET /nowhere")]
        page = _raw(sidecar, "/metrics")
    identity = Path(sidecar.env["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text()
    key = "".join(sidecar.env["SIDECAR_PUBLIC_KEY"].splitlines()[1:-1])
    secrets |= {identity, identity.split(".")[1], key, key[40:120]}
    aws.behave(wrong_nonce=True)
    with Sidecar(aws, tmp_path, SIDECAR_LOG_LEVEL="debug") as refused:
        refused.shows("denied")
    everything = "\n".join([sidecar.text(), refused.text(), refused.note.read_text(), str(answers), page])
    for secret in secrets:
        assert len(secret) > 8
        assert secret not in everything
    for word in ("ASIA", "SessionToken", "SecretAccessKey", "BEGIN PUBLIC", "eyJ"):
        assert word not in everything


def _raw(sidecar: Sidecar, path: str) -> str:
    with socket.create_connection(("127.0.0.1", sidecar.probe_port), 5) as sock:
        sock.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        return b"".join(iter(lambda: sock.recv(65536), b"")).decode()


@pytest.mark.slow
def test_what_could_move_the_sdk_is_not_followed_and_that_is_said(aws: Emulator, tmp_path: Path) -> None:
    ambient = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_PROFILE": "nowhere", "REQUESTS_CA_BUNDLE": "/nowhere"}
    with Sidecar(aws, tmp_path, **ambient) as sidecar:
        sidecar.shows("entitled")
        assert sidecar.logged("endpoint.ignored")["variables"] == ["AWS_ENDPOINT_URL"]
        assert sidecar.logged("sdk_variable.ignored")["variables"] == ["AWS_PROFILE", "REQUESTS_CA_BUNDLE"]


@pytest.mark.slow
def test_neither_listener_says_what_serves_it(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        for path in ("/entitled", "/nowhere"):
            head = _raw(sidecar, path).split("\r\n\r\n")[0].lower()
            assert "server:" not in head


@pytest.mark.slow
def test_a_client_of_the_probe_listener_reaches_no_api_route(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        assert sidecar.api("GET /v1/status")[0] == 200, "the route exists"
        tricks = [
            "GET /v1/status HTTP/1.1\r\nHost: x",
            f"GET http://127.0.0.1:{sidecar.api_port}/v1/status HTTP/1.1\r\nHost: 127.0.0.1:{sidecar.api_port}",
            f"GET /v1/status HTTP/1.1\r\nHost: 127.0.0.1:{sidecar.api_port}",
            "GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Forwarded-Port: 8485\r\nForwarded: host=127.0.0.1:8485",
            "GET /entitled HTTP/1.1\r\nHost: x\r\nX-Original-URL: /v1/status\r\nX-Rewrite-URL: /v1/status",
            "GET /status HTTP/1.1\r\nHost: x\r\nSCRIPT_NAME: /v1\r\nPATH_INFO: /v1/status",
            "GET //v1/status HTTP/1.1\r\nHost: x",
            "GET /%76%31/status HTTP/1.1\r\nHost: x",
            "GET /entitled/../v1/status HTTP/1.1\r\nHost: x",
            "GET /entitled%00/v1/status HTTP/1.1\r\nHost: x",
        ]
        for trick in tricks:
            with socket.create_connection(("127.0.0.1", sidecar.probe_port), 5) as sock:
                sock.sendall(f"{trick}\r\nConnection: close\r\n\r\n".encode())
                answer = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
            assert "asking_since" not in answer, trick
            assert "credential_source" not in answer, trick


@pytest.mark.slow
@pytest.mark.parametrize("host", ["0.0.0.0", "[::]", ""])
def test_a_product_listener_beyond_loopback_warns_unless_a_token_is_set(
    aws: Emulator, tmp_path: Path, host: str
) -> None:
    sidecar = Sidecar(aws, tmp_path)
    sidecar.env["SIDECAR_API_BIND"] = f"{host}:{sidecar.api_port},127.0.0.1:{free_port()}"
    with sidecar:
        sidecar.shows("entitled")
        (address,) = sidecar.logged("listener.exposed")["addresses"]
        assert address.endswith(f":{sidecar.api_port}"), "loopback is not named"
        assert "SIDECAR_API_TOKEN_FILE" in sidecar.logged("listener.exposed")["hint"]
    (tmp_path / "token").write_text("token-of-the-acceptance-test")
    guarded = Sidecar(aws, tmp_path, SIDECAR_API_TOKEN_FILE=str(tmp_path / "token"))
    guarded.env["SIDECAR_API_BIND"] = f"{host}:{guarded.api_port}"
    with guarded:
        guarded.shows("entitled")
        assert "listener.exposed" not in guarded.text()


@pytest.mark.slow
def test_a_product_listener_on_loopback_does_not_warn(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        assert "listener.exposed" not in sidecar.text()
