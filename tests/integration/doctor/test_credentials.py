"""Which credentials the SDK takes from a real environment, and whether AWS Marketplace accepts them."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sidecar.doctor.finding import Status
from tests.ports import free_port

from .support import POD, REGION, ROLE, SECRET_KEY, Container, text

POD_IDENTITY_MOUNT = "pods.eks.amazonaws.com"
TOKEN = "token-of-the-container-that-nobody-may-see"


def keys(container: Container) -> Container:
    return container.set(AWS_ACCESS_KEY_ID="AKIAIOSFODNN7EXAMPLE", AWS_SECRET_ACCESS_KEY=SECRET_KEY)


def credentials_endpoint(container: Container) -> str:
    """Start what the ECS agent or EKS Pod Identity is: an endpoint that hands out credentials."""
    expiry = (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ")
    issued = {"AccessKeyId": "ASIAOFTHETASK", "SecretAccessKey": SECRET_KEY, "Token": TOKEN, "Expiration": expiry}
    return container.serve(json.dumps(issued).encode())


def pod_identity(container: Container) -> Container:
    mount = container.directory / POD_IDENTITY_MOUNT
    mount.mkdir()
    (mount / "token").write_text(TOKEN)
    return container.set(
        AWS_CONTAINER_CREDENTIALS_FULL_URI=credentials_endpoint(container),
        AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(mount / "token"),
    )


# -- accepted


def test_irsa_passes_for_the_operation_and_its_account_is_masked(container: Container) -> None:
    container.aws()
    found = container.irsa().check("credentials")
    assert found.status is Status.PASS
    assert "accepted for RegisterUsage" in found.seen
    assert "arn:aws:iam::********9012:role/team/app" in found.seen


def test_the_task_role_passes(container: Container) -> None:
    container.task().set(AWS_CONTAINER_CREDENTIALS_FULL_URI=credentials_endpoint(container))
    found = container.check("credentials")
    assert found.status is Status.PASS
    assert "the ECS task role" in found.seen


# -- not accepted


def test_access_keys_fail_and_are_not_shown(container: Container) -> None:
    found = keys(container).check("credentials")
    assert found.status is Status.FAIL
    assert "not accepted for RegisterUsage" in found.seen
    assert SECRET_KEY not in text(found)
    assert "AKIA" not in text(found)


def test_access_keys_beside_irsa_fail_since_they_win(container: Container) -> None:
    found = keys(container.irsa()).check("credentials")
    assert found.status is Status.FAIL
    assert "AWS_WEB_IDENTITY_TOKEN_FILE" in found.seen
    assert "win over IRSA" in found.fix


def test_access_keys_for_the_emulator_are_a_warning(container: Container) -> None:
    container.aws()
    assert keys(container).check("credentials").status is Status.WARN


def test_pod_identity_fails_and_the_association_is_to_be_deleted(container: Container) -> None:
    found = pod_identity(container).check("credentials")
    assert found.status is Status.FAIL
    assert "EKS Pod Identity" in found.seen
    assert "delete-pod-identity-association" in found.fix
    assert "--namespace shop --service-account product" in found.fix
    assert TOKEN not in text(found)


def test_pod_identity_that_does_not_answer_fails_with_the_same_fix(container: Container) -> None:
    pod_identity(container).set(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=f"/nonexistent/{POD_IDENTITY_MOUNT}/token")
    found = container.check("credentials")
    assert found.status is Status.FAIL
    assert "delete-pod-identity-association" in found.fix


def test_pod_identity_beside_irsa_is_a_warning(container: Container) -> None:
    container.aws()
    found = pod_identity(container.irsa()).check("credentials")
    assert found.status is Status.WARN
    assert "IRSA (web identity)" in found.seen


# -- none, or half


def test_a_pod_without_injection_fails_with_the_annotation_to_look_at(container: Container) -> None:
    found = container.check("credentials")
    assert found.status is Status.FAIL
    assert "nothing was injected" in found.seen
    assert "kubectl get serviceaccount product -n shop" in found.fix


def test_a_pod_without_injection_fails_so_without_a_region_too(container: Container) -> None:
    found = container.set(AWS_REGION=None).check("credentials")
    assert found.status is Status.FAIL
    assert "nothing was injected" in found.seen


def test_wrong_settings_hide_no_missing_credentials(container: Container) -> None:
    assert container.set(SIDECAR_ON_DENIED="explode").check("credentials").status is Status.FAIL


def test_a_task_without_a_role_fails_with_task_role_arn(container: Container) -> None:
    found = container.task().check("credentials")
    assert found.status is Status.FAIL
    assert "taskRoleArn" in found.fix
    assert "kubectl" not in found.fix


def test_a_machine_outside_fails(container: Container) -> None:
    found = container.set(POD_UID=None, KUBERNETES_SERVICE_HOST=None, AWS_EC2_METADATA_DISABLED="true").check(
        "credentials"
    )
    assert found.status is Status.FAIL
    assert "Amazon EKS" in found.fix


def test_a_profile_is_named_as_ignored(container: Container) -> None:
    config = container.directory / "config"
    config.write_text(f"[profile shop]\naws_access_key_id = AKIDOFFILE\naws_secret_access_key = {SECRET_KEY}\n")
    found = container.set(AWS_PROFILE="shop", AWS_CONFIG_FILE=str(config)).check("credentials")
    assert found.status is Status.FAIL
    assert "set and ignored: AWS_PROFILE, AWS_CONFIG_FILE" in found.seen
    assert SECRET_KEY not in text(found)


@pytest.mark.parametrize("left", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
def test_half_a_key_pair_fails_and_names_the_half(container: Container, left: str) -> None:
    found = container.set(**{left: SECRET_KEY}).check("credentials")
    assert found.status is Status.FAIL
    assert f"Remove {left} from the container" in found.fix
    assert SECRET_KEY not in text(found)


@pytest.mark.parametrize(
    ("name", "value"), [("AWS_ROLE_ARN", ROLE), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nonexistent/token")]
)
def test_half_of_irsa_fails_since_it_keeps_the_webhook_away(container: Container, name: str, value: str) -> None:
    found = container.set(**{name: value}).check("credentials")
    assert found.status is Status.FAIL
    assert f"Remove {name} from the container" in found.fix


def test_a_service_account_token_that_is_not_mounted_fails(container: Container) -> None:
    container.aws()
    found = container.irsa().set(AWS_WEB_IDENTITY_TOKEN_FILE="/nonexistent/token").check("credentials")
    assert found.status is Status.FAIL
    assert found.seen.startswith("FileNotFoundError")
    assert "service-account token cannot be read" in found.fix


def test_a_credentials_address_elsewhere_fails_and_only_its_host_is_shown(container: Container) -> None:
    found = container.set(AWS_CONTAINER_CREDENTIALS_FULL_URI=f"http://creds.example/{TOKEN}").check("credentials")
    assert found.status is Status.FAIL
    assert "creds.example" in found.fix
    assert TOKEN not in text(found)


# -- STS says no


def test_a_trust_policy_that_refuses_fails_with_the_subject_it_needs(container: Container) -> None:
    container.aws().fault("AssumeRoleWithWebIdentity", "AccessDenied", times=None)
    found = container.irsa().check("credentials")
    assert found.status is Status.FAIL
    assert found.seen.startswith("AccessDenied")
    assert "system:serviceaccount:shop:product" in found.fix
    assert "123456789012" not in text(found)


def token_for(container: Container, audience: str) -> None:
    claims = {"aud": [audience], "exp": 1_900_000_000, "kubernetes.io": {"pod": {"uid": POD}}}
    payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode()
    Path(container.env["AWS_WEB_IDENTITY_TOKEN_FILE"]).write_text(f"e30.{payload}.c2ln")


def test_a_token_for_another_audience_that_sts_refuses_fails_with_what_sets_it(container: Container) -> None:
    container.aws().fault("AssumeRoleWithWebIdentity", "InvalidIdentityToken", times=None)
    token_for(container.irsa(), "vault.example")
    found = container.check("credentials")
    assert found.status is Status.FAIL
    assert "its token is for vault.example, valid until 2030-03-17T17:46:40.000Z" in found.seen
    assert "eks.amazonaws.com/audience" in found.fix


def test_a_token_for_sts_that_is_refused_has_no_wrong_audience(container: Container) -> None:
    container.aws().fault("AssumeRoleWithWebIdentity", "InvalidIdentityToken", times=None)
    token_for(container.irsa(), "sts.amazonaws.com")
    found = container.check("credentials")
    assert found.status is Status.FAIL
    assert "eks.amazonaws.com/audience" not in found.fix
    assert "OIDC provider" in found.fix


def test_an_sts_that_cannot_be_reached_fails(container: Container) -> None:
    container.irsa().set(SIDECAR_ENDPOINT_URL=f"http://127.0.0.1:{free_port()}")
    found = container.check("credentials")
    assert found.status is Status.FAIL
    assert found.seen.startswith("EndpointConnectionError")
    assert "Allow outbound HTTPS" in found.fix


def test_the_environment_of_this_process_is_as_it_was_after_a_check(
    container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    monkeypatch.setenv("AWS_PROFILE", "mine")
    before = dict(os.environ)
    container.set(AWS_REGION=REGION).check("credentials")
    assert dict(os.environ) == before
