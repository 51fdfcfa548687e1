"""ResolveCustomer says whom a registration token stands for, to the seller alone and for some hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.session import Session

from sidecar.emulator import Emulator
from tests.integration.emulator.conftest import PRODUCT, Aws, client, code

START = datetime(2026, 3, 10, 12, 30, tzinfo=UTC)
ACME = "444455556666"


@pytest.fixture
def selling(emulator: Aws) -> Emulator:
    aws = emulator(clock_start=START, clock_speed=0)
    aws.saas.define_customer(id="acme", account=ACME, agreement="agmt-1")
    return aws


def resolve(aws: Emulator, token: str) -> dict[str, Any]:
    return dict(
        client(aws.url, workload="seller", parameter_validation=False).resolve_customer(RegistrationToken=token)
    )


def resolved(aws: Emulator, token: str) -> str:
    return code(lambda: resolve(aws, token))


def test_a_newer_customer_has_account_license_and_agreement(selling: Emulator) -> None:
    found = resolve(selling, selling.saas.make_token("acme"))
    assert found["CustomerAWSAccountId"] == ACME
    assert found["LicenseArn"] == selling.saas.customer("acme").license_arn
    assert (found["ProductCode"], found["Metadata"]) == (PRODUCT, {"AgreementId": "agmt-1"})
    assert "CustomerIdentifier" not in found


def test_an_older_customer_has_an_identifier_and_no_license(selling: Emulator) -> None:
    selling.saas.define_customer(id="old", account="777788889999", identifier="ident-1")
    found = resolve(selling, selling.saas.make_token("old"))
    assert found["CustomerIdentifier"] == "ident-1"
    assert "LicenseArn" not in found


def test_a_token_has_what_forms_lose_and_is_nowhere_shown(selling: Emulator) -> None:
    token = selling.saas.make_token("acme")
    assert {"+", "/", "="} <= set(token)
    resolve(selling, token)
    assert token not in f"{selling.state()} {selling.calls()} {selling.saas!r}"
    assert resolved(selling, token.replace("+", " ")) == "InvalidTokenException"


def test_a_token_ends_after_four_hours(selling: Emulator) -> None:
    token = selling.saas.make_token("acme")
    selling.set_clock(now=START + timedelta(hours=3, minutes=59))
    assert resolved(selling, token) == "ok"
    selling.set_clock(now=START + timedelta(hours=4))
    assert resolved(selling, token) == "ExpiredTokenException"


@pytest.mark.parametrize("again", ["answered", "InvalidTokenException", "ExpiredTokenException"])
def test_a_token_redeemed_again_follows_the_setting(selling: Emulator, again: str) -> None:
    selling.behave(saas_token_again=again)
    token = selling.saas.make_token("acme")
    assert resolved(selling, token) == "ok"
    assert resolved(selling, token) == ("ok" if again == "answered" else again)


def test_a_token_is_resolved_from_the_sellers_account_alone(selling: Emulator) -> None:
    assert resolved(selling, selling.saas.make_token("acme", seller="999999999999")) == "InvalidTokenException"
    selling.define_caller(access_key="seller", account=ACME)
    assert resolved(selling, selling.saas.make_token("acme")) == "InvalidTokenException"


def test_an_unknown_and_an_empty_token_are_refused(selling: Emulator) -> None:
    assert resolved(selling, "nothing") == "InvalidTokenException"
    assert resolved(selling, "") == "ValidationException"


def test_every_error_of_the_model_can_be_had(selling: Emulator) -> None:
    operation = Session().get_service_model("meteringmarketplace").operation_model("ResolveCustomer")
    token = selling.saas.make_token("acme")
    for shape in operation.error_shapes:
        selling.fault("ResolveCustomer", shape.name)
        assert resolved(selling, token) == shape.name
