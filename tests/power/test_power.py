"""Everything acknowledged survives a power failure at any point, and the search notices where it does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.power import trace
from tests.power.campaign import ROOT, Campaign
from tests.power.workload import FAULTS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not trace.available(), reason=trace.NEEDS),
]


def test_after_each_cut_everything_acknowledged_is_there(tmp_path: Path) -> None:
    report = Campaign(15, tmp_path).run(400, cuts_a_life=40)
    assert report.failures == []
    assert (report.cuts, report.lives) == (400, 10)
    assert report.acknowledged > 200
    assert set(report.losses) == {"dropped", "kept", "prefix", "reordered"}
    assert set(report.faults) == set(FAULTS)


def test_a_disk_that_lies_about_fsync_is_found_out(tmp_path: Path) -> None:
    report = Campaign(1, tmp_path, unsynced=True).run(40)
    found = str([failure["problems"] for failure in report.failures])
    assert "acknowledged events are not there" in found
    assert "answer is no version" in found


def test_the_command_prints_what_it_did_as_json() -> None:
    line = [sys.executable, "-m", "tests.power", "--cuts", "5", "--seed", "2", "--pushes", "4", "--json"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["seed"], report["cuts"], report["failures"]) == (2, 5, [])
