"""`usage test-records`: one real record of each dimension, and never one too many."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from tests.acceptance.billing.metered import Metered
from tests.acceptance.support import PRODUCT, Sidecar

DIMENSIONS = """[
    "requests",
    {"name": "gb", "scale": "0.001", "decimals": 3},
    {"name": "seats", "aggregation": "unique", "scope": "pod"}
]"""
pytestmark = pytest.mark.slow  # each starts several processes

AT = datetime(2026, 1, 2, 10, 20, tzinfo=UTC)


@pytest.fixture
def aws() -> Iterator[Emulator]:
    names = ("requests", "gb", "seats")
    with Emulator(product_codes=(PRODUCT,), dimensions=names, keys=SigningKeys((1,)), clock_start=AT) as emulator:
        yield emulator


def pod(aws: Emulator, directory: Path, **more: str) -> Sidecar:
    return Sidecar(aws, directory, SIDECAR_DIMENSIONS=DIMENSIONS, SIDECAR_CLOCK_URL=aws.url, **more)


@pytest.mark.parametrize("check", ["register_usage", "meter_usage"])
def test_every_dimension_receives_one_record_of_quantity_one(aws: Emulator, tmp_path: Path, check: str) -> None:
    done = pod(aws, tmp_path, SIDECAR_ENTITLEMENT_CHECK=check).command("usage", "test-records", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert aws.recorded(AT) == dict.fromkeys(("requests", "gb", "seats"), Decimal(1))
    billed = {record.record_id for record in aws.usage_records()}
    records = json.loads(done.stdout)["records"]
    assert {record["metering_record_id"] for record in records} == billed
    assert all(record["hour"].endswith(":00:00.000Z") for record in records)


@pytest.mark.slow
def test_nothing_is_drawn_from_a_license_to_try_it(aws: Emulator, tmp_path: Path) -> None:
    held = [{"name": "pro", "max_count": 1}, {"name": "seats", "max_count": 9}]
    aws.define_license(id="l-1", sku="prod-1", entitlements=held)
    drawn = '[{"name": "pro", "take": "check"}, {"name": "seats", "take": "drawdown"}]'
    asked = {"SIDECAR_ENTITLEMENT_CHECK": "checkout_license", "SIDECAR_PRODUCT_SKU": "prod-1"}
    names = {"SIDECAR_DIMENSIONS": "requests", "SIDECAR_LICENSES": drawn}
    done = Sidecar(aws, tmp_path, SIDECAR_CLOCK_URL=aws.url, **asked, **names).command(
        "usage", "test-records", "--yes", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert "seats: drawn from a license for good, so left out." in done.stderr
    assert aws.recorded(AT) == {"requests": Decimal(1)}
    assert aws.drawn("l-1", "seats") == 0


def test_nothing_is_sent_without_a_yes(aws: Emulator, tmp_path: Path) -> None:
    done = pod(aws, tmp_path).command("usage", "test-records")
    assert done.returncode == 1
    assert "--yes" in done.stderr
    assert aws.usage_records() == []


def test_a_second_run_in_the_same_hour_sends_nothing(aws: Emulator, tmp_path: Path) -> None:
    where = pod(aws, tmp_path)
    assert where.command("usage", "test-records", "--yes").returncode == 0
    done = where.command("usage", "test-records", "--yes")
    assert done.returncode == 1
    assert "reported already" in done.stderr
    assert len(aws.usage_records()) == 3


def test_beside_a_running_sidecar_it_refuses_and_says_how(aws: Emulator, tmp_path: Path) -> None:
    with pod(aws, tmp_path) as running:
        running.shows("entitled")
        running.logged("ledger.opened")
        done = running.command("usage", "test-records", "--yes")
    assert done.returncode == 1
    assert "in a separate pod or task" in done.stderr
    assert aws.usage_records() == []


def test_usage_of_before_is_not_billed_with_the_test(aws: Emulator, tmp_path: Path) -> None:
    sidecar = Metered(aws, tmp_path, SIDECAR_DIMENSIONS=DIMENSIONS).start().ready()
    assert sidecar.command("report", "requests", "5").returncode == 0
    sidecar.killed()
    done = sidecar.command("usage", "test-records", "--yes")
    assert done.returncode == 1
    assert "5 of requests: usage that was reported before waits" in done.stderr
    assert aws.usage_records() == []


def test_a_dimension_the_listing_does_not_have_is_named_and_ends_with_1(tmp_path: Path) -> None:
    with Emulator(
        product_codes=(PRODUCT,), dimensions=("requests", "gb"), keys=SigningKeys((1,)), clock_start=AT
    ) as aws:
        done = pod(aws, tmp_path).command("usage", "test-records", "--yes")
    assert done.returncode == 1
    assert "seats\t1\trejected\t-\tInvalidUsageDimensionException" in done.stdout


def test_who_is_not_entitled_sends_nothing(aws: Emulator, tmp_path: Path) -> None:
    aws.unsubscribe()
    done = pod(aws, tmp_path).command("usage", "test-records", "--yes")
    assert done.returncode == 1
    assert "customer_not_entitled" in done.stderr
    assert aws.usage_records() == []


def test_a_dimension_that_cannot_come_to_one_is_named_and_nothing_is_sent(aws: Emulator, tmp_path: Path) -> None:
    odd = (
        '[{"name": "gb", "scale": 3, "decimals": 6}, {"name": "seats", "scale": "0.5", "aggregation": "unique", '
        '"scope": "pod"}]'
    )
    done = Sidecar(aws, tmp_path, SIDECAR_DIMENSIONS=odd).command("usage", "test-records", "--yes")
    assert done.returncode == 1
    assert "gb, seats" in done.stderr
    assert aws.usage_records() == []


def test_without_dimensions_there_is_nothing_to_send(aws: Emulator, tmp_path: Path) -> None:
    done = Sidecar(aws, tmp_path).command("usage", "test-records", "--yes")
    assert done.returncode == 78
    assert "SIDECAR_DIMENSIONS" in done.stderr
