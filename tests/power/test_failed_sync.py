"""What a sync did not put on disk is written again before the log is used: the kernel would never write it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.power import trace
from tests.power.campaign import ROOT, write
from tests.power.disk import Loss
from tests.power.judge import Said, problems

CODE = """
import ctypes, os, signal, sys
from pathlib import Path
from sidecar.ledger.ledger import Ledger
from tests.power import usage
from tests.power.workload import SHIM, FAULTS, mark
def opened(): return Ledger.open(Path(sys.argv[1]), usage.OWNER, usage.DIMENSIONS, usage.BEGIN)
ledger = opened()
for number in range(1, 13):
    for push in (f"refused-{number}", f"kept-{number}"):
        mark(begun=push)
    SHIM.power_fail_from(FAULTS.index("EIO"), number)  # from this call on, in a commit or behind it
    if hasattr(ledger.push(usage.events_of(f"refused-{number}"), usage.BEGIN), "accepted"):
        mark(acknowledged=f"refused-{number}")
    else:
        mark(refused=ledger.fault.reason)
    ledger.close()
    SHIM.power_fail(0, 0)
    ledger = opened()
    if ledger.push(usage.events_of(f"kept-{number}"), usage.BEGIN).accepted:
        mark(acknowledged=f"kept-{number}")
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.slow
@pytest.mark.skipif(not trace.available(), reason=trace.NEEDS)
def test_a_commit_whose_sync_failed_hides_none_that_follows(tmp_path: Path) -> None:
    """Its pages are in the kernel's memory, where the next opening reads them, and perhaps not on disk."""
    state, record = tmp_path.resolve() / "state", tmp_path / "trace"
    state.mkdir()
    environment = trace.environment(trace.compile_shim(tmp_path), state, record)
    done = subprocess.run(
        [sys.executable, "-c", CODE, state],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == -9, done.stderr
    calls = trace.read(record)
    assert "E" in [call.op for call in calls], "a sync has failed"
    wrong = []
    for seed in range(20):
        chance = random.Random(seed)
        replay = trace.Replay({}, state, chance)
        list(replay.play(calls))
        write(tmp_path / "image", replay.disk.image(Loss.DROPPED, chance))
        wrong += problems(tmp_path / "image", Said.of(replay.marks), 0, [])
    assert wrong == []
