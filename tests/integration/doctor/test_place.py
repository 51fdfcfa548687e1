"""Which workload this is and in which region, as the environment, the agent and the tokens have it."""

from __future__ import annotations

import base64
import json

from sidecar.doctor.finding import Status

from .support import ACCOUNT, POD, TASK_ARN, Container

# -- workload


def test_a_pod_passes_with_its_uid_and_its_source(container: Container) -> None:
    found = container.check("workload")
    assert found.status is Status.PASS
    assert f"POD_UID: {POD}" in found.seen
    assert "namespace shop" in found.seen


def test_a_pod_without_a_uid_is_a_warning_with_the_lines_to_add(container: Container) -> None:
    found = container.set(POD_UID=None).check("workload")
    assert found.status is Status.WARN
    assert "{name: POD_UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}" in found.fix


def test_a_uid_that_is_not_the_one_in_the_token_fails(container: Container) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"kubernetes.io": {"pod": {"uid": "other"}}}).encode()).decode()
    token = container.directory / "token"
    token.write_text(f"e30.{claims}.c2ln")
    found = container.set(AWS_WEB_IDENTITY_TOKEN_FILE=str(token)).check("workload")
    assert found.status is Status.FAIL
    assert "'other'" in found.fix


def test_a_name_that_contradicts_the_pod_fails(container: Container) -> None:
    found = container.set(SIDECAR_WORKLOAD_ID="mine").check("workload")
    assert found.status is Status.FAIL
    assert "SIDECAR_WORKLOAD_ID" in found.fix


def test_a_task_passes_with_its_arn_and_its_account_is_masked(container: Container) -> None:
    found = container.task().check("workload")
    assert found.status is Status.PASS
    assert TASK_ARN.replace(ACCOUNT, "********9012") in found.seen
    assert ACCOUNT not in found.seen


def test_an_agent_that_describes_no_task_fails(container: Container) -> None:
    container.task({})
    found = container.check("workload")
    assert found.status is Status.FAIL
    assert "ECS_CONTAINER_METADATA_URI_V4/task" in found.fix
    assert container.check("region").status is Status.FAIL


def test_a_machine_outside_is_a_warning(container: Container) -> None:
    found = container.set(POD_UID=None, KUBERNETES_SERVICE_HOST=None).check("workload")
    assert found.status is Status.WARN
    assert "PlatformNotSupportedException" in found.fix


# -- region


def test_a_region_passes_with_its_source(container: Container) -> None:
    found = container.check("region")
    assert found.status is Status.PASS
    assert found.seen == "us-east-1, from AWS_REGION"


def test_no_region_fails_with_what_sets_it_here(container: Container) -> None:
    found = container.set(AWS_REGION=None).check("region")
    assert found.status is Status.FAIL
    assert "kubectl annotate serviceaccount product -n shop" in found.fix


def test_a_region_that_contradicts_the_task_is_a_warning_and_the_tasks_is_used(container: Container) -> None:
    found = container.task().set(AWS_REGION="eu-west-1").check("region")
    assert found.status is Status.WARN
    assert found.seen.startswith("us-east-1, from the task ARN")
    assert "AWS_REGION says eu-west-1" in found.seen
    assert "Remove AWS_REGION" in found.fix


def test_a_misspelt_region_is_a_warning(container: Container) -> None:
    found = container.set(AWS_REGION="eu-west1").check("region")
    assert found.status is Status.WARN
    assert "no such region" in found.seen


def test_metering_in_govcloud_is_a_warning_and_registering_is_none(container: Container) -> None:
    assert container.set(AWS_REGION="us-gov-west-1").check("region").status is Status.PASS
    assert container.set(SIDECAR_DIMENSIONS="requests").check("region").status is Status.WARN
