"""The injector's chart: what it renders, what it refuses, and how a seller gets it."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import sidecar
from tests.chart.kubeconform import NATIVE, refusals
from tests.chart.support import CHART, HELM, INJECTOR, NAME, in_parent, of_kind, pod_of, ran, refusal, render, tool
from tests.chart.test_rendered import vendor, violations

CASES = sorted((INJECTOR / "ci").glob("*-values.yaml"))
FILES = [path for path in INJECTOR.rglob("*") if path.is_file() and "charts" not in path.relative_to(INJECTOR).parts]
OF_THE_CLUSTER = {"mutatingwebhookconfiguration.yaml", "clusterrole.yaml", "clusterrolebinding.yaml"}


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_parent(tmp_path_factory.mktemp("injector"), INJECTOR)


def values_of(case: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(case.read_text()) or {})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.removesuffix("-values.yaml"))
class TestEachCase:
    def test_lints_and_renders_as_aws_does_it(self, case: Path, chart: Path) -> None:
        # Not --with-subcharts: with it helm lints the subchart by the parent's values, which a closed schema refuses.
        done = ran(tool("helm"), "lint", "--strict", chart, "--values", case)
        assert done.returncode == 0, done.stdout + done.stderr
        render(chart, values_of(case), ("--include-crds", "--no-hooks", "--set", "k8version=1.33"))

    def test_passes_the_restricted_profile(self, case: Path, chart: Path) -> None:
        for manifest in render(chart, values_of(case)):
            if manifest["kind"] == "Deployment":
                assert violations(pod_of(manifest)) == []


@pytest.mark.parametrize("version", NATIVE)
def test_every_case_is_valid_by_kubernetes_schemas(version: str, chart: Path) -> None:
    assert refusals({case.stem: render(chart, values_of(case)) for case in CASES}, version) == ""


def test_the_suites_of_helm_unittest_pass(tmp_path: Path) -> None:
    unittest = tool("helm-unittest")
    done = ran(unittest, "--strict", "--with-subchart=false", in_parent(tmp_path, INJECTOR))
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_template_has_a_suite() -> None:
    templates = {path.stem for path in (INJECTOR / "templates").glob("*.yaml")}
    assert {path.name.removesuffix("_test.yaml") for path in (INJECTOR / "tests").iterdir()} == templates


def test_disabled_nothing_is_rendered(chart: Path) -> None:
    assert render(chart, {"entitlement": {"enabled": False}}) == []


def test_the_injector_may_touch_two_named_objects_and_no_other(chart: Path) -> None:
    manifests = render(chart)
    rules = [rule for one in manifests if one["kind"] in ("Role", "ClusterRole") for rule in one["rules"]]
    names = {one["metadata"]["name"] for one in manifests if one["kind"] in ("Secret", "MutatingWebhookConfiguration")}
    assert {name for rule in rules for name in rule["resourceNames"]} == names
    assert len(names) == len(rules) == 2
    assert {verb for rule in rules for verb in rule["verbs"]} <= {"get", "update", "patch"}


def test_irsas_webhook_is_called_after_ours(chart: Path) -> None:
    """API servers go by the names of the configurations."""
    found = of_kind(render(chart, release="zoo"), "MutatingWebhookConfiguration")
    assert found["metadata"]["name"] < "pod-identity-webhook"


def test_two_injectors_share_no_object_of_the_cluster(chart: Path) -> None:
    def names(release: str, namespace: str) -> set[tuple[str, str]]:
        made = render(chart, {"entitlement": {"gateMode": "readinessGate"}}, ("--namespace", namespace), release)
        return {(one["kind"], one["metadata"]["name"]) for one in made if "namespace" not in one["metadata"]}

    first = names("rel", "a")
    assert len(first) == 4
    assert first.isdisjoint(names("rel", "b"))
    assert first.isdisjoint(names("other", "a"))


def test_a_wrong_value_of_the_sidecar_is_refused_as_in_its_own_chart(chart: Path) -> None:
    assert "gateMode" in refusal(chart, {"entitlement": {"gateMode": "maybe"}})
    assert "gateMod" in refusal(chart, {"entitlement": {"gateMod": "startup"}})
    assert "probePort and apiPort are both 8484" in refusal(chart, {"entitlement": {"apiPort": 8484}})


def test_authorities_are_not_made_faster_than_they_are_replaced(chart: Path) -> None:
    words = refusal(chart, {"certificate": {"rotateSeconds": 599}})
    assert "certificate.settleSeconds is 600, more than certificate.rotateSeconds, 599" in words
    assert render(chart, {"certificate": {"rotateSeconds": 600}})


class TestAddOnRules:
    """What AWS's check of EKS add-on charts searches for, as text."""

    def test_no_hook_and_nothing_of_the_release_but_name_and_namespace(self) -> None:
        text = "\n".join(path.read_text() for path in FILES)
        assert "helm.sh" + "/hook" not in text
        assert set(re.findall(r".Release(.\w*)", text)) == {".Name", ".Namespace"}

    def test_no_lookup_no_capabilities_and_no_image_but_from_values(self) -> None:
        text = "\n".join(path.read_text() for path in (INJECTOR / "templates").iterdir())
        assert "lookup" not in text
        assert ".Capabilities" not in text
        assert re.findall(r"image: (.*)", text) == ['{{ include "entitlement-sidecar.image" $sidecar | quote }}']

    def test_every_object_of_a_namespace_says_it(self) -> None:
        for path in (INJECTOR / "templates").glob("*.yaml"):
            said = "\n  namespace: {{ .Release.Namespace | quote }}" in path.read_text()
            assert said is (path.name not in OF_THE_CLUSTER), path

    def test_a_buyer_may_set_what_the_values_have_and_no_image(self) -> None:
        offered = json.loads((INJECTOR / "aws_mp_configuration_schema.json").read_text())["properties"]
        values = yaml.safe_load((INJECTOR / "values.yaml").read_text())
        assert set(offered) <= set(values)
        theirs = yaml.safe_load((CHART / "values.yaml").read_text())
        assert set(offered["entitlement"]["properties"]) <= set(theirs) - {"image", "imagePullSecrets"}


def test_versions_agree_with_the_sidecars_chart() -> None:
    ours = yaml.safe_load((INJECTOR / "Chart.yaml").read_text())
    theirs = yaml.safe_load((CHART / "Chart.yaml").read_text())
    (dependency,) = ours["dependencies"]
    assert ours["appVersion"] == sidecar.__version__
    assert ours["version"] == dependency["version"] == theirs["version"]
    assert (dependency["name"], dependency["alias"]) == (NAME, "entitlement")


def test_two_commands_make_a_sellers_injector(tmp_path: Path) -> None:
    copy = tmp_path / "acme-injector"
    shutil.copytree(HELM / "entitlement-sidecar-injector", copy, ignore=shutil.ignore_patterns("charts"))
    done = vendor(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    helm = tool("helm")
    done = ran(helm, "lint", "--strict", "--with-subcharts", copy)
    assert done.returncode == 0, done.stdout + done.stderr
    manifests = render(copy)
    image = "r.example.com/acme/gate:9.9"
    assert pod_of(of_kind(manifests, "Deployment"))["spec"]["containers"][0]["image"] == image
    pieces = json.loads(of_kind(manifests, "ConfigMap")["data"]["pieces.json"])
    assert pieces["initContainer"][0]["image"] == image
    assert ran(helm, "package", copy, "--destination", tmp_path).returncode == 0
    but = ("--ignore", "chart-image-registry")  # the registry here is none
    done = ran(sys.executable, "-m", "sidecar", "listing", "check", "--strict", *but, "--chart", copy)
    assert done.returncode == 0, done.stdout + done.stderr
