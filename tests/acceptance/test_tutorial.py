"""The tutorial works as it is written: its commands, typed into three terminals, with other ports."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.acceptance.support import clean_environment, eventually
from tests.ports import free_port

ROOT: Final = Path(__file__).resolve().parents[2]
TUTORIAL: Final = ROOT / "docs" / "tutorial.md"
STEPS: Final = (
    "emulator", "variables", "run", "entitled", "report", "speed", "bill",
    "unsubscribe", "another pod", "denied", "subscribe", "again",
)  # fmt: skip


def steps(ports: Mapping[str, int]) -> dict[str, str]:
    """Return the shell blocks that are typed by hand, by what they do."""
    by_hand = TUTORIAL.read_text().split("\n## 2. ")[1]
    found = re.findall(r"^```sh\n(.*?)^```$", by_hand, re.MULTILINE | re.DOTALL)
    assert len(found) == len(STEPS)
    text = "\0".join(found).replace(".venv/bin/entitlement-sidecar", f"{sys.executable} -m sidecar")
    for written, used in ports.items():
        text = text.replace(f":{written}", f":{used}")
    text = text.replace(
        "sidecar emulator", f"sidecar emulator --port {ports['8486']} --clock-start 2026-01-31T10:20:00Z"
    )
    return dict(zip(STEPS, text.split("\0"), strict=True))


def typed(block: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", block], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def exported(block: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a terminal after its exports."""
    done = typed(f"{block}\nenv -0", environment)
    return dict(pair.partition("=")[::2] for pair in done.stdout.split("\0") if pair)


def billed(shown: str) -> bool:
    return '"total":"12"' in shown and "\tsettled\t12\t" in shown


@contextmanager
def left_running(block: str, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    """Run a block in a terminal, and press Ctrl-C there at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", block], env=environment, cwd=ROOT, stdout=output, stderr=output, start_new_session=True
        )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not on PATH")
def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    ports = {name: free_port() for name in ("8484", "8485", "8486")}
    step = steps(ports)
    environment = clean_environment() | {
        "SIDECAR_PROBE_BIND": f"127.0.0.1:{ports['8484']}",
        "SIDECAR_API_BIND": f"127.0.0.1:{ports['8485']}",
        "TMPDIR": str(tmp_path),
        "PYTHONUNBUFFERED": "1",
    }
    printed = tmp_path / "emulator.log"
    with left_running(step["emulator"], environment, printed):
        eventually(lambda: "AWS_SECRET_ACCESS_KEY" in printed.read_text())
        variables = re.search(r"^export SIDECAR_.*?^export AWS_SECRET.*?$", printed.read_text(), re.M | re.S)
        assert variables is not None
        environment = exported(variables[0] + "\n" + step["variables"], environment)

        with left_running(step["run"], environment, tmp_path / "run.log"):
            entitled = typed(step["entitled"], environment)
            assert "hello" in entitled.stdout
            eventually(lambda: "ledger.opened" in (tmp_path / "run.log").read_text())
            reported = typed(step["report"], environment).stdout
            assert '{"accepted": 1, "duplicates": 0}' in reported
            assert "duplicate\n" in reported
            assert "\topen\t12\t" in reported
            typed(step["speed"], environment)
            eventually(lambda: billed(typed(step["bill"], environment).stdout))

        typed(step["unsubscribe"], environment)
        with left_running(step["another pod"], environment, tmp_path / "another.log"):
            denied = typed(step["denied"], environment)
            assert (denied.returncode, denied.stdout) == (77, "")
            assert "customer_not_entitled" in denied.stderr
            eventually(lambda: typed(step["subscribe"], environment).returncode == 0)
            eventually(lambda: typed(step["again"], environment).stdout == "hello\n")
