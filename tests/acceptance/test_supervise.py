"""Both processes of one container: what ends them, and with which code. The sidecar is a shell script."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.support import eventually

HARNESS = """
import os, subprocess, sys
from sidecar.cli import supervise, wait
wait._look = lambda url, timeout: (int(os.environ["GATE"]), "a gate")
real, starts = subprocess.Popen, 0
def start(command, **more):
    global starts
    if not more.get("start_new_session"):
        return real(command, **more)
    starts += 1
    if str(starts) in os.environ["FAILS"].split():
        raise BlockingIOError(11, "Resource temporarily unavailable")
    return real(["sh", "-c", sys.argv[1], "sidecar", str(starts)], **more)
supervise.subprocess.Popen = start
supervise.AGAIN_SECONDS = 0.05
sys.exit(supervise.supervise(20, ["sh", "-c", sys.argv[2]]))
"""
STAYS = "echo sidecar; trap 'echo last; exit 0' TERM; while :; do sleep 0.02; done"
PRODUCT = "echo product; trap 'exit 9' QUIT TERM HUP; while :; do sleep 0.02; done"


class Both:
    """The supervisor, with what it and its children say."""

    def __init__(self, process: subprocess.Popen[str], said: Path) -> None:
        self.process, self._said = process, said

    def text(self) -> str:
        return self._said.read_text()

    def until(self, text: str) -> None:
        eventually(lambda: text in self.text())

    def ended(self) -> int:
        return self.process.wait(timeout=30)


@contextlib.contextmanager
def both(
    directory: Path, sidecar: str = STAYS, product: str = PRODUCT, gate: int = 200, fails: str = "", ignored: int = 0
) -> Iterator[Both]:
    said = directory / "said"
    argv = [sys.executable, "-c", HARNESS, sidecar, product]
    before = signal.signal(ignored, signal.SIG_IGN) if ignored else None  # which a child inherits
    with said.open("w") as out:
        process = subprocess.Popen(
            argv, stdout=out, stderr=out, text=True, env=os.environ | {"GATE": str(gate), "FAILS": fails}
        )
    if ignored:
        signal.signal(ignored, before)
    try:
        yield Both(process, said)
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(("product", "code"), [("exit 5", 5), ("kill -TERM $$", 143), ("kill -KILL $$", 137)])
@pytest.mark.parametrize("ignored", [0, signal.SIGCHLD], ids=["", "children reap themselves"])
def test_the_code_is_the_products_and_the_sidecar_ends_after_it(
    tmp_path: Path, product: str, code: int, ignored: int
) -> None:
    with both(tmp_path, product=f"sleep 0.2; {product}", ignored=ignored) as one:
        assert one.ended() == code
        assert one.text().splitlines()[-1] == "last"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP])
def test_whatever_the_image_calls_its_stop_signal_reaches_the_product(tmp_path: Path, number: int) -> None:
    with both(tmp_path) as one:
        one.until("product")
        one.until("sidecar")
        one.process.send_signal(number)
        assert one.ended() == 9
        assert one.text().splitlines()[-1] == "last"


def test_signals_while_the_gate_is_shut_end_the_sidecar_and_nothing_else_happens(tmp_path: Path) -> None:
    with both(tmp_path, gate=503) as one:
        one.until("sidecar")
        one.process.send_signal(signal.SIGTERM)
        for _ in range(20):
            one.process.send_signal(signal.SIGINT)
        assert one.ended() in (128 + signal.SIGTERM, 128 + signal.SIGINT)
        assert one.text().splitlines()[-1] == "last"
        assert "Traceback" not in one.text()


def test_a_sidecar_that_cannot_be_started_is_named_and_the_product_is_not_started(tmp_path: Path) -> None:
    with both(tmp_path, fails="1") as one:
        assert one.ended() == 70
        assert one.text() == "the sidecar cannot be started: Resource temporarily unavailable; sh was not started\n"


def test_a_sidecar_that_cannot_be_started_again_is_tried_until_it_is_and_the_product_stays(tmp_path: Path) -> None:
    breaks = f'[ "$1" = 1 ] && sleep 0.3 && exit 70; {STAYS}'
    with both(tmp_path, breaks, fails="2 3") as one:
        one.until("product")
        one.until("sidecar\n")
        one.process.send_signal(signal.SIGTERM)
        assert one.ended() == 9
        assert one.text().count("the sidecar cannot be started: Resource temporarily unavailable; it is tried") == 2
        assert one.text().splitlines()[-1] == "last"


def test_a_sidecar_that_cannot_be_started_at_the_end_leaves_the_products_code(tmp_path: Path) -> None:
    with both(tmp_path, "sleep 0.3; kill -KILL $$", fails="2 3 4 5 6 7 8 9 10 11 12") as one:
        one.until("is tried again")
        one.process.send_signal(signal.SIGTERM)
        assert one.ended() == 9
        assert "the sidecar was killed by SIGKILL; what it has not sent is in its ledger" in one.text()


def test_a_closed_stderr_ends_nothing(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    breaks = f'[ "$1" = 1 ] && sleep 0.3 && exit 70; {STAYS}'
    started = tmp_path / "again"
    argv = [sys.executable, "-c", HARNESS, f'echo "$1" > {started}; {breaks}', PRODUCT]
    env = os.environ | {"GATE": "200", "FAILS": ""}
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=writes, env=env) as one:
        os.close(writes)
        os.close(reads)
        eventually(lambda: started.exists() and started.read_text() == "2\n")
        one.send_signal(signal.SIGTERM)
        assert one.wait(timeout=30) == 9
