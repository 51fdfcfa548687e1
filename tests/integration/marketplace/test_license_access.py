"""Credentials from a license's refresh token, over real HTTP, against the emulator."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.session import Session

from sidecar.emulator import Emulator
from sidecar.emulator.keys import SigningKeys
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.entitlement.aws_errors import LICENSE_ACCESS
from sidecar.entitlement.classify import TABLE
from sidecar.entitlement.contract import Entitlement
from sidecar.marketplace import sdk_environment
from sidecar.marketplace.client import LICENSES, Marketplace
from sidecar.marketplace.license_access import VARIABLES
from sidecar.marketplace.license_manager import CheckedOut, Checkout, check_in, checkout, new_client_token
from sidecar.marketplace.sdk_errors import CallFailed

ROLE = "arn:aws:iam::123456789012:role/license"
SKU = "prod-demo"
SEAT = Entitlement(name="seats", unit="Count", value="1")


@pytest.fixture(scope="module")
def keys() -> SigningKeys:
    return SigningKeys((1,))


@pytest.fixture
def aws(keys: SigningKeys) -> Iterator[Emulator]:
    with Emulator(keys=keys) as running:
        running.define_license(id="l-1", sku=SKU, entitlements=[{"name": "seats", "max_count": 2}])
        yield running


@pytest.fixture
def secret(aws: Emulator, tmp_path: Path) -> Path:
    """The mounted secret: a refresh token with the line break that an editor leaves."""
    file = tmp_path / "license_token"
    file.write_text(aws.create_token("l-1", ROLE)[1] + "\n")
    return file


def asked(aws: Emulator, marketplace: Marketplace) -> CheckedOut | CallFailed:
    """Check out a seat as the child does, whose environment is the SDK's own."""
    request = Checkout(sku=SKU, entitlement=SEAT, client_token=new_client_token())
    with sdk_environment.applied(marketplace.env, aws.url, in_platform=False):
        return checkout(marketplace, request)


def at(aws: Emulator, service: str = LICENSES, **env: str) -> Marketplace:
    given = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1", **env}
    return Marketplace(region="us-east-1", endpoint_url=aws.url, env=given, service=service)


def calls(aws: Emulator) -> list[tuple[str, str]]:
    return [(each.operation, each.answer) for each in aws.calls()]


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_refresh_token_checks_a_seat_out_and_in(aws: Emulator, secret: Path, variable: str) -> None:
    marketplace = at(aws, **{variable: str(secret), "AWS_ROLE_ARN": ROLE})
    found = asked(aws, marketplace)
    assert isinstance(found, CheckedOut)
    assert aws.held("l-1", "seats") == 1
    check_in(marketplace, found.consumption_token, found.region)
    assert aws.held("l-1", "seats") == 0
    assert calls(aws) == [
        ("GetAccessToken", "ok"),
        ("AssumeRoleWithWebIdentity", "ok"),
        ("CheckoutLicense", "ok"),
        ("CheckInLicense", "ok"),
    ]
    assert marketplace.credential_source().name == "the license's refresh token"


def test_credentials_are_exchanged_again_before_they_end(aws: Emulator, secret: Path) -> None:
    marketplace = at(aws, AWS_LICENSE_ACCESS_FILE=str(secret), AWS_ROLE_ARN=ROLE)
    asked(aws, marketplace)
    held = marketplace.session().get_credentials()
    held._time_fetcher = lambda: datetime.now(UTC) + timedelta(minutes=56)
    secret.write_text(aws.create_token("l-1", ROLE)[1])
    assert isinstance(asked(aws, marketplace), CheckedOut)
    assert [operation for operation, _ in calls(aws)].count("GetAccessToken") > 1


@pytest.mark.parametrize("first", ["irsa", "keys"])
def test_what_the_platform_gives_comes_first(aws: Emulator, secret: Path, tmp_path: Path, first: str) -> None:
    (tmp_path / "irsa").write_text("any text")
    platform = {
        "irsa": {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "irsa")},
        "keys": {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"},
    }
    marketplace = at(aws, AWS_LICENSE_ACCESS_FILE=str(secret), AWS_ROLE_ARN=ROLE, **platform[first])
    assert isinstance(asked(aws, marketplace), CheckedOut)
    assert "GetAccessToken" not in dict(calls(aws))


def test_metering_never_uses_it(aws: Emulator, secret: Path) -> None:
    marketplace = at(aws, "meteringmarketplace", AWS_LICENSE_ACCESS_FILE=str(secret), AWS_ROLE_ARN=ROLE)
    with sdk_environment.applied(marketplace.env, aws.url, in_platform=False):
        assert marketplace.session().get_credentials() is None
    assert calls(aws) == []


@pytest.mark.parametrize("content", [None, "", "two words", "x" * 5000, "tökén"])
def test_a_file_without_a_token_is_named_and_nothing_is_sent(
    aws: Emulator, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "license_token"
    if content is not None:
        file.write_text(content)
    found = asked(aws, at(aws, AWS_LICENSE_ACCESS_FILE=str(file), AWS_ROLE_ARN=ROLE))
    assert isinstance(found, CallFailed)
    assert (found.row.reason, found.row.answer) == ("license_token_unreadable", AnswerClass.CONFIG)
    assert calls(aws) == []


def test_a_missing_role_is_named_and_nothing_is_sent(aws: Emulator, secret: Path) -> None:
    found = asked(aws, at(aws, AWS_LICENSE_ACCESS_FILE=str(secret)))
    assert isinstance(found, CallFailed)
    assert found.row.reason == "license_role_missing"
    assert calls(aws) == []


@pytest.mark.parametrize(
    ("operation", "code", "reason", "answer"),
    [
        ("GetAccessToken", "AuthorizationException", "license_token_refused", AnswerClass.CONFIG),
        ("GetAccessToken", "ValidationException", "license_token_refused", AnswerClass.CONFIG),
        ("GetAccessToken", "RateLimitExceededException", "throttled", AnswerClass.RETRY),
        ("GetAccessToken", "ServerInternalException", "aws_failing", AnswerClass.RETRY),
        ("AssumeRoleWithWebIdentity", "AccessDenied", "license_role_refused", AnswerClass.CONFIG),
        ("AssumeRoleWithWebIdentity", "InvalidIdentityToken", "license_access_token_refused", AnswerClass.CONFIG),
        ("AssumeRoleWithWebIdentity", "IDPCommunicationError", "license_issuer_unreachable", AnswerClass.RETRY),
    ],
)
def test_a_refusal_on_the_way_is_told_from_one_of_a_service_account(
    aws: Emulator, secret: Path, operation: str, code: str, reason: str, answer: AnswerClass
) -> None:
    aws.fault(operation, code, times=None)
    found = asked(aws, at(aws, AWS_LICENSE_ACCESS_FILE=str(secret), AWS_ROLE_ARN=ROLE))
    assert isinstance(found, CallFailed)
    assert (found.code, found.row.reason, found.row.answer) == (code, reason, answer)


def test_a_deleted_token_is_refused_and_a_new_secret_counts_at_once(aws: Emulator, secret: Path) -> None:
    aws.tokens._refresh.clear()
    marketplace = at(aws, AWS_LICENSE_ACCESS_FILE=str(secret), AWS_ROLE_ARN=ROLE)
    refused = asked(aws, marketplace)
    assert isinstance(refused, CallFailed)
    secret.write_text(aws.create_token("l-1", ROLE)[1])
    assert isinstance(asked(aws, marketplace), CheckedOut)


def test_no_token_is_in_a_failure_or_a_log(aws: Emulator, secret: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "sidecar")
    aws.fault("GetAccessToken", "AuthorizationException", times=None, message=secret.read_text().strip())
    found = asked(aws, at(aws, AWS_LICENSE_ACCESS_FILE=str(secret), AWS_ROLE_ARN=ROLE))
    assert secret.read_text().strip() not in repr(found) + caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("asked_of", LICENSE_ACCESS, ids=lambda one: one.name)
def test_every_code_of_the_two_calls_has_its_row_over_the_wire(
    aws: Emulator, secret: Path, asked_of: AnsweredBy
) -> None:
    for code in sorted(code for code, asked in TABLE if asked is asked_of and code.isalpha()):
        aws.clear_faults()
        aws.fault(asked_of.value.split()[0], code, times=None, message="no reason is given")
        found = asked(aws, at(aws, AWS_LICENSE_ACCESS_FILE=str(secret), AWS_ROLE_ARN=ROLE))
        assert isinstance(found, CallFailed)
        assert (found.code, found.asked, found.row) == (code, asked_of, TABLE[code, asked_of])


@pytest.mark.parametrize(
    ("service", "operation", "asked_of"),
    [
        ("license-manager", "GetAccessToken", AnsweredBy.ACCESS_TOKEN),
        ("sts", "AssumeRoleWithWebIdentity", AnsweredBy.LICENSE_ROLE),
    ],
)
def test_every_error_that_the_models_name_has_a_row(service: str, operation: str, asked_of: AnsweredBy) -> None:
    shapes = Session().get_service_model(service).operation_model(operation).error_shapes
    codes = {shape.metadata.get("error", {}).get("code", shape.name) for shape in shapes}
    assert codes
    assert {code for code in codes if (code, asked_of) not in TABLE} == set()
