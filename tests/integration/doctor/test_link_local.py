"""The node's role and the task's role, at the addresses that EC2 and ECS really have."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.emulator.keys import SigningKeys

from . import link_local

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def found(keys: SigningKeys) -> dict[str, tuple[str, str, str]]:
    """Return status, what was seen, and the fix of each case."""
    unshare = ["unshare", "--net"] if os.getuid() == 0 else ["unshare", "--net", "--map-root-user"]
    if subprocess.run([*unshare, "ip", "link"], check=False, capture_output=True).returncode:
        pytest.skip("no network namespace is permitted here")
    done = subprocess.run(
        [*unshare, sys.executable, "-m", "tests.integration.doctor.link_local"],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "KEY": keys.public_pem(1)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert link_local.SECRET not in done.stdout
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {case: (status, seen, fix) for case, _, status, seen, fix in rows}


def test_the_role_of_a_task_passes(found: dict[str, tuple[str, str, str]]) -> None:
    status, seen, _ = found["task role"]
    assert status == "pass"
    assert "the ECS task role (the SDK's container-role)" in seen


def test_the_role_of_the_instance_in_a_task_fails_with_task_role_arn(found: dict[str, tuple[str, str, str]]) -> None:
    status, seen, fix = found["task without a role"]
    assert status == "fail"
    assert "the node's instance role (the SDK's iam-role): not accepted for RegisterUsage" in seen
    assert "taskRoleArn" in fix


def test_the_role_of_an_instance_fails(found: dict[str, tuple[str, str, str]]) -> None:
    status, _, fix = found["instance"]
    assert status == "fail"
    assert "does not accept the node's role" in fix


def test_the_region_of_the_instance_is_the_last_resort(found: dict[str, tuple[str, str, str]]) -> None:
    assert found["instance's region"][:2] == ("pass", "us-east-1, from instance metadata")
