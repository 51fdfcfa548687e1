"""Where credentials come from, in an operator's words, and whether metering accepts that."""

from __future__ import annotations

import botocore.credentials
import botocore.session
import pytest

from sidecar.marketplace.credentials import UNSUPPORTED, source

ROLE = "arn:aws:iam::1:role/shop"
IRSA = {"AWS_ROLE_ARN": ROLE, "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/secrets/eks.amazonaws.com/serviceaccount/token"}
POD_IDENTITY = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/var/run/secrets/pods.eks.amazonaws.com/serviceaccount/token",
}
ECS = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/x"}


def test_irsa_is_supported_and_names_its_role() -> None:
    found = source("assume-role-with-web-identity", IRSA)
    assert (found.name, found.role, found.caution) == ("IRSA (web identity)", ROLE, "")


@pytest.mark.parametrize("method", ["container-role", "iam-role", "env", "assume-role-with-web-identity", "sso"])
def test_license_manager_takes_every_role_without_a_caution(method: str) -> None:
    found, at_metering = source(method, POD_IDENTITY, metering=False), source(method, POD_IDENTITY)
    assert (found.name, found.role, found.caution) == (at_metering.name, at_metering.role, "")


@pytest.mark.parametrize("env", [ECS, {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://localhost:1/x"}, {}])
def test_the_task_role_is_supported(env: dict[str, str]) -> None:
    found = source("container-role", env)
    assert (found.name, found.role, found.caution) == ("the ECS task role", "", "")


@pytest.mark.parametrize(
    "part", [*POD_IDENTITY.items(), ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://[fd00:ec2::23]/v1")]
)
def test_pod_identity_is_known_by_either_mark_and_cautioned_against(part: tuple[str, str]) -> None:
    found = source("container-role", IRSA | dict([part]))
    assert found.name == "EKS Pod Identity"
    assert "IRSA" in found.caution
    assert found.role == "", "the role of IRSA is not the one that is used"


def test_pod_identity_that_is_not_used_is_not_cautioned_against() -> None:
    assert source("assume-role-with-web-identity", IRSA | POD_IDENTITY).caution == ""


@pytest.mark.parametrize(("method", "words"), [("env", "AWS_ACCESS_KEY_ID"), ("iam-role", "taskRoleArn")])
def test_an_unsupported_source_says_what_to_do(method: str, words: str) -> None:
    found = source(method, IRSA)
    assert words in found.caution
    assert found.role == ""


def test_in_a_task_the_nodes_role_means_that_the_task_has_none() -> None:
    found = source("iam-role", {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/x"})
    assert "has no task role" in found.caution
    assert "set taskRoleArn" in found.caution
    assert "EKS" not in found.caution


@pytest.mark.parametrize("method", ["shared-credentials-file", "custom-process", "sso", "assume-role"])
def test_any_other_source_is_named_and_cautioned_against(method: str) -> None:
    found = source(method, {})
    assert found.name == method
    assert "only" in found.caution


def test_no_credentials_are_no_source_and_no_caution() -> None:
    found = source(None, IRSA)
    assert (found.name, found.role, found.caution) == ("none", ROLE, "")


def test_the_methods_named_here_are_botocores() -> None:
    resolver = botocore.credentials.create_credential_resolver(botocore.session.Session())
    methods = {provider.METHOD for provider in resolver.providers}
    assert {"container-role", *UNSUPPORTED} <= methods
    assert botocore.credentials.AssumeRoleWithWebIdentityProvider.METHOD == "assume-role-with-web-identity"


def test_no_key_or_token_is_ever_repeated() -> None:
    env = {"AWS_ACCESS_KEY_ID": "AKIASECRET", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_SESSION_TOKEN": "hunter3"}
    for method in ("env", "container-role", "other", None):
        assert not [word for word in env.values() if word in repr(source(method, env))]
