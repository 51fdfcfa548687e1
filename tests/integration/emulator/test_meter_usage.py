"""MeterUsage through boto3: each rule, with what it forbids beside what it allows."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from sidecar.emulator import Behaviour, Emulator
from sidecar.emulator.behaviour import DryRunStatus, LateFrom, OffPlatform, Platform, Reask

from .conftest import NOW, PRODUCT, Aws, client, code, meter, metered, needs_decimals, register

NOON = datetime(2026, 3, 29, 12, 0, tzinfo=UTC)
DENIED = "CustomerNotEntitledException"
LATE = "TimestampOutOfBoundsException"


@pytest.fixture
def still(emulator: Aws) -> Emulator:
    """An emulator at half past noon, for ever."""
    return emulator(clock_start=NOON + timedelta(minutes=30), clock_speed=0)


# -- the slot ----------------------------------------------------------------------------------------


def test_usage_is_recorded_under_an_id(aws: Emulator) -> None:
    answer = meter(aws.url, UsageQuantity=7)
    assert str(uuid.UUID(answer["MeteringRecordId"])) == answer["MeteringRecordId"]
    assert aws.recorded(NOW) == {"requests": 7}


def test_the_same_quantity_has_the_same_id_and_another_is_a_duplicate(still: Emulator) -> None:
    first = meter(still.url, UsageQuantity=17, Timestamp=NOON)
    again = meter(still.url, UsageQuantity=17, Timestamp=NOON + timedelta(minutes=29, seconds=59))
    assert again["MeteringRecordId"] == first["MeteringRecordId"]
    assert metered(still.url, UsageQuantity=18, Timestamp=NOON) == "DuplicateRequestException"
    assert still.recorded(NOON) == {"requests": 17}


@pytest.mark.parametrize(
    "other",
    [
        {"Timestamp": NOON - timedelta(seconds=1)},
        {"UsageDimension": "gigabytes"},
        {"ProductCode": "prod2"},
        {"workload": "pod-b"},
    ],
)
def test_another_hour_dimension_product_or_workload_is_another_slot(still: Emulator, other: dict[str, Any]) -> None:
    first = meter(still.url, UsageQuantity=17, Timestamp=NOON)
    second = meter(still.url, **{"UsageQuantity": 18, "Timestamp": NOON, **other})
    assert second["MeteringRecordId"] != first["MeteringRecordId"]
    assert len(still.usage_records()) == 2


def test_two_keys_of_one_workload_share_its_slot(aws: Emulator) -> None:
    for key in ("key-1", "key-2"):
        aws.define_caller(access_key=key, workload="pod-a")
    first, again = meter(aws.url, workload="key-1"), meter(aws.url, workload="key-2")
    assert first["MeteringRecordId"] == again["MeteringRecordId"]
    assert metered(aws.url, workload="key-2", UsageQuantity=8) == "DuplicateRequestException"


def test_nothing_is_a_quantity_and_occupies_the_slot(still: Emulator) -> None:
    zero = meter(still.url, UsageQuantity=0, Timestamp=NOON)
    missing = meter(still.url, UsageQuantity=None, Timestamp=NOON)
    assert missing["MeteringRecordId"] == zero["MeteringRecordId"]
    assert metered(still.url, UsageQuantity=1, Timestamp=NOON) == "DuplicateRequestException"
    assert still.recorded(NOON) == {"requests": 0}


@needs_decimals
def test_quantities_are_compared_by_value_whichever_field_carries_them(still: Emulator) -> None:
    sent: list[dict[str, Any]] = [
        {"UsageQuantity": 17},
        {"UsageQuantityAsDecimal": "17"},
        {"UsageQuantityAsDecimal": "17.0"},
        {"UsageQuantityAsDecimal": "17.000000"},
    ]
    ids = {meter(still.url, Timestamp=NOON, **each)["MeteringRecordId"] for each in sent}
    assert len(ids) == 1
    assert metered(still.url, Timestamp=NOON, UsageQuantityAsDecimal="17.000001") == "DuplicateRequestException"


@needs_decimals
def test_a_decimal_is_recorded_to_its_last_place(still: Emulator) -> None:
    meter(still.url, Timestamp=NOON, UsageQuantityAsDecimal="9999999999.999999")
    assert still.recorded(NOON) == {"requests": Decimal("9999999999.999999")}


# -- the form ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "usage",
    [
        {"ProductCode": None},
        {"ProductCode": "p" * 256},
        {"ProductCode": "no spaces"},
        {"Timestamp": None},
        {"UsageDimension": None},
        {"UsageDimension": ""},
        {"UsageDimension": "d" * 256},
        {"UsageQuantity": -1},
        {"UsageQuantity": 2**31},
        {"UsageQuantity": True},
        {"UsageQuantity": 1.5},
        {"ClientToken": ""},
        {"ClientToken": "t" * 65},
        {"DryRun": "yes"},
        {"UsageAllocations": []},
        {"UsageAllocations": [{"AllocatedUsageQuantity": 1}] * 2501},
        {"UsageAllocations": [{}]},
        {"UsageAllocations": [{"AllocatedUsageQuantity": -1}]},
        {"UsageAllocations": [{"AllocatedUsageQuantity": 7, "Tags": []}]},
    ],
)
def test_a_request_outside_the_model_is_a_validation_error(aws: Emulator, usage: dict[str, Any]) -> None:
    assert metered(aws.url, **usage) == "ValidationException"
    assert aws.usage_records() == []


@pytest.mark.parametrize("usage", [{"UsageQuantity": 2**31 - 1}, {"ClientToken": "t" * 64}, {"ClientToken": "t"}])
def test_a_request_at_the_models_limits_is_recorded(aws: Emulator, usage: dict[str, Any]) -> None:
    assert metered(aws.url, **usage) == "ok"


@needs_decimals
@pytest.mark.parametrize(
    "text", ["", "01", "-1", "+1", ".5", "1.", "1.1234567", "12345678901", "1e3", "1,5", "NaN", " 1", "1\n"]
)
def test_a_decimal_in_another_form_is_a_validation_error(aws: Emulator, text: str) -> None:
    assert metered(aws.url, UsageQuantityAsDecimal=text) == "ValidationException"


@needs_decimals
@pytest.mark.parametrize("text", ["0", "0.5", "10", "9999999999.999999", "0.000000"])
def test_a_decimal_in_the_models_form_is_recorded(aws: Emulator, text: str) -> None:
    assert metered(aws.url, UsageQuantityAsDecimal=text) == "ok"


@needs_decimals
def test_both_quantities_at_once_are_a_validation_error(aws: Emulator) -> None:
    assert metered(aws.url, UsageQuantity=7, UsageQuantityAsDecimal="7") == "ValidationException"


@needs_decimals
@pytest.mark.parametrize("decimal", [True, False])
def test_one_kind_of_quantity_can_be_refused_and_the_other_is_taken(emulator: Aws, decimal: bool) -> None:
    aws = emulator(behaviour=Behaviour(refuse_decimal_quantity=decimal, refuse_integer_quantity=not decimal))
    in_decimals, in_integers = {"UsageQuantityAsDecimal": "7"}, {"UsageQuantity": 7}
    refused, taken = (in_decimals, in_integers) if decimal else (in_integers, in_decimals)
    assert metered(aws.url, **refused) == "ValidationException"
    assert list(aws.usage_records()) == []
    assert metered(aws.url, **taken) == "ok"


# -- who and where -----------------------------------------------------------------------------------


def test_an_unknown_product_code_is_refused(aws: Emulator) -> None:
    assert metered(aws.url, ProductCode="prod9") == "InvalidProductCodeException"


def test_a_dimension_must_be_one_of_the_products(emulator: Aws) -> None:
    aws = emulator(dimensions=("users",))
    assert metered(aws.url, UsageDimension="requests") == "InvalidUsageDimensionException"
    assert metered(aws.url, UsageDimension="users") == "ok"


def test_another_regions_endpoint_is_refused(aws: Emulator) -> None:
    assert metered(aws.url, region="eu-west-1") == "InvalidEndpointRegionException"
    aws.define_caller(access_key="pod-b", region="eu-west-1")
    assert metered(aws.url, workload="pod-b", region="eu-west-1") == "InvalidEndpointRegionException"


@pytest.mark.parametrize("reading", OffPlatform)
def test_outside_ecs_and_eks_each_reading_can_be_had(emulator: Aws, reading: OffPlatform) -> None:
    aws = emulator(behaviour=Behaviour(platform=Platform.NONE, meter_off_platform=reading))
    assert metered(aws.url) == reading.value
    aws.behave(platform="ecs")
    assert metered(aws.url) == "ok"
    aws.behave(platform="none")
    assert metered(aws.url) == "ok", "a workload that has metered is known"


def test_after_unsubscribing_a_workload_that_has_metered_may_go_on(still: Emulator) -> None:
    meter(still.url, Timestamp=NOON)
    still.unsubscribe()
    assert metered(still.url, UsageDimension="gigabytes", Timestamp=NOON) == "ok"
    assert metered(still.url, ProductCode="prod2", Timestamp=NOON) == DENIED
    assert metered(still.url, workload="pod-b", Timestamp=NOON) == DENIED


def test_only_metering_makes_a_workload_known_to_metering(aws: Emulator) -> None:
    register(aws.url)
    assert metered(aws.url, DryRun=True) == "DryRunOperation"
    aws.unsubscribe()
    assert metered(aws.url) == DENIED


def test_a_denial_ends_with_the_subscription_unless_denials_stick(emulator: Aws) -> None:
    for reask, then in ((Reask.ANSWERS, "ok"), (Reask.STICKY, DENIED)):
        aws = emulator(subscribed=False, behaviour=Behaviour(reask=reask))
        assert metered(aws.url) == DENIED
        aws.subscribe()
        assert metered(aws.url) == then
        assert metered(aws.url, workload="pod-b") == "ok"


def test_a_role_without_the_permission_is_denied(aws: Emulator) -> None:
    aws.define_caller(access_key="pod-a", allowed=False)
    with pytest.raises(ClientError, match="is not authorized to perform: aws-marketplace:MeterUsage") as refused:
        meter(aws.url)
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"


# -- the window --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "answer"),
    [
        (timedelta(hours=6), "ok"),
        (timedelta(hours=6, seconds=1), LATE),
        (timedelta(minutes=-15), "ok"),
        (timedelta(minutes=-15, seconds=-1), LATE),
    ],
)
def test_a_timestamp_may_be_six_hours_old_and_a_quarter_of_one_ahead(
    still: Emulator, age: timedelta, answer: str
) -> None:
    assert metered(still.url, Timestamp=NOON + timedelta(minutes=30) - age) == answer


def test_lateness_can_be_counted_from_the_hour(still: Emulator) -> None:
    old = NOON - timedelta(hours=6)
    assert metered(still.url, Timestamp=old) == LATE
    still.behave(late_from=LateFrom.HOUR.value)
    assert metered(still.url, Timestamp=old) == "ok"
    assert metered(still.url, Timestamp=old - timedelta(seconds=1)) == LATE


def test_the_window_can_be_the_one_hour_of_older_pages_and_shut_to_the_future(still: Emulator) -> None:
    still.behave(late_seconds_max=3600, early_seconds_max=0)
    now = NOON + timedelta(minutes=30)
    assert metered(still.url, Timestamp=now) == "ok"
    assert metered(still.url, Timestamp=now - timedelta(hours=1, seconds=1)) == LATE
    assert metered(still.url, Timestamp=now + timedelta(seconds=1)) == LATE


def test_a_timestamp_before_the_workloads_start_is_refused_where_asked(still: Emulator) -> None:
    still.define_caller(access_key="pod-a", started="2026-03-29T12:10:00Z")
    early, late = NOON, NOON + timedelta(minutes=10)
    assert metered(still.url, Timestamp=early) == "ok"
    still.behave(refuse_before_start=True)
    assert metered(still.url, Timestamp=early) == LATE
    assert metered(still.url, Timestamp=late) == "ok"
    assert metered(still.url, Timestamp=early, workload="pod-b") == "ok", "nobody knows when pod-b started"


# -- client tokens -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"UsageQuantity": 8},
        {"Timestamp": NOON + timedelta(seconds=1)},
        {"Timestamp": NOON - timedelta(hours=1)},
        {"UsageDimension": "gigabytes"},
        {"ProductCode": "prod2"},
        {"UsageAllocations": [{"AllocatedUsageQuantity": 7}]},
        {"workload": "pod-b"},
    ],
)
def test_a_client_token_with_other_parameters_is_a_conflict(still: Emulator, other: dict[str, Any]) -> None:
    usage: dict[str, Any] = {"UsageQuantity": 7, "Timestamp": NOON, "ClientToken": "t-1"}
    first = meter(still.url, **usage)
    assert metered(still.url, **{**usage, **other}) == "IdempotencyConflictException"
    assert meter(still.url, **usage)["MeteringRecordId"] == first["MeteringRecordId"]
    assert len(still.usage_records()) == 1


def test_a_client_token_is_tied_by_nothing_but_a_request_that_was_accepted(still: Emulator) -> None:
    assert metered(still.url, Timestamp=NOON, ClientToken="t-1", DryRun=True) == "DryRunOperation"
    assert metered(still.url, Timestamp=NOON - timedelta(days=1), ClientToken="t-1") == LATE
    assert metered(still.url, Timestamp=NOON, ClientToken="t-1", UsageQuantity=9) == "ok"


def test_a_client_token_belongs_to_its_account_and_to_its_case(still: Emulator) -> None:
    still.define_caller(access_key="pod-b", account="999999999999")
    still.subscribe(account="999999999999")
    for other in ({"workload": "pod-a"}, {"workload": "pod-b", "UsageQuantity": 8}):
        assert metered(still.url, **{"Timestamp": NOON, "ClientToken": "t", **other}) == "ok"
    assert metered(still.url, Timestamp=NOON, ClientToken="T", UsageDimension="gigabytes") == "ok"


def test_client_tokens_can_be_ignored(still: Emulator) -> None:
    still.behave(client_token_checked=False)
    meter(still.url, Timestamp=NOON, ClientToken="t")
    assert metered(still.url, Timestamp=NOON, ClientToken="t", UsageDimension="gigabytes") == "ok"
    assert metered(still.url, Timestamp=NOON, ClientToken="t", UsageQuantity=8) == "DuplicateRequestException"


# -- dry runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", DryRunStatus)
def test_a_dry_run_says_so_and_stores_nothing(emulator: Aws, status: DryRunStatus) -> None:
    aws = emulator(behaviour=Behaviour(dry_run_status=status))
    with pytest.raises(ClientError) as said:
        meter(aws.url, DryRun=True)
    assert said.value.response["Error"]["Code"] == "DryRunOperation"
    assert said.value.response["ResponseMetadata"]["HTTPStatusCode"] == status.value
    assert aws.bill() == []
    assert metered(aws.url, UsageQuantity=8) == "ok"


def test_a_dry_run_passes_over_what_is_on_record(aws: Emulator) -> None:
    meter(aws.url, UsageQuantity=7)
    assert metered(aws.url, UsageQuantity=8, DryRun=True) == "DryRunOperation"
    assert aws.recorded(NOW) == {"requests": 7}


def test_a_dry_run_without_the_permission_is_unauthorized(aws: Emulator) -> None:
    aws.define_caller(access_key="pod-a", allowed=False)
    assert metered(aws.url, DryRun=True) == "UnauthorizedException"
    assert metered(aws.url, DryRun=False) == "AccessDeniedException"


def test_a_dry_run_asks_for_the_subscription_only_where_the_knob_says_so(emulator: Aws) -> None:
    aws = emulator(subscribed=False)
    assert metered(aws.url, DryRun=True) == "DryRunOperation"
    aws.behave(dry_run_checks_subscription=True, reask="sticky")
    assert metered(aws.url, DryRun=True) == DENIED
    aws.subscribe()
    assert metered(aws.url, DryRun=True) == "DryRunOperation", "a dry run leaves no denial behind"


@pytest.mark.parametrize(
    ("usage", "answer"),
    [
        ({"UsageDimension": "other"}, "InvalidUsageDimensionException"),
        ({"ProductCode": "prod9"}, "InvalidProductCodeException"),
        ({"ClientToken": "t" * 65}, "ValidationException"),
        ({"region": "eu-west-1"}, "InvalidEndpointRegionException"),
    ],
)
def test_a_dry_run_finds_what_would_be_refused(aws: Emulator, usage: dict[str, Any], answer: str) -> None:
    assert metered(aws.url, DryRun=True, **usage) == answer


# -- the rest ----------------------------------------------------------------------------------------


def test_every_error_the_model_names_for_meterusage_can_be_had_here(aws: Emulator) -> None:
    model = Session().get_service_model("meteringmarketplace").operation_model("MeterUsage")
    for shape in model.error_shapes:
        aws.fault("MeterUsage", shape.name)
        assert metered(aws.url) == shape.name
    assert aws.usage_records() == []


def test_calls_are_listed(aws: Emulator) -> None:
    metered(aws.url)
    metered(aws.url, UsageQuantity=8)
    assert [(call.operation, call.workload, call.answer) for call in aws.calls()] == [
        ("MeterUsage", "pod-a", "ok"),
        ("MeterUsage", "pod-a", "DuplicateRequestException"),
    ]


def test_a_disabled_registration_api_does_not_disable_metering(aws: Emulator) -> None:
    aws.behave(disabled=True)
    assert code(lambda: register(aws.url)) == "DisabledApiException"
    assert metered(aws.url) == "ok"


def test_of_many_writers_at_once_one_has_the_slot(aws: Emulator) -> None:
    with ThreadPoolExecutor(max_workers=8) as writers:
        clients = [client(aws.url) for _ in range(8)]
        usage = {"ProductCode": PRODUCT, "Timestamp": NOW, "UsageDimension": "requests"}
        asked = [
            writers.submit(code, partial(each.meter_usage, **usage, UsageQuantity=quantity))
            for quantity, each in enumerate(clients)
        ]
        answers = [each.result() for each in asked]
    assert sorted(answers) == ["DuplicateRequestException"] * 7 + ["ok"]
    assert aws.recorded(NOW) == {"requests": answers.index("ok")}
