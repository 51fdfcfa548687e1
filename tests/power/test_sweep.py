"""One failed call in a ledger's life: nothing acknowledged is lost, nothing counts twice, no ledger is set aside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.power import trace
from tests.power.campaign import ROOT
from tests.power.sweep import ENDS, Sweep, evenly

needs_cc = pytest.mark.skipif(not trace.available(), reason=trace.NEEDS)
CALLS = {"open", "read", "stat", "write", "sync", "rename", "unlink"}
"""Those of which a short sweep meets at least one."""


@needs_cc
@pytest.mark.slow
def test_a_call_that_fails_alone_loses_nothing_and_counts_nothing_twice(tmp_path: Path) -> None:
    report = Sweep(3, tmp_path).run_each(8)
    assert report.failures == []
    assert report.lives == report.failed.total() == 8 * 4 * len(ENDS)
    assert set(report.failed) >= CALLS
    assert report.refused["ledger_io_error"] > 10
    assert report.cuts == 3 * report.lives


@needs_cc
@pytest.mark.slow
def test_a_sweep_on_a_disk_that_lies_about_fsync_finds_losses(tmp_path: Path) -> None:
    report = Sweep(3, tmp_path, unsynced=True).run_each(2)
    found = str([failure["problems"] for failure in report.failures])
    assert "acknowledged events are not there" in found
    assert "answer is no version" in found


@pytest.mark.parametrize(
    ("count", "most", "numbers"),
    [(3, 0, [1, 2, 3]), (3, 9, [1, 2, 3]), (9, 2, [1, 9]), (9, 3, [1, 5, 9]), (0, 5, []), (5, 1, [1, 2, 3, 4, 5])],
)
def test_some_calls_are_chosen_evenly_from_the_first_to_the_last(count: int, most: int, numbers: list[int]) -> None:
    assert evenly(count, most) == numbers


def test_the_command_teaches_the_sweep() -> None:
    line = [sys.executable, "-m", "tests.power", "--help"]
    words = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "--each [MOST]" in words
