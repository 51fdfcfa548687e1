"""The support bundle of a real sidecar: all of it is there, and no secret is."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.support import Sidecar, eventually

FOLDER = "entitlement-sidecar-support/"
TOKEN = "Sup3rSecretApiToken-0123456789abcdef"
PROXY_PASSWORD = "pr0xy-pa55word"
KEY_ID, KEY, SESSION = (
    "AKIAIOSFODNN7EXAMPLE",
    "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "IQoJb3JpZ2luX2VjEXAMPLE//////",
)
PARTS = {
    "manifest.json",
    "settings.txt",
    "environment.json",
    "versions.json",
    "state-directory.txt",
    "status.json",
    "metrics.txt",
    "log.jsonl",
    "usage-records.jsonl",
    "usage-export.jsonl",
    "doctor.json",
}


@pytest.fixture
def sidecar(aws: Emulator, tmp_path: Path) -> Sidecar:
    (tmp_path / "api-token").write_text(TOKEN)
    return Sidecar(
        aws,
        tmp_path,
        SIDECAR_DIMENSIONS="requests",
        SIDECAR_API_TOKEN_FILE=str(tmp_path / "api-token"),
        HTTPS_PROXY=f"http://operator:{PROXY_PASSWORD}@127.0.0.1:9",
        NO_PROXY="127.0.0.1",
        DB_PASSWORD="the-products-own-password",
    )


def bundle(sidecar: Sidecar, **env: str) -> tuple[int, bytes]:
    """Run `support-bundle -` in the environment of the sidecar, and more. It writes no file: it could not."""
    line = ["prlimit", "--fsize=0", sys.executable, "-B", "-m", "sidecar", "support-bundle", "-"]
    done = subprocess.run(line, env=sidecar.env | env, capture_output=True, timeout=120, check=False)
    return done.returncode, done.stdout


def unpacked(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {one.name.removeprefix(FOLDER): tar.extractfile(one).read() for one in tar.getmembers()}  # type: ignore[union-attr]


def secrets_of(sidecar: Sidecar) -> set[str]:
    """Every secret that this sidecar, its environment and its disk know."""
    kept = eventually(lambda: list(sidecar.directory.glob("answer-*.json")))[0]
    token = json.loads(kept.read_text())["token"]
    identity = Path(sidecar.env["AWS_WEB_IDENTITY_TOKEN_FILE"]).read_text()
    parts = {*token.split("."), *identity.split(".")}
    return {TOKEN, PROXY_PASSWORD, KEY_ID, KEY, SESSION, "the-products-own-password", token, identity, *parts}


@pytest.mark.slow
def test_a_bundle_has_every_part_and_no_secret(sidecar: Sidecar) -> None:
    with sidecar:
        sidecar.shows("entitled")
        assert sidecar.command("report", "requests", "3").returncode == 0
        assert sidecar.api("GET /v1/log")[0] == 401, "without the token, like every route there"
        more = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": KEY, "AWS_SESSION_TOKEN": SESSION}
        code, data = bundle(sidecar, **more)
        secrets = secrets_of(sidecar)
    assert code == 0
    found = unpacked(data)
    assert found.keys() == PARTS, found["manifest.json"].decode()
    manifest = json.loads(found["manifest.json"])
    assert manifest["sidecar_answered"] is True
    assert not [one for one in manifest["parts"] if one["missing"] or one["left_out"]]
    has_every_answer(found, sidecar)
    everything = gzip.decompress(data)
    for secret in secrets:
        assert len(secret) > 8
        assert secret.encode() not in everything
    for word in (b"eyJ", b"ASIA", b"AKIA", b"SessionToken"):
        assert word not in everything


def has_every_answer(found: dict[str, bytes], sidecar: Sidecar) -> None:
    status, doctor = json.loads(found["status.json"]), json.loads(found["doctor.json"])
    assert status["entitlement"]["status"] == "entitled"
    checks = {one["id"]: one for one in doctor["checks"]}
    assert {"settings", "workload"} <= checks.keys()
    assert checks["listeners"]["status"] == "pass", checks["listeners"]
    assert b"entitlement_sidecar_entitled 1" in found["metrics.txt"]
    assert [json.loads(line)["quantity"] for line in found["usage-records.jsonl"].splitlines()] == ["3"]
    assert any(json.loads(line)["record"] == "total" for line in found["usage-export.jsonl"].splitlines())
    logged: list[dict[str, Any]] = [json.loads(line) for line in found["log.jsonl"].splitlines()]
    assert {"sidecar.started", "registration.accepted", "gate.opened"} <= {one["event"] for one in logged}
    assert [one["at"] for one in logged] == sorted(one["at"] for one in logged)
    assert f"SIDECAR_STATE_DIR\t{sidecar.directory}\tenvironment" in found["settings.txt"].decode()
    assert "answer-" in found["state-directory.txt"].decode()
    shown = json.loads(found["environment.json"])
    assert shown["variables"]["HTTPS_PROXY"] == "http://[masked]@127.0.0.1:9"
    assert shown["set_and_not_shown"] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"]


@pytest.mark.slow
def test_without_a_sidecar_the_bundle_says_what_is_missing(sidecar: Sidecar) -> None:
    code, data = bundle(sidecar)
    assert code == 69
    found = unpacked(data)
    assert PARTS - found.keys() == {
        "status.json",
        "metrics.txt",
        "log.jsonl",
        "usage-records.jsonl",
        "usage-export.jsonl",
    }
    missing = {one["file"]: one["missing"] for one in json.loads(found["manifest.json"])["parts"] if one["missing"]}
    assert missing.keys() == PARTS - found.keys()
    assert all("no sidecar answers" in why for why in missing.values())
