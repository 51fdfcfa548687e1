"""The chart of the SaaS service: what it renders, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import sidecar
from sidecar.settings.saas_table import SAAS_BY_NAME
from sidecar.settings.table import BY_NAME
from tests.chart.kubeconform import NATIVE, refusals
from tests.chart.support import SAAS, of_kind, pod_of, ran, refusal, render, tool
from tests.chart.test_rendered import violations

CASES = sorted((SAAS / "ci").glob("*-values.yaml"))
TEMPLATES = sorted((SAAS / "templates").glob("*.yaml"))
TOKEN = {"apiToken": {"existingSecret": "saas-token"}}
NOT_SETTINGS = {"SIDECAR_CONFIG"}


def values_of(case: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(case.read_text()) or {})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.removesuffix("-values.yaml"))
class TestEachCase:
    def test_lints(self, case: Path) -> None:
        done = ran(tool("helm"), "lint", "--strict", SAAS, "--values", case)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_passes_the_restricted_profile(self, case: Path) -> None:
        assert violations(pod_of(of_kind(render(SAAS, values_of(case)), "Deployment"))) == []


@pytest.mark.parametrize("version", NATIVE)
def test_every_case_is_valid_by_kubernetes_schemas(version: str) -> None:
    assert refusals({case.stem: render(SAAS, values_of(case)) for case in CASES}, version) == ""


def test_the_suites_of_helm_unittest_pass(tmp_path: Path) -> None:
    copy = shutil.copytree(SAAS, tmp_path / SAAS.name)
    done = ran(tool("helm-unittest"), "--strict", copy)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_template_has_a_suite_and_says_its_namespace() -> None:
    suites = {path.name.removesuffix("_test.yaml") for path in (SAAS / "tests").iterdir()}
    assert suites == {path.stem for path in TEMPLATES}
    for path in TEMPLATES:
        assert "\n  namespace: {{ .Release.Namespace | quote }}" in path.read_text(), path


def test_nothing_of_the_release_but_name_and_namespace() -> None:
    text = "\n".join(path.read_text() for path in (SAAS / "templates").iterdir())
    assert set(re.findall(r"\.Release(\.\w*)", text)) == {".Name", ".Namespace"}
    assert "lookup" not in text
    assert ".Capabilities" not in text


def test_every_variable_is_a_setting() -> None:
    made = pod_of(of_kind(render(SAAS, {**TOKEN, "database": {"existingSecret": "db"}}), "Deployment"))
    names = {one["name"] for one in made["spec"]["containers"][0]["env"]} - NOT_SETTINGS
    known = {one.variable for one in (*BY_NAME.values(), *SAAS_BY_NAME.values())}
    assert names - known == set()


def test_a_change_of_the_settings_replaces_the_pods() -> None:
    def pod(code: str) -> Any:
        return pod_of(of_kind(render(SAAS, {**TOKEN, "config": {"product_code": code}}), "Deployment"))

    assert pod("abc") != pod("xyz")
    assert pod("abc") == pod("abc")


def test_the_password_of_the_database_is_in_no_manifest() -> None:
    text = json.dumps(render(SAAS, {**TOKEN, "database": {"existingSecret": "db"}}))
    assert '"secretKeyRef": {"name": "db", "key": "url"}' in text
    assert "postgresql://" not in text


def test_an_unknown_value_is_refused_by_its_name() -> None:
    assert "replica" in refusal(SAAS, {**TOKEN, "replica": 2})


def test_the_charts_version_is_the_sidecars() -> None:
    assert yaml.safe_load((SAAS / "Chart.yaml").read_text())["appVersion"] == sidecar.__version__
