"""The charts as they are packaged and published: their files, their metadata, what Artifact Hub reads."""

from __future__ import annotations

import re
import shutil
import tarfile
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.support import CHART, INJECTOR, ROOT, SAAS, helm_template, ran, tool

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
KNOWN = {
    *("alternativeName", "category", "changes", "containsSecurityUpdates", "crds", "crdsExamples", "images", "license"),
    *("links", "maintainers", "operator", "operatorCapabilities", "prerelease", "recommendations", "screenshots"),
    "signKey",
}
"""Artifact Hub's annotations for charts: https://artifacthub.io/docs/topics/annotations/helm."""
CATEGORIES = {
    *("ai-machine-learning", "database", "integration-delivery", "monitoring-logging", "networking", "security"),
    *("storage", "streaming-messaging", "skip-prediction"),
}


EACH = pytest.mark.parametrize("chart", [CHART, INJECTOR, SAAS], ids=lambda chart: chart.name)


def meta(chart: Path) -> dict[str, Any]:
    return dict(yaml.safe_load((chart / "Chart.yaml").read_text()))


def annotation(chart: Path, name: str) -> str:
    return str(meta(chart)["annotations"][f"artifacthub.io/{name}"])


def listed(chart: Path, name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load(meta(chart)["annotations"].get(f"artifacthub.io/{name}", "[]")))


def packed(chart: Path, into: Path) -> set[str]:
    """Return the files of the package, without the chart's name."""
    done = ran(tool("helm"), "package", chart, "--destination", into)
    assert done.returncode == 0, done.stderr
    (archive,) = into.glob("*.tgz")
    with tarfile.open(archive) as found:
        return {name.partition("/")[2] for name in found.getnames()}


def test_the_package_holds_what_helm_and_a_buyer_read_and_nothing_else(tmp_path: Path) -> None:
    files = packed(CHART, tmp_path)
    tops = {name.split("/")[0] for name in files}
    assert tops == {
        *(".helmignore", "Chart.yaml", "README.md", "aws_mp_configuration_schema.json"),
        *("files", "templates", "values.schema.json", "values.yaml"),
    }
    assert {name for name in files if name.startswith("templates/")} == {
        f"templates/{path.name}" for path in (CHART / "templates").iterdir()
    }


def test_what_editors_and_tools_leave_behind_is_not_packed(tmp_path: Path) -> None:
    chart = tmp_path / CHART.name
    shutil.copytree(CHART, chart)
    left = {".git/config", "ci/x-values.yaml", "tests/x_test.yaml", "x.orig", "templates/.x.yaml.swp", "old-0.1.0.tgz"}
    for name in left | {"files/kept.json"}:
        (chart / name).parent.mkdir(exist_ok=True)
        (chart / name).write_text("{}")
    files = packed(chart, tmp_path / "into")
    assert files & left == set()
    assert "files/kept.json" in files


@pytest.mark.parametrize("version", ["1.25.0", "1.29.0", "v1.31.4-eks-abc", "v1.33.5-gke.1080000", "1.36.3"])
def test_every_supported_cluster_is_admitted_with_its_suffix(version: str) -> None:
    assert helm_template(CHART, flags=("--kube-version", version)).returncode == 0


@pytest.mark.parametrize("version", ["1.24.17", "v1.24.9-eks-abc"])
def test_a_cluster_that_is_too_old_is_refused(version: str) -> None:
    assert "requires kubeVersion: >=1.25.0-0" in helm_template(CHART, flags=("--kube-version", version)).stderr


@EACH
def test_artifact_hub_knows_every_annotation_and_its_words(chart: Path) -> None:
    given = meta(chart)["annotations"]
    assert {key.removeprefix("artifacthub.io/") for key in given} <= KNOWN
    assert all(isinstance(value, str) for value in given.values())
    assert annotation(chart, "category") in CATEGORIES
    assert annotation(chart, "prerelease") == str("-" in meta(chart)["version"]).lower()
    assert annotation(chart, "containsSecurityUpdates") in ("true", "false")
    assert listed(chart, "changes")
    for change in listed(chart, "changes"):
        assert change["kind"] in ("added", "changed", "deprecated", "removed", "fixed", "security")
        assert change["description"]


@EACH
def test_chart_and_project_say_the_same_of_themselves(chart: Path) -> None:
    assert annotation(chart, "license") == PROJECT["license"]
    assert meta(chart)["home"] == PROJECT["urls"]["Homepage"]
    assert meta(chart)["sources"] == [PROJECT["urls"]["Source"]]


@EACH
def test_every_address_in_the_metadata_leads_to_a_file_or_a_page_of_the_project(chart: Path) -> None:
    home = meta(chart)["home"]
    raw = home.replace("github.com", "raw.githubusercontent.com")
    addresses = [one["url"] for name in ("links", "screenshots") for one in listed(chart, name)]
    assert len(addresses) >= 3
    for address in (meta(chart)["icon"], *addresses):
        found = re.fullmatch(rf"(?:{home}/blob|{raw})/main/(.+)", address)
        if found:
            assert (ROOT / found[1]).is_file(), address
        else:
            assert address in PROJECT["urls"].values(), address
