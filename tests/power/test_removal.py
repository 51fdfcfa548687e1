"""A small file that was removed stays away, also where the first try failed half-way."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.power import trace
from tests.power.campaign import ROOT
from tests.power.disk import Loss

CODE = """
import ctypes, sys
from pathlib import Path
from sidecar.ledger import kept_file
shim, path = ctypes.CDLL(None), Path(sys.argv[1])
shim.power_fail(1, 2)  # the first call that changes something is done, the second fails
try:
    kept_file.remove(path)
except OSError:
    shim.power_fail(0, 0)
    shim.power_mark(b"1", 1)
    if sys.argv[2] == "again":
        kept_file.remove(path)
"""


@pytest.mark.skipif(not trace.available(), reason=trace.NEEDS)
@pytest.mark.parametrize(("tries", "left"), [("again", {}), ("once", {"seats": b"held"})])
def test_a_removal_whose_sync_failed_is_durable_once_it_succeeds(
    tmp_path: Path, tries: str, left: dict[str, bytes]
) -> None:
    state, record = tmp_path.resolve() / "state", tmp_path / "trace"
    state.mkdir()
    (state / "seats").write_bytes(b"held")
    subprocess.run(
        [sys.executable, "-c", CODE, state / "seats", tries],
        env=trace.environment(trace.compile_shim(tmp_path), state, record),
        cwd=ROOT,
        check=True,
        timeout=60,
    )
    replay = trace.Replay({"seats": b"held"}, state, random.Random(1))
    list(replay.play(trace.read(record)))
    assert replay.marks == [1], "the first removal failed"
    assert replay.disk.image(Loss.DROPPED, random.Random(1)) == left
