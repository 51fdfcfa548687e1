"""Where License Manager is asked, any role is accepted, and nothing is checked out to find out."""

from __future__ import annotations

import json

import pytest

from sidecar.doctor.finding import Status

from .support import ROLE, Container, text
from .test_credentials import credentials_endpoint, keys, pod_identity

SKU = "prod-demo"


@pytest.fixture
def by_contract(container: Container) -> Container:
    return container.set(
        SIDECAR_PUBLIC_KEY=None,
        SIDECAR_ENTITLEMENT_CHECK="checkout_license",
        SIDECAR_PRODUCT_SKU=SKU,
        SIDECAR_LICENSES=json.dumps([{"name": "seats", "take": "seat"}]),
    )


def with_token(container: Container, *, role: str | None = ROLE) -> str:
    """Mount a license's secret; return its refresh token."""
    aws = container.aws()
    aws.define_license(id="l-1", sku=SKU, entitlements=[{"name": "seats"}])
    token = aws.create_token("l-1", ROLE)[1]
    file = container.directory / "license_token"
    file.write_text(token)
    container.set(AWS_LICENSE_ACCESS_FILE=str(file), AWS_ROLE_ARN=role)
    return token


def test_a_licenses_refresh_token_passes_and_is_not_shown(by_contract: Container) -> None:
    token = with_token(by_contract)
    for check in ("credentials", "identity"):
        found = by_contract.check(check)
        assert found.status is Status.PASS, found
        assert token not in text(found)
    assert "the license's refresh token" in by_contract.check("credentials").seen


def test_a_refresh_token_that_is_refused_fails_with_what_to_create_again(by_contract: Container) -> None:
    token = with_token(by_contract)
    (by_contract.directory / "license_token").write_text(token + "x")
    found = by_contract.check("credentials")
    assert found.status is Status.FAIL
    assert "Create the license's token again" in found.fix
    assert token not in text(found)


def test_a_refresh_token_without_a_role_fails_with_where_it_is(by_contract: Container) -> None:
    with_token(by_contract, role=None)
    assert "iam_role" in by_contract.check("credentials").fix


def test_metering_does_not_take_a_refresh_token(container: Container) -> None:
    with_token(container)
    assert container.check("credentials").status is Status.FAIL


def test_pod_identity_and_the_task_role_pass(by_contract: Container) -> None:
    assert pod_identity(by_contract).check("credentials").status is Status.PASS
    by_contract.set(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=None)
    by_contract.task().set(AWS_CONTAINER_CREDENTIALS_FULL_URI=credentials_endpoint(by_contract))
    assert by_contract.check("credentials").status is Status.PASS


def test_access_keys_are_a_warning(by_contract: Container) -> None:
    found = keys(by_contract).check("credentials")
    assert found.status is Status.WARN
    assert "keys do not end" in found.fix


def test_without_any_the_fix_names_the_licenses_secret(by_contract: Container) -> None:
    found = by_contract.check("credentials")
    assert found.status is Status.FAIL
    assert "AWS_WEB_IDENTITY_REFRESH_TOKEN_FILE" in found.fix


def test_the_hosts_are_those_of_license_manager_and_its_token(by_contract: Container) -> None:
    assert [one.service for one in by_contract.context().aws_hosts] == ["license-manager"]
    assert by_contract.context().aws_hosts[0].host == "license-manager.us-east-1.amazonaws.com"
    by_contract.set(AWS_LICENSE_ACCESS_FILE="/token", AWS_ROLE_ARN=ROLE)
    assert [one.service for one in by_contract.context().aws_hosts] == ["license-manager", "sts"]


def test_a_dimension_that_is_drawn_from_a_license_is_not_metered(by_contract: Container) -> None:
    by_contract.set(
        SIDECAR_DIMENSIONS="requests,credits",
        SIDECAR_LICENSES=json.dumps(
            [{"name": "seats", "take": "seat"}, {"name": "pool", "take": "drawdown", "dimension": "credits"}]
        ),
    )
    assert [one.name for one in by_contract.context().metered_dimensions] == ["requests"]
    assert by_contract.context().operations == ("CheckoutLicense", "MeterUsage")


def outside(container: Container) -> Container:
    """Take away what makes it a pod."""
    return container.set(POD_UID=None, POD_NAMESPACE=None, SERVICE_ACCOUNT=None, KUBERNETES_SERVICE_HOST=None)


def test_outside_aws_a_contract_needs_neither_a_pod_nor_a_task(by_contract: Container) -> None:
    found = outside(by_contract).check("workload")
    assert (found.status, "License Manager needs neither" in found.seen) == (Status.PASS, True)


def test_a_contract_with_a_metered_dimension_does(by_contract: Container) -> None:
    by_contract.set(SIDECAR_DIMENSIONS="requests")
    found = outside(by_contract).check("workload")
    assert (found.status, "PlatformNotSupportedException" in found.fix) == (Status.WARN, True)


def test_no_public_key_is_needed(by_contract: Container) -> None:
    found = by_contract.check("public_key")
    assert (found.status, "AWS signs no answer to checkout_license" in found.seen) == (Status.SKIP, True)


def test_permission_cannot_be_tried_and_the_statement_stands_in_the_fix(by_contract: Container) -> None:
    found = by_contract.check("iam")
    assert found.status is Status.SKIP
    assert '"license-manager:CheckoutLicense"' in found.fix


@pytest.mark.parametrize(
    ("entitlement", "status"),
    [
        ({"entitled": True, "reason": "licenses_allowed"}, Status.PASS),
        ({"entitled": False, "reason": "access_denied", "hint": "Attach the policy."}, Status.FAIL),
    ],
)
def test_what_a_running_sidecar_was_answered_counts(
    by_contract: Container, entitlement: dict[str, object], status: Status
) -> None:
    by_contract.status = {"entitlement": {"entitlement_check": "checkout_license", **entitlement}}
    assert by_contract.check("iam").status is status
