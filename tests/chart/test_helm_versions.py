"""The oldest and the newest supported Helm render what the one on PATH does, and refuse what it refuses.

HELM_VERSIONS names a directory that .ci/helm-versions makes.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.chart import test_rendered, values_file, values_table
from tests.chart.support import (
    CASES,
    CHART,
    EXAMPLES,
    HELM,
    INJECTOR,
    NAME,
    Manifest,
    helm_template,
    in_parent,
    pod_of,
    ran,
    refusal,
    render,
    tool,
)
from tests.chart.whole_pods import SHAPES, bare, shop

OTHERS = ("3.8.1", "4.3.2")
VARIABLE = "HELM_VERSIONS"
REFUSED: list[dict[str, Any]] = [
    {"gateMode": "readinessGate"},
    {"probePort": 9000, "apiPort": 9000},
    {"extraEnv": [{"name": "POD_UID", "value": "x"}]},
    {"dimensions": ["x", {"name": "x"}]},
    {"containerMode": "classic", "waitCommand": []},
]


def built(path: str) -> str:
    """Return what .ci/helm-versions built; skip the test where it did not."""
    directory = os.environ.get(VARIABLE)
    if not directory or not (Path(directory) / path).is_file():
        pytest.skip(f"{VARIABLE} names no directory with {path} (.ci/helm-versions makes one)")
    return str(Path(directory) / path)


def rendered(chart: Path, values: dict[str, Any]) -> dict[str, Manifest]:
    """Return the manifests by kind and name: versions differ in their order, and in how they write YAML."""
    found = {f"{one['kind']} {one['metadata']['name']}": one for one in render(chart, values)}
    assert found
    return found


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Parents: with the helpers one by one, with the whole pod, the example, the injector, each shape of a pod."""
    directory = tmp_path_factory.mktemp("charts")
    example = directory / "bookshop"
    shutil.copytree(EXAMPLES / "after", example, ignore=shutil.ignore_patterns("charts"))
    flags = ("--registry", "r.example.com", "--repository", "acme/gate", "--tag", "9.9")
    done = ran(HELM / "vendor", example, *flags)
    assert done.returncode == 0, done.stderr
    found = {"fine": in_parent(directory), "whole": bare(directory / "whole"), "example": example}
    found["injector"] = in_parent(directory / "injector", INJECTOR)
    return found | {shape: shop(directory / str(at), pod) for at, (shape, pod) in enumerate(SHAPES.items())}


@pytest.mark.parametrize("version", OTHERS)
class TestEachVersion:
    @pytest.fixture(autouse=True)
    def use(self, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Put that version in front of PATH where the test calls `switch`."""
        tool("helm")
        other = Path(built(f"{version}/helm")).parent
        self.switch = lambda: monkeypatch.setenv("PATH", f"{other}:{os.environ['PATH']}")

    def test_it_is_that_version(self, version: str) -> None:
        self.switch()
        assert re.search(r"v(\d+)", ran(tool("helm"), "version", "--short").stdout).group(1) == version.split(".")[0]  # type: ignore[union-attr]

    @pytest.mark.parametrize("parent", ["fine", "whole"])
    def test_it_renders_each_case_alike(self, parent: str, version: str, charts: dict[str, Path]) -> None:
        given = [
            {NAME: test_rendered.values_of(case), "gateOnly": test_rendered.gate_only(case), "command": ["/x"]}
            for case in CASES
        ]
        for values in given:
            if values[NAME].get("serviceAccount", {}).get("create"):
                values["serviceAccountName"] = ""
        expected = [rendered(charts[parent], values) for values in given]
        self.switch()
        assert [rendered(charts[parent], values) for values in given] == expected

    def test_it_renders_the_example_and_each_shape_alike(self, version: str, charts: dict[str, Path]) -> None:
        expected = {name: rendered(chart, {}) for name, chart in charts.items()}
        self.switch()
        assert {name: rendered(chart, {}) for name, chart in charts.items()} == expected

    def test_it_refuses_with_the_same_words(self, version: str, charts: dict[str, Path]) -> None:
        def words(values: dict[str, Any]) -> str:
            return helm_template(charts["fine"], {NAME: values}).stderr.partition("entitlement-sidecar: ")[2]

        expected = [words(values).splitlines()[0] for values in REFUSED]
        self.switch()
        assert [words(values).splitlines()[0] for values in REFUSED] == expected

    def test_its_reader_of_schemas_refuses_what_the_schema_does(self, version: str, charts: dict[str, Path]) -> None:
        self.switch()
        for wrong in ({"gateMod": "x"}, {"commonLabels": {"app.kubernetes.io/name": "x"}}, {"probes": {"type": "x"}}):
            done = helm_template(charts["fine"], {NAME: wrong})
            assert done.returncode != 0, wrong
            assert "schema" in done.stderr

    def test_it_lints_the_chart_alone_and_in_its_parent(self, version: str, charts: dict[str, Path]) -> None:
        self.switch()
        for chart in (CHART, charts["fine"], charts["whole"], charts["example"]):
            done = ran(tool("helm"), "lint", "--strict", chart)
            assert done.returncode == 0, done.stdout + done.stderr

    def test_it_takes_the_package(self, version: str, tmp_path: Path) -> None:
        done = ran(tool("helm"), "package", CHART, "--destination", tmp_path)
        assert done.returncode == 0, done.stderr
        self.switch()
        (archive,) = tmp_path.glob("*.tgz")
        done = ran(tool("helm"), "show", "values", archive)
        assert done.stdout.strip() == (CHART / "values.yaml").read_text().strip()


def test_helm_4_finds_the_alias_that_helm_3_loses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A parent that an umbrella uses twice: README says what to do under Helm 3."""
    chart = test_rendered.TestTwoCopiesInOneRelease.umbrella(tmp_path, "entitlement")
    assert "remove the alias there" in refusal(chart, {})
    monkeypatch.setenv("PATH", f"{Path(built('4.3.2/helm')).parent}:{os.environ['PATH']}")
    assert "are two copies of this chart in one release" in refusal(chart, {})
    found = render(chart, {"red": {"entitlement": {"nameOverride": "red"}}})
    pods = [pod_of(one) for one in found if one["kind"] == "Deployment"]
    assert {one["metadata"]["labels"]["entitlement-sidecar.io/part-of"] for one in pods} == {
        "rel-red",
        "rel-entitlement",
    }


def test_helm_docs_makes_the_rows_of_the_table(tmp_path: Path) -> None:
    """That tool's own reading of the comments, for each chart with a table."""
    docs = built("helm-docs")
    for chart in values_file.charts():
        copy = tmp_path / chart.name
        copy.mkdir()
        for name in ("Chart.yaml", "values.yaml"):
            shutil.copy(chart / name, copy)
        flags = ("--sort-values-order", "file", "--template-files", "none", "--dry-run")
        done = subprocess.run([docs, "--chart-search-root", copy, *flags], capture_output=True, text=True, check=True)
        found = re.findall(r"^\| (?!Key \|)(\S+) (\|.*)$", done.stdout.split("## Values")[1], re.MULTILINE)
        ours = re.findall(r"^\| `(\S+)` (\|.*)$", values_table.table(chart), re.MULTILINE)
        assert found == ours
        assert len(ours) > 10
