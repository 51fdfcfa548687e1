"""The documentation of the chart agrees with the chart."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from sidecar.marketplace import sdk_environment
from tests.chart.support import CHART, ROOT

EKS = (ROOT / "docs" / "howto" / "eks.md").read_text()
FILES = sorted((ROOT / "docs" / "examples" / "eks").iterdir())
README = (CHART / "README.md").read_text()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_about_the_role_is_named_and_is_there(path: object) -> None:
    assert f"(../examples/eks/{path.name})" in EKS  # type: ignore[attr-defined]


def test_no_other_file_is_named() -> None:
    assert set(re.findall(r"\(\.\./examples/eks/([^)]+)\)", EKS)) == {path.name for path in FILES}


def test_policies_allow_what_they_are_named_for_and_nothing_else() -> None:
    allowed = {}
    for path in FILES:
        if path.name.startswith("policy-"):
            (statement,) = json.loads(path.read_text())["Statement"]
            actions = statement["Action"]
            allowed[path.stem] = {actions} if isinstance(actions, str) else set(actions)
            assert (statement["Effect"], statement["Resource"]) == ("Allow", "*")
    register, meter = "aws-marketplace:RegisterUsage", "aws-marketplace:MeterUsage"
    contract = json.loads((ROOT / "ecs" / "iam" / "checkout-license.json").read_text())["Statement"][0]["Action"]
    assert allowed == {
        "policy-hourly": {register},
        "policy-custom": {meter},
        "policy-both": {register, meter},
        "policy-contract": set(contract),
    }


def test_the_trust_policy_names_one_account_and_the_audience_of_sts() -> None:
    (statement,) = json.loads((ROOT / "docs" / "examples" / "eks" / "trust-policy.json").read_text())["Statement"]
    assert statement["Action"] == "sts:AssumeRoleWithWebIdentity"
    assert statement["Condition"]["StringEquals"] == {
        "ISSUER:aud": "sts.amazonaws.com",
        "ISSUER:sub": "system:serviceaccount:NAMESPACE:SERVICE_ACCOUNT",
    }


FAKE_AWS = """aws() {
  case "$2" in
    describe-cluster) echo https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF ;;
    get-caller-identity) echo 123456789012 ;;
  esac
}
"""


def test_the_recipe_for_the_aws_cli_fills_in_the_trust_policy(tmp_path: Path) -> None:
    (recipe,) = re.findall(r"With the \*\*AWS CLI\*\*:\n\n```sh\n(.+?)```", EKS, re.DOTALL)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    subprocess.run(["bash", "-euc", FAKE_AWS + recipe], cwd=tmp_path, check=True)
    issuer = "oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF"
    (statement,) = json.loads((tmp_path / "trust.json").read_text())["Statement"]
    assert statement["Principal"] == {"Federated": f"arn:aws:iam::123456789012:oidc-provider/{issuer}"}
    assert statement["Condition"]["StringEquals"] == {
        f"{issuer}:aud": "sts.amazonaws.com",
        f"{issuer}:sub": "system:serviceaccount:shop:shop-bookshop",
    }


def test_no_code_is_promised_for_credentials_that_aws_does_not_support() -> None:
    """AWS documents none, and the node's role is not even tried: see `marketplace.sdk_environment`."""
    first = EKS.split("## The role")[0]
    for reason in ("platform_not_supported", "access_denied", "customer_not_entitled", "no_credentials"):
        assert f"`{reason}`" in first
    assert "PlatformNotSupportedException" not in EKS
    disabled = sdk_environment.for_sdk({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, None, in_platform=True)
    assert f"AWS_EC2_METADATA_DISABLED={disabled['AWS_EC2_METADATA_DISABLED']}" in EKS


def test_every_reason_that_is_named_exists() -> None:
    section = EKS.split("## When something is wrong")[1]
    reasons = set(re.findall(r"`([a-z]+(?:_[a-z]+)+)`", section))
    known = "".join(path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs" / "reference").glob("*.md")))
    assert reasons
    assert {reason for reason in reasons if f"`{reason}`" not in known} == set()


def test_every_helper_readme_names_exists_and_every_helper_is_named() -> None:
    internal = {
        "checked",
        "claim",
        "annotations",
        "name",
        "fullname",
        "partOf",
        "dashboardUid",
        "labels",
        "image",
        "usesApi",
        "flushSeconds",
        "appGraceSeconds",
        "graceSeconds",
        "validate",
        "validateAccount",
        "validateDimensions",
        "validateEnv",
        "complete",
        "needsOfPod",
        "needsOfGateOnly",
        "productWaits",
    }
    internal |= {"suffix", "slug", "containerName", "portName", "listenPorts", "shares", "runDirectory", "apiPort"}
    internal |= {"probeBind", "apiBind", "addressFile", "listenEnv", "envEntries", "productPrefix", "gateUrl"}
    internal |= {"copy", "note", "used"}
    internal |= {"counts", "countsCluster", "clusterName", "subjects"}
    internal |= {"validateListeners", "validateAliasWaits", "joinProduct", "otherSidecars", "portsFree"}
    internal |= {"containerBody", "securityContext", "ownEnv", "probes", "mounts", "ports"}
    internal |= {"pullSecrets", "podArguments", "podMetered", "podWaits"}
    internal |= {"joinAccount", "joinEqual", "joinInit", "joinMap", "joinNew", "joinWait"}
    text = "\n".join(path.read_text() for path in (CHART / "templates").iterdir())
    defined = set(re.findall(r'define "entitlement-sidecar\.(\w+)"', text))
    table = README.split("| Helper |")[1].split("\n\n")[0]
    assert defined == internal | set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))


def test_the_example_in_readme_is_the_examples_own() -> None:
    metered, gate_only = re.findall(r"```yaml\n(\{\{- \$gate := .*?)```", README, re.DOTALL)
    for snippet, file in ((metered, "api.yaml"), (gate_only, "worker.yaml")):
        text = (ROOT / "helm" / "examples" / "after" / "templates" / file).read_text()
        for line in snippet.splitlines():
            assert line == "…" or f"\n{line}\n" in f"\n{text}", line


def test_the_example_includes_every_helper_of_a_pod() -> None:
    """A value may move the gate from one helper to another."""
    metered, *gate_only = (
        set(re.findall(r'"entitlement-sidecar\.(\w+)"', (ROOT / "helm/examples/after/templates" / file).read_text()))
        for file in ("api.yaml", "worker.yaml", "search.yaml", "report.yaml")
    )
    container = {"initContainer", "classicContainer", "waitCommand", "waitEnv", "productEnv", "productMounts"}
    assert metered == container | {"podLabels", "podAnnotations", "podSpec", "volumes"}
    assert gate_only == [{"gateOnlyPodAnnotations", "imagePullSecrets", "gateOnlyInitContainer"}] * 3
