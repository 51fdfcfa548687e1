"""A reader of stdout that is stuck, slow or gone delays neither gate nor probes nor the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.support import Sidecar, eventually

pytestmark = pytest.mark.slow  # each starts processes

F_SETPIPE_SZ = 1031


@pytest.fixture
def stuck_pipe() -> Iterator[int]:
    """A pipe with room for one short line, which is not read."""
    reads, writes = os.pipe()
    fcntl.fcntl(writes, F_SETPIPE_SZ, 4096)
    os.set_blocking(writes, False)
    with contextlib.suppress(BlockingIOError):
        os.write(writes, b"x" * 3600)
    os.set_blocking(writes, True)
    yield writes
    os.close(reads)
    os.close(writes)


def run(sidecar: Sidecar, stdout: int) -> subprocess.Popen[bytes]:
    sidecar.process = subprocess.Popen(
        sidecar.line, env=sidecar.env, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.DEVNULL
    )
    return sidecar.process


def test_a_stuck_reader_shuts_no_gate_and_holds_up_no_probe_and_no_end(
    aws: Emulator, tmp_path: Path, stuck_pipe: int
) -> None:
    aws.fault("RegisterUsage", "ThrottlingException", times=3)
    sidecar = Sidecar(aws, tmp_path)
    process = run(sidecar, stuck_pipe)
    with sidecar:
        eventually(lambda: sidecar.probe()[0] == 200)
        assert sidecar.probe("/healthz")[0] == 200
        assert sidecar.api("POST /v1/recheck")[0] in (202, 429)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert time.monotonic() - began < 4


def test_a_stuck_reader_does_not_keep_a_denied_process_from_ending_with_77(
    aws: Emulator, tmp_path: Path, stuck_pipe: int
) -> None:
    aws.unsubscribe()
    sidecar = Sidecar(aws, tmp_path, SIDECAR_ON_DENIED="exit")
    assert run(sidecar, stuck_pipe).wait(15) == 77
    assert "customer_not_entitled" in sidecar.note.read_text()


def test_a_reader_who_leaves_after_one_line_is_no_error(aws: Emulator, tmp_path: Path) -> None:
    reads, writes = os.pipe()
    sidecar = Sidecar(aws, tmp_path)
    errors = tmp_path / "stderr"
    with errors.open("wb") as stderr:
        sidecar.process = subprocess.Popen(sidecar.line, env=sidecar.env, stdout=writes, stderr=stderr)
        os.close(writes)
        os.read(reads, 1)
        os.close(reads)
        with sidecar:
            eventually(lambda: sidecar.probe()[0] == 200)
            sidecar.told(signal.SIGTERM)
            assert sidecar.ended() == 0
    assert errors.read_bytes() == b""


def test_a_very_long_answer_of_aws_ends_nothing(aws: Emulator, tmp_path: Path) -> None:
    aws.fault("RegisterUsage", "A" * 9000, times=1)
    sidecar = Sidecar(aws, tmp_path, POD_NAME="p" * 20_000)
    with sidecar:
        shown = sidecar.shows("misconfigured")
        assert shown["reason"] == "unknown_error"
        assert len(shown["hint"]) < 3000
        assert sidecar.process is not None
        assert sidecar.process.poll() is None


def test_wait_keeps_to_its_time_against_a_server_that_trickles(tmp_path: Path) -> None:
    code = (
        "import socket, sys, time\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "print(server.getsockname()[1], flush=True)\n"
        "while True:\n"
        "    client, _ = server.accept()\n"
        "    try:\n"
        "        client.sendall(b'HTTP/1.1 200 OK\\r\\n')\n"
        "        while True:\n"
        "            client.sendall(b'X-Slow: 1\\r\\n')\n"
        "            time.sleep(0.2)\n"
        "    except OSError:\n"
        "        pass\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = server.stdout.readline().strip()
    try:
        began = time.monotonic()
        done = Sidecar(None, tmp_path).command("wait", "--timeout", "1", "--url", f"http://127.0.0.1:{port}")
        assert done.returncode == 69
        assert time.monotonic() - began < 6
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="a network of its own needs root")
def test_without_a_network_the_hint_names_both_hosts_that_must_be_reached(tmp_path: Path) -> None:
    if subprocess.run(["unshare", "--net", "true"], check=False).returncode:
        pytest.skip("no network namespaces here")
    sidecar = Sidecar(None, tmp_path, SIDECAR_PUBLIC_KEY=_key())
    lonely = ["unshare", "--net", "sh", "-c", 'ip link set lo up 2>/dev/null; exec "$@"', "sh"]
    with sidecar.start(lonely):
        hint = sidecar.logged("registration.held")["hint"]
    assert "metering.marketplace.us-east-1.amazonaws.com" in hint
    assert "sts.us-east-1.amazonaws.com" in hint


def _key() -> str:
    from sidecar.emulator.keys import SigningKeys

    return SigningKeys((1,)).public_pem(1)
