"""doctor as a real process: beside a running sidecar, before one starts, and where something is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sidecar.doctor.checks.state_dir import LAYERS, kind_of
from sidecar.emulator import Emulator
from sidecar.ledger.volume import ledger_path
from tests.acceptance.support import Sidecar
from tests.fakes.peer import Peer, http_answer

pytestmark = pytest.mark.slow  # each starts processes

IDS = [
    "settings",
    "manifest",
    "public_key",
    "workload",
    "region",
    "credentials",
    "identity",
    "dns",
    "tcp",
    "tls",
    "proxy",
    "clock",
    "iam",
    "state_dir",
    "ledger",
    "disk",
    "listeners",
    "kubernetes",
]
NOT_HERE = {"manifest", "tls", "proxy", "kubernetes"}
"""No manifest, an emulator over plain HTTP, no proxy, no token for a cluster."""


STATUSES = ("pass", "warn", "fail", "skip")


def statuses(checks: Mapping[str, Any]) -> dict[str, set[str]]:
    """Ids by status, but for the disk of a busy machine, which may be slow."""
    found = {id_: one["status"] for id_, one in checks.items() if id_ != "disk" or one["status"] == "fail"}
    return {status: {id_ for id_ in found if found[id_] == status} for status in STATUSES}


def all_is_well(directory: Path) -> dict[str, set[str]]:
    """Ids by status where nothing is wrong; a layer of a container is no volume."""
    warns = {"state_dir"} if kind_of(directory) in LAYERS else set()
    return {"pass": set(IDS) - NOT_HERE - warns - {"disk"}, "warn": warns, "fail": set(), "skip": NOT_HERE}


def diagnosis(sidecar: Sidecar, code: int) -> dict[str, Any]:
    """Run doctor with the sidecar's environment, which ends with `code`. Return the checks by id."""
    done = sidecar.command("doctor", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == "", "no progress where stderr is no terminal"
    found = json.loads(done.stdout)
    assert set(found) == {"ok", "checks"}
    assert found["ok"] is (code == 0)
    assert [list(one) for one in found["checks"]] == [["id", "status", "seen", "rule", "fix"]] * len(IDS)
    assert [one["id"] for one in found["checks"]] == IDS
    for secret in (Path(sidecar.env["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text(), sidecar.env["SIDECAR_PUBLIC_KEY"]):
        assert secret not in done.stdout
    return {one["id"]: one for one in found["checks"]}


def asked(aws: Emulator) -> list[tuple[str, str]]:
    return [(call.operation, call.answer) for call in aws.calls() if call.operation in ("RegisterUsage", "MeterUsage")]


def test_beside_a_running_sidecar_nothing_is_registered_billed_or_locked(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path, SIDECAR_DIMENSIONS="requests", REQUESTS_CA_BUNDLE=None) as sidecar:
        sidecar.shows("entitled")
        assert sidecar.command("report", "requests", "5").returncode == 0
        before = asked(aws)
        checks = diagnosis(sidecar, 0)
        assert statuses(checks) == all_is_well(tmp_path)
        assert "entitled (registered)" in checks["listeners"]["seen"]
        assert "requests: 5 accepted, 5 waiting" in checks["ledger"]["seen"]
        assert asked(aws) == [*before, ("MeterUsage", "DryRunOperation")]
        assert checks["iam"]["status"] == "pass"
        assert "the sidecar that runs here was answered" in checks["iam"]["seen"]
        assert sidecar.command("report", "requests", "1").returncode == 0
    assert aws.usage_records(), "the sidecar went on metering"


def test_before_a_sidecar_starts_nothing_is_left_behind(aws: Emulator, tmp_path: Path) -> None:
    """As an init container or a task override: the sidecar that starts next finds nothing of it."""
    sidecar = Sidecar(aws, tmp_path, SIDECAR_DIMENSIONS="requests", REQUESTS_CA_BUNDLE=None)
    before = sorted(tmp_path.iterdir())
    checks = diagnosis(sidecar, 0)
    assert statuses(checks) == all_is_well(tmp_path)
    assert "the ports are free" in checks["listeners"]["seen"]
    assert sorted(tmp_path.iterdir()) == before
    assert [operation for operation, _ in asked(aws)] == ["MeterUsage"]
    with sidecar:
        sidecar.shows("entitled")


def test_a_denied_sidecar_is_explained_beside_it(aws: Emulator, tmp_path: Path) -> None:
    aws.behave(allowed=False)
    with Sidecar(aws, tmp_path) as sidecar:
        sidecar.shows("misconfigured")
        checks = diagnosis(sidecar, 1)
    assert checks["iam"]["status"] == "fail"
    assert "aws-marketplace:RegisterUsage" in checks["iam"]["fix"]


def test_what_is_wrong_is_a_line_with_a_fix_and_no_traceback(aws: Emulator, tmp_path: Path) -> None:
    done = Sidecar(aws, tmp_path, SIDECAR_ON_DENIED="explode").command("doctor")
    assert done.returncode == 1
    assert "\tfail\t" in done.stdout
    assert "\tfix\t" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_several_faults_are_each_named_in_one_run(aws: Emulator, tmp_path: Path) -> None:
    """A damaged ledger, a port that another program has, an AWS without TLS, and a role that is missing."""
    with Peer([http_answer(200, "hello")]) as neighbour:
        sidecar = Sidecar(
            aws,
            tmp_path,
            SIDECAR_DIMENSIONS="requests",
            SIDECAR_ENDPOINT_URL=f"https://127.0.0.1:{aws.port}",
            SIDECAR_API_BIND=f"127.0.0.1:{neighbour.port}",
            AWS_ROLE_ARN=None,
        )
        ledger = ledger_path(tmp_path, sidecar.pod)
        ledger.write_bytes(b"SQLite format 3\0 and then nothing of ours")
        checks = diagnosis(sidecar, 1)
    assert statuses(checks)["fail"] == {"credentials", "tls", "ledger", "listeners"}
    assert all(checks[id_]["fix"] for id_ in statuses(checks)["fail"])
    assert str(ledger) in checks["ledger"]["fix"]
    assert f"127.0.0.1:{neighbour.port}" in checks["listeners"]["seen"]
    assert ledger.exists()
    assert asked(aws) == []
