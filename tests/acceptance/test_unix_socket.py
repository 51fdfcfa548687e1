"""The product's listener on a Unix socket: the real process, our commands and curl."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from sidecar.cli import local_client
from sidecar.emulator import Emulator
from tests.acceptance.support import Sidecar, eventually

EVENT = '{"dimension": "requests", "quantity": 3, "id": "order-17"}'


def on_socket(aws: Emulator, directory: Path, **more: str | None) -> Sidecar:
    """A sidecar whose product's listener is a socket. Its commands find neither listener by a port."""
    given: dict[str, str | None] = {"SIDECAR_DIMENSIONS": "requests", **more}
    return Sidecar(aws, directory, SIDECAR_API_BIND=f"unix:{directory}/api.sock", **given)


def curl(path: Path, target: str, *more: str) -> tuple[int, str]:
    """Status and body."""
    line = ["curl", "-sS", "--unix-socket", str(path), "-w", "\n%{http_code}", *more, f"http://localhost{target}"]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=30, check=False)
    body, _, status = ended.stdout.rpartition("\n")
    return int(status or 0), body


@pytest.mark.slow
def test_every_command_and_curl_speak_it_and_it_is_gone_at_the_end(aws: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with on_socket(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        assert stat.S_IMODE(path.lstat().st_mode) == 0o660
        (started,) = sidecar.events("sidecar.started")
        assert started["listening"]["api"] == [f"unix:{path}"]
        assert not sidecar.events("listener.exposed")
        moved = {"SIDECAR_PROBE_BIND": "127.0.0.1:1"}  # where nobody answers: the socket alone has the gate
        for command, out in {
            ("healthcheck",): "entitled",
            ("wait", "--timeout", "10"): "",
            ("exec", "--timeout", "10", "--", "/bin/echo", "started"): "started",
            ("report", "requests", "3", "--id", "order-17"): "accepted",
            ("usage",): "requests",
            ("usage", "export"): "requests",
            ("pre-stop",): "settles",
        }.items():
            ended = sidecar.command(*command, **moved)
            assert (ended.returncode, out in ended.stdout) == (0, True), (command, ended.stdout, ended.stderr)
        assert "asked_just_now" in sidecar.command("recheck", **moved).stderr, "it was asked at the start"
        wait = sidecar.command("wait", "--timeout", "10", "--url", f"unix:{path}", SIDECAR_API_BIND="127.0.0.1:1")
        assert wait.returncode == 0, wait.stderr
        if shutil.which("curl"):
            assert curl(path, "/v1/usage", "-d", EVENT) == (200, '{"accepted": 0, "duplicates": 1}')
            assert curl(path, "/v1/status", "-H", "Host: evil.example")[0] == 403
            assert json.loads(curl(path, "/openapi.json")[1])["openapi"].startswith("3.1")
            assert curl(path, "/")[1].startswith("<!doctype html>")
        sidecar.told()
        assert sidecar.ended() == 0
    assert not path.exists()


@pytest.mark.slow
def test_doctor_and_the_support_bundle_ask_the_socket(aws: Emulator, tmp_path: Path) -> None:
    with on_socket(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        found = json.loads(sidecar.command("doctor", "--json").stdout)
        (listeners,) = [one for one in found["checks"] if one["id"] == "listeners"]
        assert (listeners["status"], "entitled" in listeners["seen"]) == ("pass", True), listeners
        assert sidecar.command("support-bundle", str(tmp_path / "bundle.tar.gz")).returncode == 0
    found = json.loads(sidecar.command("doctor", "--json").stdout)
    (listeners,) = [one for one in found["checks"] if one["id"] == "listeners"]
    assert (
        f"the ports are free: probe 127.0.0.1:{sidecar.probe_port}, api unix:{tmp_path}/api.sock" in listeners["seen"]
    )
    assert not (tmp_path / "api.sock").exists(), "looking makes none"


@pytest.mark.slow
def test_a_killed_sidecars_socket_is_replaced_and_a_running_ones_is_not(aws: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with on_socket(aws, tmp_path) as sidecar:
        sidecar.shows("entitled")
        assert sidecar.process is not None
        second = sidecar.command("run", SIDECAR_PROBE_BIND="127.0.0.1:0")
        assert second.returncode == 78
        assert f"cannot listen on unix:{path}: process {sidecar.worker()} (user " in second.stderr
        before = path.lstat().st_ino
        worker = sidecar.worker()
        os.kill(worker, signal.SIGSTOP)  # it would remove the file as it notices
        sidecar.told(signal.SIGKILL)
        os.kill(worker, signal.SIGKILL)
        sidecar.ended()
        eventually(lambda: not Path(f"/proc/{worker}").exists())
        assert path.lstat().st_ino == before, "nobody was left to remove it"
        with sidecar.start():
            sidecar.shows("entitled")
            assert sidecar.command("report", "requests", "1").returncode == 0


@pytest.mark.slow
def test_the_socket_answers_until_the_last_usage_is_sent(aws: Emulator, tmp_path: Path) -> None:
    """It is not removed as soon as SIGTERM comes, while the worker still takes usage."""
    path = tmp_path / "api.sock"
    aws.fault("MeterUsage", "hang", times=None)
    with on_socket(aws, tmp_path, SIDECAR_FLUSH_SECONDS="2") as sidecar:
        sidecar.shows("entitled")
        assert sidecar.command("report", "requests", "1").returncode == 0
        sidecar.told()

        def sealed_at_the_end() -> bool:
            _, found = local_client.get_json([str(path)], "GET /v1/usage", 2.0)
            records = found["records"]
            assert isinstance(records, list)
            return [one["state"] for one in records] == ["sealed"]

        assert eventually(sealed_at_the_end)
        assert sidecar.ended() == 0
    assert not path.exists()


@pytest.mark.slow
def test_a_worker_that_has_to_be_killed_at_the_end_leaves_no_socket(aws: Emulator, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    with on_socket(aws, tmp_path, SIDECAR_FLUSH_SECONDS="1") as sidecar:
        sidecar.shows("entitled")
        os.kill(sidecar.worker(), signal.SIGSTOP)
        assert path.exists()
        sidecar.told()
        assert sidecar.ended() == 0
    assert not path.exists()
    assert "did not end in time, and was killed" in sidecar.logged("server.error")["text"]
    assert sidecar.logged("sidecar.stopped")["exit_code"] == 0


@pytest.mark.parametrize("url", ["unix:api.sock"])
def test_an_address_that_is_no_path_is_refused(tmp_path: Path, url: str) -> None:
    ended = Sidecar(None, tmp_path).command("wait", "--url", url)
    assert ended.returncode == 78
    assert f"--url: '{url}' is not unix: and the absolute path of a file" in ended.stderr
