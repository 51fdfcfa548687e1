"""The SaaS service as a real process: customers resolved, usage taken, AWS's bill equal to the unit."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.emulator import Emulator
from sidecar.emulator.customers import Subscription
from sidecar.emulator.keys import SigningKeys
from tests.acceptance.saas import Service
from tests.acceptance.support import PRODUCT, eventually

START = datetime(2026, 11, 20, 10, 20, tzinfo=UTC)
ACME = "arn:aws:license-manager::294406891311:license:l-1"
GLOBEX = "arn:aws:license-manager::294406891311:license:l-2"


@pytest.fixture
def selling(keys: SigningKeys) -> Iterator[Emulator]:
    """Two newer customers and an older one; the clock stands at 10:20."""
    with Emulator(
        product_codes=(PRODUCT, "other"), dimensions=("requests", "gb"), keys=keys, clock_start=START, clock_speed=0
    ) as aws:
        aws.saas.define_customer(id="acme", account="111111111111", license=ACME, agreement="agmt-1")
        aws.saas.define_customer(id="globex", account="222222222222", license=GLOBEX, agreement="agmt-2")
        aws.saas.define_customer(id="old", account="333333333333", identifier="ident-1")
        aws.saas.define_customer(id="foreign", account="444444444444", identifier="ident-9", product="other")
        yield aws


@pytest.mark.slow
def test_three_customers_are_billed_to_the_unit(selling: Emulator, tmp_path: Path) -> None:
    with Service(selling, tmp_path) as service:
        service.ready()
        status, acme = service.resolve(selling, "acme")
        assert status == 200, acme
        assert (status, acme["license_arn"], acme["product_code"]) == (200, ACME, PRODUCT)
        assert acme["customer_identifier"] is None
        assert [service.resolve(selling, one)[0] for one in ("globex", "old", "acme")] == [200, 200, 200]
        assert service.use({"license_arn": ACME}, 3, id="a") == (200, {"accepted": 1, "duplicates": 0})
        assert service.use({"license_arn": ACME}, 3, id="a") == (200, {"accepted": 0, "duplicates": 1})
        assert service.use({"aws_account_id": "222222222222"}, "0.125", "gb")[0] == 200
        assert service.use({"identifier": "ident-1"}, 5)[0] == 200
        selling.clock.set(now=START + timedelta(hours=1))
        eventually(lambda: len(selling.saas.usage_records()) == 3)
        assert selling.saas.billed(START, license=ACME) == {"requests": Decimal(3)}
        assert selling.saas.billed(START, license=GLOBEX) == {"gb": Decimal("0.125")}
        assert selling.saas.billed(START, account="333333333333") == {"requests": Decimal(5)}
        eventually(lambda: service.states() == {"settled": 3})


@pytest.mark.slow
def test_refusals_have_their_reasons_and_keep_nothing(selling: Emulator, tmp_path: Path) -> None:
    with Service(selling, tmp_path) as service:
        service.ready()
        service.resolve(selling, "acme")
        acme = {"license_arn": ACME}
        usage = {"customer": acme, "dimension": "requests", "quantity": 1}
        for body, status, reason in (
            ([usage, {"dimension": "requests", "quantity": 1}], 400, "customer_missing"),
            ([usage, {**usage, "customer": {"license": ACME}}], 400, "customer_malformed"),
            ([usage, {**usage, "customer": {"license_arn": GLOBEX}}], 404, "customer_unknown"),
            ([usage, {**usage, "dimension": "seats"}], 404, "dimension_unknown"),
            ([usage, {**usage, "quantity": -1}], 422, "quantity_out_of_range"),
            ([{**usage, "id": "x"}, {**usage, "id": "x", "quantity": 2}], 409, "id_conflict"),
            ([], 400, "no_events"),
        ):
            found = service.ask("POST", "/v1/usage", body)
            assert (found[0], found[1]["reason"]) == (status, reason)
        assert service.ask("GET", "/v1/usage")[1] == {"records": []}
        status, refused = service.resolve(selling, "foreign")
        assert (status, refused["reason"]) == (422, "other_product")
        token = selling.saas.make_token("acme", age_seconds=5 * 3600)
        status, refused = service.ask("POST", "/v1/customers/resolve", {"token": token})
        assert (status, refused["reason"]) == (422, "token_expired")
        assert service.ask("POST", "/v1/customers/resolve", {"token": "nonsense"})[1]["reason"] == "token_invalid"
        assert token not in service.text()


@pytest.mark.slow
def test_a_customer_that_leaves_is_billed_its_last_hour_and_then_refused(selling: Emulator, tmp_path: Path) -> None:
    with Service(selling, tmp_path) as service:
        service.ready()
        service.resolve(selling, "old")
        selling.clock.set(now=START + timedelta(minutes=1))
        old = {"identifier": "ident-1"}
        service.use(old, 4)
        selling.saas.set_state("old", Subscription.ENDING)
        message = {"action": "unsubscribe-pending", "customer-identifier": "ident-1", "product-code": PRODUCT}
        assert service.ask("POST", "/v1/notices", message) == (200, {"changed": 1})
        selling.clock.set(now=START + timedelta(minutes=42))
        assert service.use(old, 2)[0] == 200, "the hour after the notice is still the customer's"
        selling.clock.set(now=START + timedelta(minutes=50))
        eventually(lambda: len(selling.saas.usage_records()) == 2)
        status, refused = service.use(old, 1)
        assert (status, refused["reason"]) == (422, "customer_closed")
        assert sum(record.quantity for record in selling.saas.usage_records()) == 6


@pytest.mark.slow
def test_one_bad_record_holds_up_no_other(selling: Emulator, tmp_path: Path) -> None:
    dims = '[{"name": "requests"}, {"name": "unlisted"}]'
    with Service(selling, tmp_path, SIDECAR_DIMENSIONS=dims) as service:
        service.ready()
        for one in ("acme", "globex"):
            service.resolve(selling, one)
        for arn in (ACME, GLOBEX):
            service.use({"license_arn": arn}, 1)
        service.use({"license_arn": ACME}, 1, "unlisted")
        selling.clock.set(now=START + timedelta(hours=1))
        eventually(lambda: service.states() == {"settled": 2, "rejected": 1})
        (bad,) = service.ask("GET", "/v1/usage?state=rejected")[1]["records"]
        assert (bad["dimension"], bad["last_error"]) == ("unlisted", "InvalidUsageDimensionException")
        hour = {"hour": bad["hour"], "dimension": "unlisted", "customer": {"license_arn": ACME}}
        status, found = service.ask(
            "POST", "/v1/usage/retry", {"act": "confirm", "metering_record_id": "by-hand", **hour}
        )
        assert (status, found["records"][0]["state"]) == (200, "settled")


@pytest.mark.slow
def test_a_lost_answer_and_a_kill_bill_nothing_twice(selling: Emulator, tmp_path: Path) -> None:
    service = Service(selling, tmp_path).start()
    try:
        service.ready()
        service.resolve(selling, "acme")
        service.use({"license_arn": ACME}, 7)
        selling.clock.set(now=START + timedelta(hours=1))
        eventually(lambda: selling.saas.usage_records())
    finally:
        service.killed()
    with Service(selling, tmp_path) as again:
        again.ready()
        selling.clock.set(now=START + timedelta(hours=1, minutes=2))  # what was being sent is left alone for a minute
        eventually(lambda: again.states() == {"settled": 1})
    assert selling.saas.billed(START, license=ACME) == {"requests": Decimal(7)}


@pytest.mark.slow
@pytest.mark.parametrize(("field", "state"), [("auto", "settled"), ("decimal", "rejected")])
def test_quantities_are_sent_in_the_field_that_aws_takes(
    selling: Emulator, tmp_path: Path, field: str, state: str
) -> None:
    selling.behave(refuse_decimal_quantity=True)
    with Service(selling, tmp_path, SIDECAR_QUANTITY_FIELD=field) as service:
        service.ready()
        service.resolve(selling, "acme")
        service.use({"license_arn": ACME}, 7)
        selling.clock.set(now=START + timedelta(hours=1))
        eventually(lambda: service.states() == {state: 1})
    assert [record.quantity for record in selling.saas.usage_records()] == [Decimal(7)] * (field == "auto")


@pytest.mark.slow
def test_the_end_finishes_what_was_taken(selling: Emulator, tmp_path: Path) -> None:
    service = Service(selling, tmp_path).start()
    service.ready()
    service.resolve(selling, "acme")
    assert service.use({"license_arn": ACME}, 7)[0] == 200
    service.told()
    assert service.ended() == 0
    with Service(selling, tmp_path) as again:
        again.ready()
        assert [one["quantity"] for one in again.ask("GET", "/v1/usage")[1]["records"]] == ["7"]


@pytest.mark.slow
def test_a_notice_in_the_queue_is_applied_and_then_deleted(selling: Emulator, tmp_path: Path) -> None:
    queue = f"{selling.url}/123456789012/marketplace"
    with Service(selling, tmp_path, SIDECAR_SAAS_QUEUE_URL=queue) as service:
        service.ready()
        service.resolve(selling, "acme")
        selling.clock.set(now=START + timedelta(minutes=1))
        command = urllib.request.Request(
            f"{selling.url}/_emulator/subscription", b'{"customer": "acme", "state": "ending"}'
        )
        urllib.request.urlopen(command).close()
        eventually(lambda: service.ask("GET", "/v1/customers")[1]["customers"][0]["state"] != "active")
        eventually(lambda: not selling.queues.waiting())


@pytest.mark.slow
def test_notices_on_stdin_reach_the_service(selling: Emulator, tmp_path: Path) -> None:
    with Service(selling, tmp_path) as service:
        service.ready()
        service.resolve(selling, "acme")
        event = {
            "detail-type": "License Deprovisioned - Manufacturer",
            "source": "aws.agreement-marketplace",
            "time": "2026-11-20T10:25:00Z",
            "detail": {"license": {"arn": ACME.removeprefix("arn:")}, "agreement": {"id": "agmt-1"}},
        }
        done = subprocess.run(
            [sys.executable, "-m", "sidecar", "saas", "notices"],
            input=json.dumps(event),
            env=service.env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (0, "1 taken\n")
        (customer,) = service.ask("GET", "/v1/customers")[1]["customers"]
        assert customer["state"] == "ending"


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"SIDECAR_DIMENSIONS": None}, "SIDECAR_DIMENSIONS"),
        ({"SIDECAR_DATABASE_URL": "postgresql://u:secret@db/saas?nonsense=1"}, "nonsense"),
    ],
    ids=["dimensions", "database"],
)
def test_settings_that_are_wrong_start_nothing(
    selling: Emulator, tmp_path: Path, changed: dict[str, str | None], named: str
) -> None:
    service = Service(selling, tmp_path, **changed).start()
    assert service.ended() == 78
    assert named in service.text()
    assert "secret" not in service.text()
