"""doctor as a real process: beside a running sidecar, before one starts, and where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.support import Sidecar


def diagnosis(sidecar: Sidecar, code: int) -> dict[str, Any]:
    """Run doctor with the sidecar's environment, which ends with `code`. Return the checks by id."""
    done = sidecar.command("doctor", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stderr == "", "no progress where stderr is no terminal"
    found = json.loads(done.stdout)
    assert set(found) == {"ok", "checks"}
    assert found["ok"] is (code == 0)
    for secret in (Path(sidecar.env["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text(), sidecar.env["SIDECAR_PUBLIC_KEY"]):
        assert secret not in done.stdout
    return {one["id"]: one for one in found["checks"]}


def asked(aws: Emulator) -> list[tuple[str, str]]:
    return [(call.operation, call.answer) for call in aws.calls() if call.operation in ("RegisterUsage", "MeterUsage")]


def test_beside_a_running_sidecar_nothing_is_registered_billed_or_locked(aws: Emulator, tmp_path: Path) -> None:
    with Sidecar(aws, tmp_path, SIDECAR_DIMENSIONS="requests") as sidecar:
        sidecar.shows("entitled")
        before = asked(aws)
        checks = diagnosis(sidecar, 0)
        assert asked(aws) == [*before, ("MeterUsage", "DryRunOperation")]
        assert checks["iam"]["status"] == "pass"
        assert "the sidecar that runs here was answered" in checks["iam"]["seen"]
        assert sidecar.command("report", "requests", "1").returncode == 0
    assert aws.usage_records(), "the sidecar went on metering"


def test_before_a_sidecar_starts_nothing_is_left_behind(aws: Emulator, tmp_path: Path) -> None:
    """As an init container or a task override: the sidecar that starts next finds nothing of it."""
    sidecar = Sidecar(aws, tmp_path, SIDECAR_DIMENSIONS="requests")
    before = sorted(tmp_path.iterdir())
    diagnosis(sidecar, 0)
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


@pytest.mark.parametrize("wrong", [{"SIDECAR_ON_DENIED": "explode"}, {"AWS_ROLE_ARN": None}], ids=["setting", "role"])
def test_what_is_wrong_is_a_line_with_a_fix_and_no_traceback(
    aws: Emulator, tmp_path: Path, wrong: dict[str, str | None]
) -> None:
    done = Sidecar(aws, tmp_path, **wrong).command("doctor")
    assert done.returncode == 1
    assert "\tfail\t" in done.stdout
    assert "\tfix\t" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
