"""The clock that is set over HTTP, and the bill that is read there."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import boto3
import jwt
import pytest

from sidecar.emulator import Emulator
from sidecar.emulator.refusals import BadCommand

from .conftest import ONE_TRY, PRODUCT, Aws, code, eventually, meter, metered, needs_decimals, register, share
from .test_admin import admin, post

PAST = datetime(2020, 2, 29, 23, 59, tzinfo=UTC)


def offset(aws: Emulator) -> float:
    """How far the emulated clock is ahead, in seconds."""
    return float(admin(aws, "clock")[1]["now"]) - time.time()


def test_a_clock_nobody_moved_is_the_real_one(aws: Emulator) -> None:
    status, clock = admin(aws, "clock")
    assert (status, clock["speed"]) == (200, 1.0)
    assert abs(clock["now"] - time.time()) < 5


@pytest.mark.parametrize("now", ["2020-02-29T23:59:00Z", "2020-03-01T01:59:00+02:00", PAST.timestamp()])
def test_a_clock_is_set_and_runs_on_from_there(aws: Emulator, now: Any) -> None:
    status, answer = post(aws, "clock", {"now": now})
    assert (status, answer["speed"]) == (200, 1.0)
    assert 0 <= answer["now"] - PAST.timestamp() < 5
    eventually(lambda: admin(aws, "clock")[1]["now"] > answer["now"])


def test_a_speed_is_kept_when_the_clock_is_set_and_the_time_when_its_speed_is(aws: Emulator) -> None:
    post(aws, "clock", {"now": PAST.timestamp(), "speed": 0})
    assert post(aws, "clock", {"speed": 3600})[1]["now"] == pytest.approx(PAST.timestamp(), abs=1800)
    assert post(aws, "clock", {"now": 1e9})[1]["speed"] == 3600


def test_an_hour_goes_by_in_a_moment_and_a_stopped_clock_stands(aws: Emulator) -> None:
    aws.set_clock(now=PAST, speed=36_000)
    eventually(lambda: aws.clock.now() > PAST + timedelta(hours=1))
    aws.set_clock(speed=0)
    assert aws.clock.now() == aws.clock.now()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "now"),
        ({"now": "noon"}, "now"),
        ({"now": "2026-01-01T00:00:00"}, "now"),
        ({"now": True}, "now"),
        ({"now": -1}, "now"),
        ({"now": 1e12}, "now"),
        ({"now": "9999-01-01T00:00:00Z"}, "now"),
        ({"speed": -1}, "speed"),
        ({"speed": 1e6}, "speed"),
        ({"speed": "fast"}, "speed"),
        ({"speed": 2, "zone": "UTC"}, "zone"),
    ],
)
def test_a_clock_set_wrongly_is_told_the_field_and_stays(aws: Emulator, body: Any, field: str) -> None:
    status, answer = post(aws, "clock", body)
    assert (status, answer["error"].partition(":")[0]) == (400, field)
    assert abs(offset(aws)) < 5


def test_a_clock_is_set_wrongly_in_process_too(aws: Emulator) -> None:
    with pytest.raises(BadCommand, match=r"^speed:"):
        aws.set_clock(speed=float("nan"))
    with pytest.raises(BadCommand, match=r"^now:"):
        aws.set_clock(now=datetime(2026, 1, 1))


@pytest.mark.parametrize("start", [PAST, datetime(2040, 1, 1, tzinfo=UTC)])
def test_a_client_with_the_hosts_clock_is_accepted_at_any_emulated_time(emulator: Aws, start: datetime) -> None:
    aws = emulator(clock_start=start, clock_speed=60)
    assert metered(aws.url) == "TimestampOutOfBoundsException"
    assert metered(aws.url, Timestamp=aws.clock.now()) == "ok"
    answer = register(aws.url)
    dated = parsedate_to_datetime(answer["ResponseMetadata"]["HTTPHeaders"]["date"])
    assert abs((dated - datetime.now(UTC)).total_seconds()) < 5
    claims = jwt.decode(answer["Signature"], options={"verify_signature": False})
    assert 0 <= claims["iat"] - start.timestamp() < 3600


@pytest.mark.parametrize("start", [PAST, datetime(2040, 1, 1, tzinfo=UTC)])
def test_credentials_last_for_real_time(emulator: Aws, start: datetime) -> None:
    aws = emulator(clock_start=start, clock_speed=36_000)
    sts = boto3.client("sts", endpoint_url=aws.url, region_name="us-east-1", config=ONE_TRY)
    role = "arn:aws:iam::123456789012:role/app"
    issued = sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="s-1", WebIdentityToken="any text")[
        "Credentials"
    ]
    assert 3500 < (issued["Expiration"] - datetime.now(UTC)).total_seconds() <= 3600
    eventually(lambda: aws.clock.now() > start + timedelta(hours=2))
    mine = boto3.client(
        "meteringmarketplace",
        endpoint_url=aws.url,
        region_name="us-east-1",
        aws_access_key_id=issued["AccessKeyId"],
        aws_secret_access_key=issued["SecretAccessKey"],
        aws_session_token=issued["SessionToken"],
        config=ONE_TRY,
    )
    assert code(lambda: mine.register_usage(ProductCode=PRODUCT, PublicKeyVersion=1)) == "ok"
    assert aws.expire_keys() == 1
    assert code(lambda: mine.register_usage(ProductCode=PRODUCT, PublicKeyVersion=1)) == "ExpiredTokenException"


def test_a_pod_started_when_it_first_exchanged_its_token(emulator: Aws) -> None:
    aws = emulator(clock_start=PAST, clock_speed=0)
    sts = boto3.client("sts", endpoint_url=aws.url, region_name="us-east-1", config=ONE_TRY)
    role = "arn:aws:iam::123456789012:role/app"
    for _ in range(2):
        sts.assume_role_with_web_identity(RoleArn=role, RoleSessionName="s-1", WebIdentityToken="any text")
        aws.set_clock(now=PAST + timedelta(hours=1))
    started = {each["started"] for each in aws.state()["callers"]}  # type: ignore[attr-defined]
    assert started == {"2020-02-29T23:59:00.000Z"}


def test_a_timeline_moves_the_clock(emulator: Aws) -> None:
    told: list[Any] = []
    aws = emulator(
        timeline=[{"after": 0, "do": "clock", "now": datetime(2030, 1, 1, tzinfo=UTC), "speed": 0}],
        on_event=told.append,
    )
    eventually(lambda: len(told) == 1)
    assert told[0]["with"] == {"now": "2030-01-01T00:00:00+00:00", "speed": 0}
    assert admin(aws, "clock") == (200, {"now": 1_893_456_000.0, "speed": 0.0})


# -- the bill ----------------------------------------------------------------------------------------


def test_a_bill_of_nothing_has_no_lines(aws: Emulator) -> None:
    assert admin(aws, "bill") == (200, {"lines": []})


@needs_decimals
def test_the_bill_prints_every_record_and_exact_totals(emulator: Aws) -> None:
    aws = emulator(clock_start=PAST, clock_speed=0)
    aws.define_caller(access_key="pod-c", account="999999999999")
    aws.subscribe(account="999999999999")
    earlier = PAST - timedelta(hours=1)
    first = meter(aws.url, Timestamp=PAST, UsageQuantityAsDecimal="0.10")
    meter(aws.url, Timestamp=earlier, workload="pod-b", UsageQuantityAsDecimal="0.2")
    meter(aws.url, Timestamp=earlier, workload="pod-c", UsageQuantity=0)
    meter(aws.url, Timestamp=PAST, UsageDimension="gigabytes", UsageQuantity=7, UsageAllocations=[share(7, team="red")])
    lines = admin(aws, "bill")[1]["lines"]
    assert [(line["account"], line["dimension"], line["total"]) for line in lines] == [
        ("123456789012", "gigabytes", "7"),
        ("123456789012", "requests", "0.3"),
        ("999999999999", "requests", "0"),
    ]
    assert {line["product"] for line in lines} == {PRODUCT}
    assert lines[0]["hours"][0]["allocations"] == [{"quantity": "7", "tags": {"team": "red"}}]
    assert lines[1]["hours"][1] == {
        "hour": "2020-02-29T23:00:00.000Z",
        "workload": "pod-a",
        "quantity": "0.1",
        "record_id": first["MeteringRecordId"],
        "allocations": [],
        "timestamp": "2020-02-29T23:59:00.000Z",
        "at": "2020-02-29T23:59:00.000Z",
    }
    assert [each["hour"] for each in lines[1]["hours"]] == ["2020-02-29T22:00:00.000Z", "2020-02-29T23:00:00.000Z"]
    assert lines == [line.as_json() for line in aws.bill()]


def test_what_is_recorded_can_be_asked_by_hour_product_and_workload(emulator: Aws) -> None:
    aws = emulator(clock_start=PAST, clock_speed=0)
    meter(aws.url, Timestamp=PAST, UsageQuantity=7)
    meter(aws.url, Timestamp=PAST, UsageQuantity=5, workload="pod-b")
    meter(aws.url, Timestamp=PAST, UsageQuantity=3, ProductCode="prod2")
    assert aws.recorded(PAST) == {"requests": 15}
    assert aws.recorded(PAST, product=PRODUCT) == {"requests": 12}
    assert aws.recorded(PAST, workload="pod-b") == {"requests": 5}
    assert aws.recorded(PAST - timedelta(hours=1)) == {}


def test_state_shows_dimensions_and_who_has_metered(aws: Emulator) -> None:
    meter(aws.url)
    state = admin(aws, "state")[1]
    assert state["dimensions"] == ["requests", "gigabytes"]
    assert state["metered"] == [{"workload": "pod-a", "product": PRODUCT}]
