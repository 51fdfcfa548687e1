"""What a sync did not put on disk is written again before the log is used: the kernel would never write it."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.ledger import volume, wal
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushAccepted
from tests.power import trace, usage
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


ON_ONE_CONNECTION = """
import os, signal, sys
from pathlib import Path
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushRefused, UsageEvent
from tests.power import usage
from tests.power.workload import SHIM, FAULTS
ledger = Ledger.open(Path(sys.argv[1]), usage.OWNER, usage.DIMENSIONS, usage.BEGIN)
large = tuple(UsageEvent(dimension="requests", micros=1_000_000, id=f"large-{number}") for number in range(900))
SHIM.power_fail_from(FAULTS.index("EIO"), int(sys.argv[2]))
refused = isinstance(ledger.push(large, usage.BEGIN), PushRefused)
SHIM.power_fail(0, 0)
for push in ("kept", "last"):
    assert ledger.push(usage.events_of(push), usage.BEGIN).accepted
print("refused" if refused else "accepted", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def lose_start_of_last_commit(path: Path) -> None:
    """Change the log to one whose last commit was on its way to the disk when the power failed."""
    with wal.path_of(path).open("r+b") as file:
        log = wal._read(file.fileno())
        commits = [number for number in range(log.whole) if log.frames[number].commits]
        assert commits[-1] - commits[-2] > 1, "a commit of several pages"
        file.seek(wal.HEADER.size + (commits[-2] + 1) * wal.FRAME_BYTES)
        file.write(bytes(wal.FRAME_BYTES))


@pytest.mark.slow
@pytest.mark.skipif(not trace.available(), reason=trace.NEEDS)
def test_what_is_left_of_a_failed_commit_is_no_damage_behind_later_ones(tmp_path: Path) -> None:
    """Where the disk fails once more while that is written over, no other commit comes before it is."""
    refused = 0
    for number in range(15, 29):  # the sync of the commit is call 21
        state, record = tmp_path.resolve() / f"state-{number}", tmp_path / "trace"
        state.mkdir()
        environment = trace.environment(trace.compile_shim(tmp_path), state, record)
        done = subprocess.run(
            [sys.executable, "-c", ON_ONE_CONNECTION, state, str(number)],
            env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == -9, done.stderr
        refused += done.stdout.strip() == "refused"
        lose_start_of_last_commit(volume.ledger_path(state, usage.OWNER.workload))
        ledger = Ledger.open(state, usage.OWNER, usage.DIMENSIONS, usage.BEGIN)
        try:
            assert not ledger.set_aside, f"failed from call {number} on"
            events = usage.events_of("kept")
            assert ledger.push(events, usage.BEGIN) == PushAccepted(accepted=0, duplicates=len(events))
        finally:
            ledger.close()
    assert 2 < refused < 14, "some calls are before the sync, and some behind it"
