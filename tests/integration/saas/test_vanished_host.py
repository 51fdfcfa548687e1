"""A replica whose host vanishes, so that no packet ends its connection, is followed within a minute."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.postgresql import ABSENT, binaries

ROOT = Path(__file__).parents[3]
UNSHARE = ("unshare", "--net")


@pytest.mark.slow
@pytest.mark.parametrize("holds", ["idle", "transaction"])
def test_a_leader_whose_host_vanished_is_followed_within_a_minute(holds: str) -> None:
    if binaries() is None:
        pytest.skip(ABSENT)
    if os.getuid() or subprocess.run([*UNSHARE, "ip", "link"], check=False, capture_output=True).returncode:
        pytest.skip("no network namespace is permitted here")
    done = subprocess.run(
        [*UNSHARE, sys.executable, "-m", "tests.integration.saas.vanished_host", holds],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert (done.stdout, done.returncode) == ("followed\n", 0), done.stderr
