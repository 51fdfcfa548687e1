"""BatchMeterUsage counts each customer, dimension and hour once, and one bad record refuses a whole call."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from botocore.exceptions import ClientError
from botocore.session import Session

from sidecar.emulator import Emulator
from tests.integration.emulator.conftest import PRODUCT, Aws, client, code, share

START = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
ACME = "444455556666"
OLD = "777788889999"


@pytest.fixture
def selling(emulator: Aws) -> Emulator:
    """A newer customer and an older one; the clock stands."""
    aws = emulator(clock_start=START, clock_speed=0)
    aws.saas.define_customer(id="acme", account=ACME, license=arn("1"))
    aws.saas.define_customer(id="old", account=OLD, identifier="ident-1")
    return aws


def arn(number: str) -> str:
    return f"arn:aws:license-manager::294406891311:license:l-{number}"


def usage(quantity: Any = 7, at: datetime = START, **fields: Any) -> dict[str, Any]:
    """A record of the newer customer; a quantity that is text is a decimal one."""
    field = "QuantityAsDecimal" if isinstance(quantity, str) else "Quantity"
    whole = {"Timestamp": at, "Dimension": "requests", "CustomerAWSAccountId": ACME, "LicenseArn": arn("1")}
    return {name: value for name, value in {**whole, field: quantity, **fields}.items() if value is not None}


def older(quantity: Any = 7, at: datetime = START, **fields: Any) -> dict[str, Any]:
    """A record of the older customer."""
    who = {"CustomerAWSAccountId": None, "LicenseArn": None, "CustomerIdentifier": "ident-1"}
    return usage(quantity, at, **{**who, **fields})


def send(aws: Emulator, *records: dict[str, Any], region: str = "us-east-1", **request: Any) -> Any:
    seller = client(aws.url, workload="seller", region=region, parameter_validation=False)
    return seller.batch_meter_usage(UsageRecords=list(records), **request)


def statuses(answer: Any) -> list[str]:
    return sorted(each["Status"] for each in answer["Results"])


def refused(aws: Emulator, *records: dict[str, Any], **request: Any) -> str:
    """The code of a call that was refused as a whole: nothing of it is on the bill."""
    before = aws.saas.usage_records()
    found = code(lambda: send(aws, *records, **request))
    assert aws.saas.usage_records() == before
    return found


def billed(aws: Emulator, **which: Any) -> dict[str, Decimal]:
    return aws.saas.billed(START, **which)


def test_a_record_is_billed_to_its_license(selling: Emulator) -> None:
    (result,) = send(selling, usage("2.5"))["Results"]
    (line,) = selling.saas.bill()
    assert (line.account, line.license_arn, line.total) == (ACME, arn("1"), Decimal("2.5"))
    assert result["MeteringRecordId"] == line.records[0].record_id
    assert result["UsageRecord"]["QuantityAsDecimal"] == "2.5"


def test_a_record_of_an_older_product_is_billed_by_product_code(selling: Emulator) -> None:
    assert statuses(send(selling, older(3), ProductCode=PRODUCT)) == ["Success"]
    (line,) = selling.saas.bill()
    assert (line.product_code, line.account, line.license_arn) == (PRODUCT, OLD, "")


@pytest.mark.parametrize("again", [7, "7", "7.0", "7.000000"])
def test_the_same_value_again_is_the_same_record(selling: Emulator, again: Any) -> None:
    first = send(selling, usage(7))["Results"][0]["MeteringRecordId"]
    answer = send(selling, usage(again, START + timedelta(minutes=9)))
    assert answer["Results"][0]["MeteringRecordId"] == first
    assert billed(selling) == {"requests": Decimal(7)}


def test_another_value_is_a_duplicate_and_the_first_stands(selling: Emulator) -> None:
    send(selling, usage(7))
    answer = send(selling, usage("7.1"))
    assert statuses(answer) == ["DuplicateRecord"]
    assert "MeteringRecordId" not in answer["Results"][0]
    assert billed(selling) == {"requests": Decimal(7)}


def test_an_identical_record_may_be_answered_as_a_duplicate(selling: Emulator) -> None:
    selling.behave(saas_same_record="DuplicateRecord")
    send(selling, usage(7))
    assert statuses(send(selling, usage(7))) == ["DuplicateRecord"]


def test_of_two_records_of_one_slot_in_a_call_the_first_is_kept(selling: Emulator) -> None:
    assert statuses(send(selling, usage(7), usage(8))) == ["DuplicateRecord", "Success"]
    assert billed(selling) == {"requests": Decimal(7)}


def test_the_same_record_in_another_region_is_billed_again(selling: Emulator) -> None:
    send(selling, usage(7))
    send(selling, usage(7), region="eu-west-1")
    assert [line.region for line in selling.saas.bill()] == ["eu-west-1", "us-east-1"]


def test_an_account_and_an_identifier_of_one_customer_share_the_slot(selling: Emulator) -> None:
    send(selling, older(7), ProductCode=PRODUCT)
    other = older(8, CustomerIdentifier=None, CustomerAWSAccountId=OLD)
    assert statuses(send(selling, other, ProductCode=PRODUCT)) == ["DuplicateRecord"]


def test_customers_dimensions_and_hours_are_apart(selling: Emulator) -> None:
    selling.saas.define_customer(id="more", account=ACME, license=arn("2"))
    before = START - timedelta(hours=1)
    answer = send(selling, usage(1), usage(2, LicenseArn=arn("2")), usage(3, Dimension="gigabytes"), usage(4, before))
    assert statuses(answer) == ["Success"] * 4
    assert billed(selling, license=arn("1")) == {"requests": Decimal(1), "gigabytes": Decimal(3)}
    assert selling.saas.billed(before) == {"requests": Decimal(4)}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (usage(Dimension="nothing"), "InvalidUsageDimensionException"),
        (usage(LicenseArn=arn("9")), "InvalidLicenseException"),
        (usage(CustomerAWSAccountId=OLD), "InvalidLicenseException"),
        (usage(at=START - timedelta(hours=24)), "TimestampOutOfBoundsException"),
        (usage(at=START + timedelta(minutes=16)), "TimestampOutOfBoundsException"),
        (usage("1.1234567"), "ValidationException"),
        (usage("01"), "ValidationException"),
        (usage(1, QuantityAsDecimal="1"), "ValidationException"),
        (usage(-1), "ValidationException"),
        (usage(CustomerIdentifier="ident-1"), "ValidationException"),
        (usage(CustomerAWSAccountId=None), "ValidationException"),
        (usage(LicenseArn=None), "ValidationException"),
        (usage(UsageAllocations=[share(6)]), "InvalidUsageAllocationsException"),
        (usage(UsageAllocations=[share("7")]), "InvalidUsageAllocationsException"),
        (usage(UsageAllocations=[share(7, **{f"k{n}": "v" for n in range(6)})]), "InvalidTagException"),
    ],
)
def test_one_bad_record_refuses_the_whole_call(selling: Emulator, record: dict[str, Any], expected: str) -> None:
    assert refused(selling, usage(5), record, usage(6, Dimension="gigabytes")) == expected


@pytest.mark.parametrize(
    ("request_code", "record", "expected"),
    [
        ("nothing", older(), "InvalidProductCodeException"),
        (PRODUCT, older(CustomerIdentifier="ident-9"), "InvalidCustomerIdentifierException"),
        (PRODUCT, usage(), "ValidationException"),
    ],
)
def test_a_product_code_must_fit_and_never_be_beside_a_license(
    selling: Emulator, request_code: str, record: dict[str, Any], expected: str
) -> None:
    assert refused(selling, record, ProductCode=request_code) == expected


def test_both_ids_may_be_billed_twice(selling: Emulator) -> None:
    selling.behave(saas_both_ids="double")
    send(selling, usage(7), ProductCode=PRODUCT)
    send(selling, usage(7, LicenseArn=None), ProductCode=PRODUCT)
    assert [(line.license_arn, line.total) for line in selling.saas.bill()] == [("", 7), (arn("1"), 7)]


def test_licenses_of_two_products_are_refused_together(selling: Emulator) -> None:
    selling.saas.define_customer(id="b", account=ACME, license=arn("2"), product="prod2")
    assert refused(selling, usage(), usage(LicenseArn=arn("2"))) == "InvalidLicenseException"
    assert statuses(send(selling, usage(LicenseArn=arn("2")))) == ["Success"]


def test_more_than_25_records_are_refused_and_25_are_not(selling: Emulator) -> None:
    hours = [usage(1, START - timedelta(minutes=50 * n)) for n in range(26)]
    assert refused(selling, *hours) == "ValidationException"
    assert len(send(selling, *hours[:25])["Results"]) == 25


def test_a_body_of_1_mb_is_refused(selling: Emulator) -> None:
    tags = [{"Key": f"k{n}", "Value": "v" * 256} for n in range(5)]
    many = [{"AllocatedUsageQuantity": 0, "Tags": tags}] * 700
    assert refused(selling, usage(0, UsageAllocations=many)) == "ValidationException"


def test_an_empty_list_is_answered(selling: Emulator) -> None:
    answer = send(selling)
    assert (answer["Results"], answer["UnprocessedRecords"]) == ([], [])


def test_another_account_than_the_sellers_meters_nothing(selling: Emulator) -> None:
    selling.define_caller(access_key="seller", account=ACME)
    assert refused(selling, usage()) == "InvalidLicenseException"
    assert refused(selling, older(), ProductCode=PRODUCT) == "InvalidProductCodeException"


def test_a_subscription_that_is_ending_takes_usage_for_an_hour(selling: Emulator) -> None:
    from sidecar.emulator.customers import Subscription

    selling.saas.set_state("acme", Subscription.ENDING)
    selling.set_clock(now=START + timedelta(minutes=59))
    assert statuses(send(selling, usage(1))) == ["Success"]
    selling.set_clock(now=START + timedelta(minutes=60))
    assert statuses(send(selling, usage(2, Dimension="gigabytes"))) == ["CustomerNotSubscribed"]
    selling.saas.set_state("acme", Subscription.ACTIVE)
    assert statuses(send(selling, usage(2, Dimension="gigabytes"))) == ["Success"]


@pytest.mark.parametrize("state", ["pending", "ended"])
def test_a_customer_without_a_subscription_is_billed_nothing(selling: Emulator, state: str) -> None:
    selling.saas.define_customer(id="acme", state=state)
    assert statuses(send(selling, usage())) == ["CustomerNotSubscribed"]
    assert selling.saas.bill() == []


def test_the_final_hour_may_begin_at_the_end(selling: Emulator) -> None:
    selling.behave(saas_final_hour="ended")
    selling.saas.define_customer(id="acme", state="ended")
    assert statuses(send(selling, usage())) == ["Success"]
    selling.set_clock(now=START + timedelta(hours=1))
    assert statuses(send(selling, usage(Dimension="gigabytes"))) == ["CustomerNotSubscribed"]


@pytest.mark.parametrize(
    ("now", "at", "grace", "taken"),
    [
        ("2026-03-01T05:59:59Z", "2026-02-28T23:30:00Z", "limit", True),
        ("2026-03-01T06:00:00Z", "2026-02-28T23:30:00Z", "limit", False),
        ("2026-03-01T05:59:00Z", "2026-02-28T03:30:00Z", "limit", False),
        ("2026-03-01T05:59:00Z", "2026-02-28T03:30:00Z", "extension", True),
        ("2026-03-01T06:00:00Z", "2026-02-28T23:30:00Z", "extension", False),
        ("2026-03-02T05:59:00Z", "2026-03-01T06:00:00Z", "limit", True),
    ],
)
def test_a_month_ends_at_six(selling: Emulator, now: str, at: str, grace: str, taken: bool) -> None:
    selling.behave(saas_month_grace=grace)
    selling.set_clock(now=datetime.fromisoformat(now))
    answer = code(lambda: send(selling, usage(at=datetime.fromisoformat(at))))
    assert answer == ("ok" if taken else "TimestampOutOfBoundsException")


def test_unprocessed_records_are_not_billed_and_are_taken_again(selling: Emulator) -> None:
    selling.behave(saas_unprocessed_share=0.5)
    records = [usage(n, START - timedelta(hours=n)) for n in range(1, 11)]
    answer = send(selling, *records)
    assert (len(answer["Results"]), len(answer["UnprocessedRecords"])) == (5, 5)
    assert len(selling.saas.usage_records()) == 5
    selling.behave(saas_unprocessed_share=0.0)
    assert statuses(send(selling, *answer["UnprocessedRecords"])) == ["Success"] * 5
    assert sum(each.quantity for each in selling.saas.usage_records()) == sum(range(1, 11))


def test_a_quota_throttles_and_lets_the_rest_through(selling: Emulator) -> None:
    selling.behave(
        saas_calls_per_second=1.0
    )  # refilled in real time: however slow the machine, not as fast as it calls
    found = [code(lambda: send(selling, usage())) for _ in range(4)]
    assert found[0] == "ok"
    assert set(found) == {"ok", "ThrottlingException"}


@pytest.mark.parametrize(("kind", "key"), [("batch_no_results", "Results"), ("batch_no_record_id", "MeteringRecordId")])
def test_an_odd_answer_is_billed_all_the_same(selling: Emulator, kind: str, key: str) -> None:
    selling.fault("BatchMeterUsage", kind)
    answer = send(selling, usage())
    assert key not in answer
    assert key not in answer.get("Results", [{}])[0]
    assert billed(selling) == {"requests": Decimal(7)}


def test_a_lost_answer_is_billed_once(selling: Emulator) -> None:
    from botocore.exceptions import BotoCoreError

    selling.fault("BatchMeterUsage", "drop_after")
    with pytest.raises((BotoCoreError, ClientError)):
        send(selling, usage())
    assert statuses(send(selling, usage())) == ["Success"]
    assert billed(selling) == {"requests": Decimal(7)}


def test_every_error_of_the_model_can_be_had(selling: Emulator) -> None:
    operation = Session().get_service_model("meteringmarketplace").operation_model("BatchMeterUsage")
    for shape in operation.error_shapes:
        selling.fault("BatchMeterUsage", shape.name)
        with pytest.raises(ClientError) as caught:
            send(selling, usage())
        error = caught.value.response
        assert error["Error"]["Code"] == shape.name
        assert error["ResponseMetadata"]["HTTPStatusCode"] == (500 if "Internal" in shape.name else 400)


@pytest.mark.parametrize("decimal", [True, False])
def test_the_kind_of_field_that_is_not_taken_refuses_the_whole_call(selling: Emulator, decimal: bool) -> None:
    selling.behave(refuse_decimal_quantity=decimal, refuse_integer_quantity=not decimal)
    taken, other = (7, "7") if decimal else ("7", 7)
    assert refused(selling, usage(taken), usage(other, Dimension="gb")) == "ValidationException"
    assert statuses(send(selling, usage(taken))) == ["Success"]
