"""What AWS says of the identity and of its permission, without registering or billing anything."""

from __future__ import annotations

import json

import pytest

from sidecar.doctor.diagnosis import diagnose
from sidecar.doctor.finding import Finding, Status
from sidecar.emulator import Emulator

from .support import ROLE, SECRET_KEY, Container, text
from .test_credentials import TOKEN, credentials_endpoint

CHECKED = ("identity", "iam")


def metering(container: Container, *dimensions: str) -> Container:
    names = ",".join(dimensions or ("requests", "gigabytes"))
    container.set(SIDECAR_ENTITLEMENT_CHECK="meter_usage", SIDECAR_DIMENSIONS=names, SIDECAR_PUBLIC_KEY=None)
    return container


def billed(aws: Emulator) -> list[object]:
    """Return every call that could cost money, and every record."""
    risky = [call for call in aws.calls() if call.operation in ("RegisterUsage", "MeterUsage")]
    return [*(call for call in risky if call.answer != "DryRunOperation"), *aws.registrations(), *aws.usage_records()]


# -- identity


def test_the_identity_passes_with_its_account_masked(container: Container) -> None:
    container.aws()
    found = container.irsa().check("identity")
    assert found.status is Status.PASS
    assert found.seen == "account ********9012, arn:aws:sts::********9012:assumed-role/app/pod-uid-1"


def test_expired_credentials_fail(container: Container) -> None:
    container.aws().fault("GetCallerIdentity", "ExpiredToken", times=None)
    found = container.irsa().check("identity")
    assert found.status is Status.FAIL
    assert "ExpiredToken" in found.seen
    assert "Restart" in found.fix


def test_a_denied_question_for_the_identity_fails(container: Container) -> None:
    container.aws().fault("GetCallerIdentity", "AccessDenied", times=None)
    found = container.irsa().check("identity")
    assert found.status is Status.FAIL
    assert "VPC endpoint" in found.fix


def test_keys_that_aws_does_not_know_fail(container: Container) -> None:
    container.aws().fault("GetCallerIdentity", "InvalidClientTokenId", times=None)
    assert container.irsa().check("identity").status is Status.FAIL


def test_an_sts_out_of_reach_fails_with_irsa_and_warns_without(container: Container) -> None:
    container.aws().fault("GetCallerIdentity", "drop_before", times=None)
    assert container.irsa().check("identity").status is Status.FAIL
    container.task().set(
        AWS_ROLE_ARN=None,
        AWS_WEB_IDENTITY_TOKEN_FILE=None,
        AWS_CONTAINER_CREDENTIALS_FULL_URI=credentials_endpoint(container),
    )
    found = container.check("identity")
    assert found.status is Status.WARN
    assert "not needed" in found.seen


def as_task(container: Container) -> Container:
    """Give the container credentials as a task has them, so that STS is asked for the identity alone."""
    return container.task().set(AWS_CONTAINER_CREDENTIALS_FULL_URI=credentials_endpoint(container))


def test_the_role_of_a_node_fails(container: Container) -> None:
    container.aws().define_caller(access_key="ASIAOFTHETASK", workload="i-0123456789abcdef0", role="node")
    found = as_task(container).check("identity")
    assert found.status is Status.FAIL
    assert "the node's role" in found.seen


def test_another_role_than_the_one_of_irsa_fails(container: Container) -> None:
    container.aws()
    found = as_task(container).set(AWS_ROLE_ARN=ROLE).check("identity")
    assert found.status is Status.FAIL
    assert "another role than AWS_ROLE_ARN (app)" in found.seen


def test_a_user_fails(container: Container) -> None:
    """STS's answer for access keys of a user; the emulator knows roles alone."""
    who = "<Arn>arn:aws:iam::123456789012:user/jane</Arn><UserId>AIDA</UserId><Account>123456789012</Account>"
    result = f"<GetCallerIdentityResult>{who}</GetCallerIdentityResult>"
    body = f'<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">{result}'
    url = container.serve(f"{body}</GetCallerIdentityResponse>".encode(), content_type="text/xml")
    found = as_task(container).set(SIDECAR_ENDPOINT_URL=url).check("identity")
    assert found.status is Status.FAIL
    assert found.seen.startswith("a user or the account's root: account ********9012")


def test_a_role_of_another_account_than_the_tasks_is_a_warning(container: Container) -> None:
    container.aws().define_caller(access_key="ASIAOFTHETASK", account="999999999999")
    assert as_task(container).check("identity").status is Status.WARN


# -- iam


def test_a_dry_run_of_each_dimension_passes_and_bills_nothing(container: Container) -> None:
    aws = container.aws()
    found = metering(container.irsa()).check("iam")
    assert found.status is Status.PASS
    assert "requests: allowed" in found.seen
    assert "gigabytes: allowed" in found.seen
    assert billed(aws) == []


def test_a_missing_permission_fails_with_the_statement(container: Container) -> None:
    aws = container.aws()
    aws.behave(allowed=False)
    found = metering(container.irsa()).check("iam")
    assert found.status is Status.FAIL
    assert "UnauthorizedException (access_denied)" in found.seen
    assert '"Action": "aws-marketplace:MeterUsage", "Resource": "*"' in found.fix
    assert "123456789012" not in text(found)


def test_a_dimension_that_the_listing_does_not_have_fails_beside_one_that_it_has(container: Container) -> None:
    container.aws()
    found = metering(container.irsa(), "requests", "petabytes").check("iam")
    assert found.status is Status.FAIL
    assert "requests: allowed" in found.seen
    assert "the API name petabytes" in found.fix


def test_a_customer_who_has_not_subscribed_fails(container: Container) -> None:
    aws = container.aws()
    aws.behave(dry_run_checks_subscription=True)
    aws.unsubscribe()
    found = metering(container.irsa()).check("iam")
    assert found.status is Status.FAIL
    assert "customer_not_entitled" in found.seen


@pytest.mark.parametrize("code", ["ThrottlingException", "DuplicateRequestException"])
def test_a_refusal_that_passes_by_itself_is_a_warning(container: Container, code: str) -> None:
    container.aws().fault("MeterUsage", code, times=None)
    assert metering(container.irsa()).check("iam").status is Status.WARN


def test_register_usage_is_skipped_with_the_statement_and_never_asked(container: Container) -> None:
    aws = container.aws()
    found = container.irsa().check("iam")
    assert found.status is Status.SKIP
    assert "no dry run" in found.seen
    assert '"Action": "aws-marketplace:RegisterUsage", "Resource": "*"' in found.fix
    assert aws.calls() == []


def test_register_usage_with_dimensions_has_these_dry_run(container: Container) -> None:
    aws = container.aws()
    found = container.irsa().set(SIDECAR_DIMENSIONS="requests").check("iam")
    assert found.status is Status.PASS
    assert "RegisterUsage has no dry run" in found.seen
    assert "RegisterUsage" in found.fix
    assert billed(aws) == []


ANSWERED = {"entitlement_check": "register_usage", "entitled": True, "reason": "registered", "kept_answer": False}


def beside(container: Container, **entitlement: object) -> Finding:
    container.aws()
    container.status = {"entitlement": {**ANSWERED, **entitlement}}
    return container.irsa().check("iam")


def test_what_a_running_sidecar_was_answered_counts_for_register_usage(container: Container) -> None:
    assert beside(container).status is Status.PASS


def test_a_kept_answer_of_a_running_sidecar_says_nothing_of_today(container: Container) -> None:
    assert beside(container, kept_answer=True).status is Status.SKIP


def test_a_running_sidecar_that_was_denied_fails_with_its_hint(container: Container) -> None:
    hint = 'Allow aws-marketplace:RegisterUsage on Resource "*" for arn:aws:iam::123456789012:role/app.'
    found = beside(container, entitled=False, reason="access_denied", hint=hint)
    assert found.status is Status.FAIL
    assert "arn:aws:iam::********9012:role/app" in found.fix


# -- all of it


@pytest.mark.parametrize("check", ["register_usage", "meter_usage"])
def test_a_whole_diagnosis_registers_and_bills_nothing_and_shows_no_secret(container: Container, check: str) -> None:
    aws = container.aws()
    container.irsa().set(SIDECAR_ENTITLEMENT_CHECK=check, SIDECAR_DIMENSIONS="requests")
    document = json.dumps(diagnose(container.context()).as_json())
    assert {"identity", "iam"} <= {one["id"] for one in json.loads(document)["checks"]}
    assert [call.operation for call in aws.calls()].count("MeterUsage") == 1
    assert billed(aws) == []
    issued = [key["access_key"] for key in aws.state()["callers"]]  # type: ignore[attr-defined]
    assert issued
    for secret in [*issued, (container.directory / "token").read_text()]:
        assert secret not in document
    assert "123456789012" not in document
    assert "BEGIN PUBLIC KEY" not in document


def test_the_secrets_of_a_task_are_not_shown(container: Container) -> None:
    container.aws()
    container.task().set(AWS_CONTAINER_CREDENTIALS_FULL_URI=credentials_endpoint(container))
    document = json.dumps(diagnose(container.context()).as_json())
    assert SECRET_KEY not in document
    assert TOKEN not in document


def test_wrong_settings_skip_what_would_ask_aws(container: Container) -> None:
    aws = container.aws()
    found = diagnose(container.irsa().set(SIDECAR_ON_DENIED="explode").context()).findings
    assert found["settings"].status is Status.FAIL
    assert {found[id_].status for id_ in CHECKED} == {Status.SKIP}
    assert aws.calls() == []
