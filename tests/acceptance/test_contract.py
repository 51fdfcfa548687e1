"""A product sold by contract, as its operator meets it: real processes, and licenses that are counted to the unit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.support import Sidecar

pytestmark = pytest.mark.slow  # each starts a sidecar; integration/gate has the same answers

SKU = "prod-4kq7example2x"


@pytest.fixture
def licensed(aws: Emulator) -> Emulator:
    """One seat and a tier."""
    held = [{"name": "seats", "max_count": 1}, {"name": "silver", "unit": "None"}]
    aws.define_license(id="l-1", sku=SKU, entitlements=held)
    return aws


def contract(aws: Emulator, directory: Path, *licenses: dict[str, str], **settings: str) -> Sidecar:
    """A sidecar without product code and key."""
    asked = {"SIDECAR_ENTITLEMENT_CHECK": "checkout_license", "SIDECAR_PRODUCT_SKU": SKU}
    asked["SIDECAR_LICENSES"] = json.dumps(licenses)
    return Sidecar(aws, directory, SIDECAR_PRODUCT_CODE=None, SIDECAR_PUBLIC_KEY=None, **asked, **settings)


TIERS = [{"name": name, "unit": "None", "take": "check", "any_of": "tier"} for name in ("gold", "silver")]
SEAT = {"name": "seats", "take": "seat"}


def test_a_tier_opens_the_gate_of_every_pod(licensed: Emulator, tmp_path: Path) -> None:
    with contract(licensed, tmp_path, *TIERS) as sidecar:
        shown = sidecar.shows("entitled")
        assert (shown["reason"], shown["product_code"]) == ("licenses_allowed", "")
        started = sidecar.logged("sidecar.started")
        assert (started["product_sku"], started["entitlement_check"]) == (SKU, "checkout_license")
        assert "l-1" not in sidecar.text(), "licenses are named, not their ARNs"
    assert licensed.held("l-1", "silver") == 0


def test_a_tier_that_is_not_held_denies_and_opens_once_it_is_bought(licensed: Emulator, tmp_path: Path) -> None:
    with contract(licensed, tmp_path, TIERS[0], SIDECAR_REASK_SECONDS="1") as sidecar:
        shown = sidecar.shows("denied")
        assert shown["reason"] == "no_entitlements_allowed"
        assert "gold" in shown["hint"]
        licensed.define_license(id="l-1", entitlements=[{"name": "gold", "unit": "None"}])
        assert sidecar.shows("entitled")["reason"] == "licenses_allowed"


def test_the_token_of_a_seat_is_never_logged(licensed: Emulator, tmp_path: Path) -> None:
    with contract(licensed, tmp_path, SEAT, SIDECAR_LOG_LEVEL="debug") as sidecar:
        sidecar.shows("entitled")
        (seat,) = licensed.checkouts()
        assert seat.token not in sidecar.text()
        assert seat.token not in json.dumps(sidecar.api("GET /v1/status")[1])
