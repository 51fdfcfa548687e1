"""A contract's amount goes down by what was used, through kills of the whole container, and never twice."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.emulator import Emulator
from tests.acceptance.billing.metered import SEALED_NOT_SENT, SLOW, Metered, Product, ask, at
from tests.acceptance.support import eventually

pytestmark = pytest.mark.slow  # each test starts several sidecars

SKU = "prod-4kq7example2x"
NO_METERING: dict[str, str | None] = {"SIDECAR_PRODUCT_CODE": None, "SIDECAR_PUBLIC_KEY": None}
LICENSES = '[{"name": "pro", "take": "check"}, {"name": "pages", "take": "drawdown", "dimension": "requests"}]'


@pytest.fixture
def contract(aws: Emulator, tmp_path: Path) -> Metered:
    aws.define_license(
        id="l-1", sku=SKU, entitlements=[{"name": "pro", "max_count": 5}, {"name": "pages", "max_count": 100}]
    )
    return Metered(
        aws,
        tmp_path,
        **NO_METERING,
        SIDECAR_ENTITLEMENT_CHECK="checkout_license",
        SIDECAR_PRODUCT_SKU=SKU,
        SIDECAR_LICENSES=LICENSES,
    )


def records(sidecar: Metered) -> dict[str, dict[str, Any]]:
    """Return the sealed records by hour."""
    status, body = sidecar.api("GET /v1/usage")
    assert status == 200
    return {one["hour"][11:13]: one for one in body["records"] if one["state"] != "open"}


def test_what_is_pushed_is_drawn_hour_by_hour_and_at_the_end(
    aws: Emulator, contract: Metered, product: Product
) -> None:
    with contract as sidecar:
        sidecar.ready()
        product.used(sidecar, 7)
        aws.set_clock(now=at("11:10:00"))
        eventually(lambda: aws.drawn("l-1", "pages") == 7, SLOW)
        sidecar.until_settled()
        assert (records(sidecar)["10"]["state"], records(sidecar)["10"]["kind"]) == ("settled", "drawdown")
        product.used(sidecar, 3)
        sidecar.told()
        assert sidecar.ended(SLOW) == 0
    assert aws.drawn("l-1", "pages") == product.owed == 10
    assert list(aws.usage_records()) == [], "nothing is metered"
    assert aws.held("l-1", "pro") == 0


def test_a_container_killed_before_the_answer_leaves_it_to_a_person(
    aws: Emulator, contract: Metered, product: Product
) -> None:
    contract.start().ready()
    product.used(contract, 7)
    aws.set_clock(now=at(f"11{SEALED_NOT_SENT}"))
    contract.until_sealed("10:00")
    aws.fault("CheckoutLicense", "slow", times=None, seconds=60)  # drawn, and the answer never comes
    aws.set_clock(now=at("11:10:00"))
    eventually(lambda: aws.drawn("l-1", "pages") == 7, SLOW)
    contract.killed()
    aws.clear_faults()
    following = contract.again(**NO_METERING).start().ready()
    eventually(lambda: records(following)["10"]["state"] == "rejected", SLOW)
    aws.set_clock(now=at("13:00:00"))
    following.look()
    assert aws.drawn("l-1", "pages") == 7, "not repeated"
    assert records(following)["10"]["last_error"] == "outcome_unknown"
    decision = {"act": "confirm", "hour": "2026-01-02T10:00:00Z", "dimension": "requests", "metering_record_id": "r-1"}
    status, answer = ask(following.api_port, "POST", "/v1/usage/retry", decision)
    assert (status, [one["state"] for one in json.loads(answer)["records"]]) == (200, ["settled"])
    following.told()
    assert following.ended(SLOW) == 0
    assert aws.drawn("l-1", "pages") == product.owed == 7
