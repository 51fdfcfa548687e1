"""GetEntitlements shows what contracts give, by filters and pages, in one region."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from botocore.session import Session

from sidecar.emulator import Emulator
from tests.integration.emulator.conftest import ONE_TRY, PRODUCT, Aws, code

ACME = "444455556666"
UNTIL = datetime(2027, 1, 31, tzinfo=UTC)


@pytest.fixture
def selling(emulator: Aws) -> Emulator:
    """A newer customer with four entitlements, one of each kind, and an older one with one."""
    aws = emulator()
    four = [
        {"dimension": "seats", "value": 5, "expires": UNTIL.isoformat()},
        {"dimension": "ratio", "value": 0.5},
        {"dimension": "sso", "value": True},
        {"dimension": "tier", "value": "gold"},
    ]
    aws.saas.define_customer(id="acme", account=ACME, entitlements=four)
    old = [{"dimension": "seats", "value": 2}]
    aws.saas.define_customer(id="old", account="777788889999", identifier="ident-1", entitlements=old)
    return aws


def ask(aws: Emulator, region: str = "us-east-1", **asked: Any) -> Any:
    seller = boto3.client(
        "marketplace-entitlement",
        endpoint_url=aws.url,
        region_name=region,
        aws_access_key_id="seller",
        aws_secret_access_key="unchecked",
        config=ONE_TRY.merge(Config(parameter_validation=False)),
    )
    return seller.get_entitlements(**{"ProductCode": PRODUCT, **asked})


def names(answer: Any) -> list[str]:
    return [each["Dimension"] for each in answer.get("Entitlements", [])]


def test_each_kind_of_value_has_its_member(selling: Emulator) -> None:
    found = ask(selling, Filter={"CUSTOMER_AWS_ACCOUNT_ID": [ACME]})["Entitlements"]
    assert [each["Value"] for each in found] == [
        {"IntegerValue": 5},
        {"DoubleValue": 0.5},
        {"BooleanValue": True},
        {"StringValue": "gold"},
    ]
    assert (found[0]["ExpirationDate"], found[0]["LicenseArn"]) == (UNTIL, selling.saas.customer("acme").license_arn)
    assert "CustomerIdentifier" not in found[0]


def test_values_are_alternatives_and_filters_hold_together(selling: Emulator) -> None:
    assert names(ask(selling, Filter={"DIMENSION": ["seats", "tier"]})) == ["seats", "tier", "seats"]
    both = {"DIMENSION": ["seats", "tier"], "CUSTOMER_IDENTIFIER": ["ident-1"]}
    assert names(ask(selling, Filter=both)) == ["seats"]


def test_pages_are_followed_over_an_empty_one(selling: Emulator) -> None:
    selling.behave(entitlements_empty_page=True)
    found, token, pages = [], {}, 0
    while pages == 0 or token:
        answer = ask(selling, MaxResults=2, **token)
        found += names(answer)
        token = {"NextToken": answer["NextToken"]} if "NextToken" in answer else {}
        pages += 1
    assert (len(found), pages) == (5, 4)


@pytest.mark.parametrize("absent", [True, False])
def test_an_empty_list_may_be_absent(selling: Emulator, absent: bool) -> None:
    selling.behave(entitlements_absent=absent)
    assert ("Entitlements" in ask(selling, Filter={"DIMENSION": ["nothing"]})) is not absent


def test_a_subscription_that_ended_entitles_to_nothing(selling: Emulator) -> None:
    selling.saas.define_customer(id="acme", state="ended")
    assert names(ask(selling)) == ["seats"]


def test_another_account_is_told_nothing(selling: Emulator) -> None:
    selling.define_caller(access_key="seller", account=ACME)
    assert names(ask(selling)) == []


@pytest.mark.parametrize(
    "asked",
    [
        {"ProductCode": ""},
        {"MaxResults": 26},
        {"NextToken": "nothing"},
        {"Filter": {"COLOUR": ["red"]}},
        {"Filter": {"DIMENSION": []}},
        {"Filter": {"CUSTOMER_IDENTIFIER": ["a"], "CUSTOMER_AWS_ACCOUNT_ID": ["1"]}},
    ],
)
def test_what_the_model_forbids_is_an_invalid_parameter(selling: Emulator, asked: dict[str, Any]) -> None:
    assert code(lambda: ask(selling, **asked)) == "InvalidParameterException"


def test_another_region_has_no_endpoint(selling: Emulator) -> None:
    with pytest.raises(ConnectionClosedError):
        ask(selling, region="eu-west-1")
    assert selling.calls()[-1].answer == "no_endpoint"


def test_every_error_of_the_model_can_be_had(selling: Emulator) -> None:
    operation = Session().get_service_model("marketplace-entitlement").operation_model("GetEntitlements")
    for shape in operation.error_shapes:
        selling.fault("GetEntitlements", shape.name)
        assert code(lambda: ask(selling)) == shape.name
