"""A kustomize component puts into a pod what the chart puts there."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.support import CASES, HELM, NAME, ROOT, of_kind, pod_of, ran, refusal, render, tool
from tests.chart.test_whole_pod import PRODUCT, pod, shop
from tests.docs_snippets import blocks

EXAMPLE = ROOT / "docs" / "examples" / "kustomize"
PAGE = (ROOT / "docs" / "howto" / "kustomize.md").read_text()
ANNOTATED = {"annotations": {"entitlement-sidecar.io/inject": "true"}}
OBJECTS = {"config", "serviceAccount", "rbac", "podMonitor", "prometheusRule", "dashboard"}
"""Values that render objects of their own, which a component has not."""
DATA = {"name": "data", "emptyDir": {}}
MIGRATE = {"name": "migrate", "image": "shop:1"}
GIVEN = pod(initContainers=[MIGRATE], volumes=[DATA], imagePullSecrets=[{"name": "own"}])
KINDS = ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"]


def component(directory: Path, values: dict[str, Any], *flags: str) -> tuple[int, str]:
    tool("helm")
    directory.mkdir(parents=True, exist_ok=True)
    file = directory.parent / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    done = ran(HELM / "kustomize", directory, "--workload", "api", "--values", file, *flags)
    return done.returncode, done.stdout + done.stderr


def workload(kind: str, given: dict[str, Any], metadata: dict[str, Any] = ANNOTATED) -> dict[str, Any]:
    version = {"Pod": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}.get(kind, "apps/v1")
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": "shop"}}, "template": given}
    if kind == "CronJob":
        spec = {"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": given}}}
    head = {"apiVersion": version, "kind": kind, "metadata": {"name": "shop", **metadata}}
    if kind == "Pod":
        return {**head, "metadata": {**head["metadata"], **given["metadata"]}, "spec": given["spec"]}
    return {**head, "spec": spec}


def built(directory: Path, manifest: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return what an overlay with the component makes of an object."""
    kubectl = tool("kubectl")
    overlay = directory / "overlay"
    overlay.mkdir()
    (overlay / "shop.yaml").write_text(yaml.safe_dump(manifest))
    kustomization = {"resources": ["shop.yaml"], "components": ["../component"], **more}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    done = ran(kubectl, "kustomize", overlay)
    assert done.returncode == 0, done.stderr
    return dict(yaml.safe_load(done.stdout))


def canonical(given: dict[str, Any]) -> str:
    """Return a pod as text, without the order that means nothing."""
    spec = dict(given["spec"])
    for field, key in (("volumes", "name"), ("imagePullSecrets", "name"), ("readinessGates", "conditionType")):
        spec[field] = sorted(spec.get(field) or [], key=lambda one: str(one[key]))
    spec["containers"] = [dict(one) for one in spec["containers"]]
    for one in spec["containers"]:
        one["env"] = sorted(one.get("env") or [], key=lambda entry: str(entry["name"]))
    return json.dumps({"metadata": given["metadata"], "spec": spec}, sort_keys=True, indent=1)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.removesuffix("-values.yaml"))
def test_a_pod_is_what_the_chart_makes_of_it(case: Path, tmp_path: Path) -> None:
    values = {key: one for key, one in (yaml.safe_load(case.read_text()) or {}).items() if key not in OBJECTS}
    values["rbac"] = {"create": False}
    if values.get("state", {}).get("existingVolume"):
        values["state"]["existingVolume"] = "data"
    code, words = component(tmp_path / "component", values, "--container", "api")
    if values.get("enabled") is False or values.get("containerMode") == "classic":
        assert code == 1
        assert re.search("enabled is false|containerMode|command of workload", words)
        return
    assert code == 0, words
    made = built(tmp_path, workload("Deployment", GIVEN))
    chart = shop(tmp_path / "chart", GIVEN)
    wanted = of_kind(render(chart, {NAME: values}, release="api"), "Deployment")
    assert canonical(pod_of(made)) == canonical(pod_of(wanted))


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made")
    assert component(directory / "component", {})[0] == 0
    return directory


@pytest.fixture
def directory(made_once: Path, tmp_path: Path) -> Path:
    (tmp_path / "component").symlink_to(made_once / "component")
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_workload_gets_it_and_ours_goes_first(kind: str, directory: Path) -> None:
    made = pod_of(built(directory, workload(kind, GIVEN)))
    assert [one["name"] for one in made["spec"]["initContainers"]] == [NAME, "migrate"]
    assert made["spec"]["containers"] == [PRODUCT]
    assert made["metadata"]["labels"]["entitlement-sidecar.io/workload"] == "api"


@pytest.mark.parametrize("metadata", [{}, {"annotations": {"entitlement-sidecar.io/inject": "false"}}])
def test_a_workload_without_the_annotation_stays_as_it_is(metadata: dict[str, Any], directory: Path) -> None:
    given = workload("Deployment", GIVEN, metadata)
    assert built(directory, given) == given


def test_an_overlay_may_name_another_image(directory: Path) -> None:
    image = {"name": "entitlement-sidecar", "newName": "r.example.com/gate", "newTag": "2"}
    made = built(directory, workload("StatefulSet", GIVEN), images=[image])
    assert pod_of(made)["spec"]["initContainers"][0]["image"] == "r.example.com/gate:2"


def test_one_overlay_may_have_metered_workloads_and_those_that_wait(directory: Path) -> None:
    assert component(directory / "waits", {}, "--service", "shop-api")[0] == 0
    both = ["../component", "../waits"]
    annotated = {"annotations": {"entitlement-sidecar.io/wait": "true"}}
    made = pod_of(built(directory, workload("Deployment", GIVEN, annotated), components=both))
    gate, _ = made["spec"]["initContainers"]
    assert "http://shop-api:8484" in json.dumps(gate)
    assert gate.get("args") != ["run"]
    assert "terminationGracePeriodSeconds" not in made["spec"]
    shutil.rmtree(directory / "overlay")
    made = pod_of(built(directory, workload("Deployment", GIVEN), components=both))
    assert [one.get("args") for one in made["spec"]["initContainers"]] == [["run"], None]


def test_without_helm_it_says_what_to_install(tmp_path: Path) -> None:
    done = ran("env", f"PATH={Path(sys.executable).parent}", sys.executable, HELM / "kustomize", tmp_path / "component")
    assert done.returncode == 2
    assert "helm is not on PATH" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"config": {"reask_seconds": 60}}, "ConfigMap"),
        ({"serviceAccount": {"create": True}}, "ServiceAccount"),
        ({"containerMode": "classic", "gateMode": "readiness"}, "containerMode native"),
        ({"enabled": False}, "enabled is false"),
        ({"probeport": 1}, "probeport"),
        ({"apiSocket": {"enabled": True}}, "--container NAME"),
    ],
)
def test_values_that_a_patch_cannot_express_are_refused(values: dict[str, Any], words: str, tmp_path: Path) -> None:
    code, said = component(tmp_path / "component", values)
    assert code == 1
    assert words in said
    assert list((tmp_path / "component").iterdir()) == []


def test_the_example_is_what_the_pages_command_makes(tmp_path: Path) -> None:
    tool("helm")
    (command,) = [one for one in blocks(PAGE, "sh") if "helm/kustomize" in one]
    (tmp_path / "helm").symlink_to(HELM)
    done = ran("sh", "-euc", command.replace("path/to/entitlement-sidecar", "made"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = {path.name: path.read_text() for path in (tmp_path / "made").iterdir()}
    assert made == {path.name: path.read_text() for path in EXAMPLE.iterdir()}, (
        "run the command of docs/howto/kustomize.md"
    )


def test_the_pages_overlay_adds_two_lines() -> None:
    (overlay,) = [one for one in blocks(PAGE, "yaml") if "kind: Kustomization" in one]
    assert len(overlay.splitlines()) - len(overlay.split("components:")[0].splitlines()) == 2


def test_the_same_pod_twice_by_chart_is_a_clash_and_here_is_not(directory: Path, tmp_path: Path) -> None:
    given = pod(initContainers=[{"name": NAME, "image": "x"}])
    assert NAME in refusal(shop(tmp_path / "chart", given), {})
    made = pod_of(built(directory, workload("Deployment", given)))
    assert len(made["spec"]["initContainers"]) == 1
