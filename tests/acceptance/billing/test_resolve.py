"""Usage that waits for a person or for a region: real processes, decisions by command."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from sidecar.errors import Exit
from tests.acceptance.billing.metered import SLOW, Metered, Product, at, hours, waiting
from tests.acceptance.support import eventually

pytestmark = pytest.mark.slow  # each test starts a sidecar several times


def disputed(aws: Emulator, directory: Path) -> Metered:
    """A workload that reported 5 for its hour, lost its state, and counts 7 for the same hour."""
    (directory / "lost").mkdir()
    first = Metered(aws, directory, SIDECAR_STATE_DIR=str(directory / "lost")).start().ready()
    Product().used(first, 5)
    first.told()
    assert first.ended(SLOW) == 0
    again = first.again(SIDECAR_STATE_DIR=str(directory)).start().ready()
    Product().used(again, 7)
    aws.set_clock(now=at("11:10"))
    again.logged("record.disputed", SLOW)
    return again


def retry(sidecar: Metered, *options: str) -> subprocess.CompletedProcess[str]:
    return sidecar.command("usage", "retry", *options)


def records(sidecar: Metered) -> dict[str, tuple[str, str, str | None]]:
    found = json.loads(sidecar.command("usage", "--json").stdout)["records"]
    return {one["workload"]: (one["state"], one["quantity"], one["aws_quantity"]) for one in found}


def test_a_dispute_is_settled_at_the_quantity_that_aws_billed(aws: Emulator, tmp_path: Path) -> None:
    sidecar = disputed(aws, tmp_path)
    day = sidecar.command("usage", "--json").stdout
    hour = json.loads(day)["records"][0]["hour"]
    done = retry(sidecar, "--hour", hour, "--dimension", "requests", "--accept-aws", "5")
    assert (done.returncode, done.stderr) == (0, "")
    assert records(sidecar)[sidecar.pod] == ("settled", "7", "5")
    sidecar.look()
    quantities = sidecar.metering()["quantities"]["requests"]
    assert (quantities["settled"], quantities["waiting"], quantities["written_off"]) == ("7", "0", "2")
    lines = [json.loads(line) for line in sidecar.command("usage", "export").stdout.splitlines()]
    assert [one["aws_quantity"] for one in lines if one["record"] == "usage"] == ["5"]
    assert hours(aws) == {"10": 5}
    assert retry(sidecar, "--hour", hour, "--dimension", "requests", "--accept-aws", "many").returncode == Exit.REFUSED


def test_a_person_decides_about_a_dispute_that_a_dead_workload_left(aws: Emulator, tmp_path: Path) -> None:
    dead = disputed(aws, tmp_path)
    living = Metered(aws, tmp_path).start().ready()
    locked = retry(living, "--workload", dead.pod, "--roll-forward")
    assert (locked.returncode, "ledger_locked" in locked.stderr) == (Exit.REFUSED, True)
    dead.killed()
    eventually(lambda: dead.pod in records(living), SLOW)
    assert records(living)[dead.pod] == ("disputed", "7", None)
    for options, reason in ((("--workload", dead.pod), "workload_gone"), (("--workload", "x"), "workload_not_found")):
        refused = retry(living, *options)
        assert (refused.returncode, reason in refused.stderr) == (Exit.REFUSED, True), refused.stderr
    done = retry(living, "--workload", dead.pod, "--roll-forward")
    assert (done.returncode, "rolled_forward" in done.stdout) == (0, True), done.stderr
    assert dead.pod not in records(living)
    living.told()
    assert living.ended(SLOW) == 0
    assert hours(aws, living.pod) == {"11": 7}
    assert waiting(dead) == waiting(living) == 0


def test_usage_without_a_region_is_kept_and_billed_once_it_is_known(aws: Emulator, tmp_path: Path) -> None:
    nowhere: dict[str, str | None] = {"AWS_REGION": None, "AWS_EC2_METADATA_DISABLED": "true"}
    sidecar = Metered(aws, tmp_path, **nowhere).start()
    eventually(lambda: sidecar.probe()[1].get("status") == "misconfigured", SLOW)
    sidecar.takes_usage()
    Product().used(sidecar, 7)
    sidecar.told()
    assert sidecar.ended(SLOW) == 0
    assert hours(aws) == {}
    assert sidecar.logged("usage.left_behind")["left"]["quantity"] == "7"
    again = sidecar.again().start().ready()
    again.until_settled()
    assert hours(aws) == {"10": 7}
