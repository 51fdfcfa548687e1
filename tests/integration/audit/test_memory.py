"""Memory does not grow with the input."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def measured(lines: int, pods: int) -> int:
    """Run the benchmark, which fails unless exactly its one difference is found, and return the peak in MiB."""
    command = [sys.executable, "bench/reconcile.py", "--lines", str(lines), "--pods", str(pods)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) MiB of memory", done.stdout)
    assert found
    return int(found[1])


def test_the_benchmark_finds_the_one_difference_it_makes() -> None:
    assert measured(400, 20) < 150


@pytest.mark.slow
def test_a_million_lines_stay_below_150_mib() -> None:
    assert measured(1_000_000, 2_000) < 150
