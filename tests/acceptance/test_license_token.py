"""Outside AWS a license's refresh token opens the gate, takes a seat and gives it back; the token is shown nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.support import ROLE, Sidecar, eventually

pytestmark = pytest.mark.slow

LICENSES = json.dumps([{"name": "seats", "take": "seat"}])


def anywhere(aws: Emulator, directory: Path, token: str) -> Sidecar:
    file = directory / "license_token"
    file.write_text(token)
    return Sidecar(
        aws,
        directory,
        SIDECAR_PUBLIC_KEY=None,
        SIDECAR_ENTITLEMENT_CHECK="checkout_license",
        SIDECAR_PRODUCT_SKU="prod-demo",
        SIDECAR_LICENSES=LICENSES,
        AWS_WEB_IDENTITY_TOKEN_FILE=None,
        AWS_WEB_IDENTITY_REFRESH_TOKEN_FILE=str(file),
        AWS_EC2_METADATA_DISABLED="true",
    )


@pytest.fixture
def licensed(aws: Emulator) -> Emulator:
    aws.define_license(id="l-1", sku="prod-demo", entitlements=[{"name": "seats"}])
    return aws


def test_a_refresh_token_opens_the_gate_and_its_seat_comes_back(licensed: Emulator, tmp_path: Path) -> None:
    token_id, token = licensed.create_token("l-1", ROLE)
    with anywhere(licensed, tmp_path, token) as sidecar:
        sidecar.shows("entitled")
        assert licensed.held("l-1", "seats") == 1
    eventually(lambda: licensed.held("l-1", "seats") == 0)
    assert {each.workload for each in licensed.checkouts()} == {token_id}
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "license_token"]
    assert sidecar.log in kept
    assert [path for path in kept if token[-40:].encode() in path.read_bytes()] == []


def test_a_refresh_token_that_was_deleted_leaves_the_gate_shut(licensed: Emulator, tmp_path: Path) -> None:
    token_id, token = licensed.create_token("l-1", ROLE)
    licensed.delete_token(token_id)
    with anywhere(licensed, tmp_path, token) as sidecar:
        found = sidecar.shows("misconfigured")
    assert found["reason"] == "license_token_refused"
    assert licensed.checkouts() == []
    assert token not in sidecar.text()
