"""Hints name what is here, and promise what will happen."""

from __future__ import annotations

import pytest

from sidecar.entitlement.answer import AnsweredBy
from sidecar.entitlement.classify import classify, fill_hint
from sidecar.gate.hint_facts import hint_facts

POD = {
    "POD_UID": "pod-1",
    "POD_NAMESPACE": "shop",
    "SERVICE_ACCOUNT": "product",
    "KUBERNETES_SERVICE_HOST": "10.0.0.1",
}
ROLE = "arn:aws:iam::123456789012:role/product"


def hint(code: str, asked: AnsweredBy, env: dict[str, str], on_denied: str = "hold", reask_seconds: int = 300) -> str:
    """Return the hint of a code, as it is shown in this environment."""
    return fill_hint(classify(code, asked).hint, hint_facts(env, on_denied, reask_seconds))


@pytest.mark.parametrize(
    ("on_denied", "reask_seconds", "words", "never"),
    [
        ("hold", 300, "asks again by itself", "ends now"),
        ("hold", 0, "SIDECAR_REASK_SECONDS=0", "asks again by itself"),
        ("exit", 300, "ends now (SIDECAR_ON_DENIED=exit)", "by itself"),
        ("exit", 0, "ends now (SIDECAR_ON_DENIED=exit)", "recheck"),
    ],
)
def test_a_denial_says_what_follows_under_these_settings(
    on_denied: str, reask_seconds: int, words: str, never: str
) -> None:
    for asked in (AnsweredBy.REGISTER_USAGE, AnsweredBy.METER_USAGE):
        shown = hint("CustomerNotEntitledException", asked, POD, on_denied, reask_seconds)
        assert words in shown
        assert never not in shown


def test_a_pod_without_a_role_is_annotated_before_it_is_recreated() -> None:
    shown = hint("NoRegionError", AnsweredBy.SDK, POD)
    assert "kubectl annotate serviceaccount product -n shop eks.amazonaws.com/role-arn=" in shown
    assert shown.index("annotate") < shown.index("recreate")


def test_a_pod_with_a_role_and_no_region_is_not_told_to_annotate() -> None:
    shown = hint("NoRegionError", AnsweredBy.SDK, POD | {"AWS_ROLE_ARN": ROLE})
    assert "--aws-default-region" in shown
    assert "annotate" not in shown


def test_a_region_that_is_none_is_named() -> None:
    shown = hint("InvalidRegionError", AnsweredBy.SDK, POD | {"AWS_REGION": "no region!"})
    assert "AWS_REGION is 'no region!'" in shown
    assert "annotate" not in shown


def test_a_task_and_a_machine_are_told_nothing_of_kubernetes() -> None:
    task = {"ECS_CONTAINER_METADATA_URI_V4": "http://169.254.170.2/v4/x"}
    assert "ECS_CONTAINER_METADATA_URI_V4" in hint("NoRegionError", AnsweredBy.SDK, task)
    assert "Set AWS_REGION" in hint("NoRegionError", AnsweredBy.SDK, {})
    for env in (task, {}):
        assert "webhook" not in hint("NoRegionError", AnsweredBy.SDK, env)


def test_the_trust_policys_subject_is_the_pods_own() -> None:
    shown = hint("AccessDenied", AnsweredBy.STS, POD)
    assert "subject system:serviceaccount:shop:product." in shown
    for unknown in ({}, {"POD_NAMESPACE": "shop"}, {"SERVICE_ACCOUNT": "product"}):
        shown = hint("AccessDenied", AnsweredBy.STS, unknown)
        assert "NAMESPACE" not in shown
        assert "::" not in shown


def test_missing_credentials_name_the_service_account() -> None:
    assert "the service account shop/product" in hint("NoCredentialsError", AnsweredBy.SDK, POD)
    assert "the service account with an IRSA role" in hint("NoCredentialsError", AnsweredBy.SDK, {})
