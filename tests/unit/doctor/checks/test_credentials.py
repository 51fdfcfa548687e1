"""The verdict on a source of credentials, from the SDK's name of it and the environment alone."""

from __future__ import annotations

import pytest

from sidecar.doctor.checks.credentials import Resolved, judged
from sidecar.doctor.finding import Status
from sidecar.entitlement.answer import AnsweredBy
from sidecar.marketplace.sdk_errors import call_failed
from tests.fakes.clock import NOON

OPERATIONS = ("RegisterUsage", "MeterUsage")
IRSA = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/app", "AWS_WEB_IDENTITY_TOKEN_FILE": "/token"}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
TASK = {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/x"}
RELATIVE = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"}
POD_IDENTITY = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials"}

VERDICTS = [
    ("assume-role-with-web-identity", POD | IRSA, "pass"),
    ("container-role", TASK | RELATIVE, "pass"),
    ("container-role", POD | POD_IDENTITY, "fail"),
    ("assume-role-with-web-identity", POD | IRSA | POD_IDENTITY, "warn"),
    ("iam-role", TASK, "fail"),
    ("iam-role", POD, "fail"),
    ("iam-role", {}, "fail"),
    ("env", IRSA, "fail"),
    ("shared-credentials-file", {}, "fail"),
    ("config-file", {}, "fail"),
    ("sso", {}, "fail"),
    ("custom-process", {}, "fail"),
    ("assume-role", {}, "fail"),
    ("login", {}, "fail"),
    (None, POD, "fail"),
    (None, TASK, "fail"),
    (None, {}, "fail"),
]


@pytest.mark.parametrize(
    ("method", "env", "status"), VERDICTS, ids=[f"{method}-{'-'.join(env)[:40]}" for method, env, _ in VERDICTS]
)
def test_only_irsa_and_the_task_role_are_accepted(method: str | None, env: dict[str, str], status: str) -> None:
    found = judged(Resolved(env=env, method=method, operations=OPERATIONS))
    assert found.status is Status(status)
    assert bool(found.fix) is (status != "pass")


@pytest.mark.parametrize(
    ("method", "emulated", "status"),
    [
        ("iam-role", False, "pass"),
        ("container-role", False, "pass"),
        ("env", True, "warn"),
        ("env", False, "fail"),
        (None, False, "fail"),
    ],
)
def test_on_agentcore_runtime_any_role_is_accepted_and_keys_are_not(
    method: str | None, emulated: bool, status: str
) -> None:
    found = judged(Resolved(env={}, method=method, operations=("MeterUsage",), agentcore=True, emulated=emulated))
    assert found.status is Status(status)
    assert "IRSA" not in found.rule + found.fix


def test_a_node_role_in_a_task_means_that_the_task_has_none_of_its_own() -> None:
    found = judged(Resolved(env=TASK, method="iam-role", operations=OPERATIONS))
    assert "Set taskRoleArn" in found.fix
    assert "not accepted for RegisterUsage and MeterUsage" in found.seen


def test_access_keys_are_a_warning_only_where_the_endpoint_is_not_aws() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIDOFTHEPOD", "AWS_SECRET_ACCESS_KEY": "secret"}
    assert judged(Resolved(env=keys, method="env", emulated=True)).status is Status.WARN
    assert judged(Resolved(env=keys, method="env")).status is Status.FAIL


def test_a_node_role_is_not_excused_by_another_endpoint() -> None:
    assert judged(Resolved(env={}, method="iam-role", emulated=True)).status is Status.FAIL


def test_a_credentials_address_that_is_no_url_is_named_as_one_without_a_host() -> None:
    refused = call_failed(ValueError("Unsupported host"), AnsweredBy.METER_USAGE, NOON)
    found = judged(Resolved(env={"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[bad"}, failure=refused))
    assert found.status is Status.FAIL
    assert "it names no host" in found.fix
