"""An injected pod is, to the byte, what the sidecar's chart renders from the same pod and values."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.injector import pieces
from sidecar.injector.pod import JOINED, NETWORK, has_sidecar, injected
from sidecar.injector.refusal import Refusal
from tests.chart.support import (
    CASES,
    CHART,
    INJECTOR,
    NAME,
    helm_template,
    in_parent,
    pod_of,
    render,
)

API: dict[str, Any] = {"name": "api", "image": "shop:1", "command": ["/shop"], "args": ["serve"]}
LOGS = {"name": "logs", "image": "logs:1", "command": ["/logs"]}
ISTIO = "traffic.sidecar.istio.io/excludeOutboundPorts"
DATA = {"name": "data", "emptyDir": {}}
REFUSED = {"config", "serviceAccount", "rbac", "podMonitor", "prometheusRule", "appGraceSeconds", "gateOnly", "counts"}
"""Values that the injector's chart refuses: tests/chart/test_injector_values.py."""


def pod(metadata: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    more = {"containers": [API], "volumes": [DATA], **spec}
    return {"metadata": {"labels": {"app": "shop"}, **(metadata or {})}, "spec": more}


PODS = {
    "plain": pod(),
    "with a grace of its own": pod(terminationGracePeriodSeconds=120),
    "with all that is joined": pod(
        {"annotations": {ISTIO: "3306, 443", "eks.amazonaws.com/skip-containers": "api"}},
        initContainers=[{"name": "istio-proxy", "image": "mesh:1"}, {"name": "migrate", "image": "shop:1"}],
        imagePullSecrets=[{"name": "own"}, {"name": "registry"}],
        readinessGates=[{"conditionType": "example.com/ready"}],
    ),
    "of odd shapes": {
        "metadata": None,
        "spec": {
            "containers": [
                {**API, "env": None, "ports": [], "volumeMounts": None, "startupProbe": {"exec": None}},
                LOGS,
            ],
            "initContainers": [
                {"name": "istio-proxy", "image": "mesh:1", "restartPolicy": "Always", "ports": None},
                {"name": "cache", "image": "cache:1", "restartPolicy": "Always"},
            ],
            "volumes": [DATA],
            "imagePullSecrets": None,
            "readinessGates": [],
            "terminationGracePeriodSeconds": 0,
        },
    },
    "without init containers": pod({"labels": None, "annotations": {ISTIO: "", "a~b/c~1": "<&>"}}, initContainers=None),
}


@pytest.fixture(scope="module")
def injector(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return in_parent(tmp_path_factory.mktemp("injector"), INJECTOR)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chart that includes the sidecar, under the alias that the injector's chart gives it; its pods are a value."""
    chart = tmp_path_factory.mktemp("shop") / "shop"
    (chart / "templates").mkdir(parents=True)
    dependency = {"name": NAME, "alias": "entitlement", "version": "0.1.0", "repository": f"file://charts/{NAME}"}
    (chart / "Chart.yaml").write_text(
        yaml.safe_dump({"apiVersion": "v2", "name": "shop", "version": "1.0.0", "dependencies": [dependency]})
    )
    (chart / "templates" / "shop.yaml").write_text(
        "{{- range $name, $pod := .Values.pods }}\n---\nkind: Deployment\nmetadata: {name: {{ $name | quote }}}\n"
        'spec:\n  template:\n    {{- include "entitlement-sidecar.pod" (merge (dict "context" $.Subcharts.entitlement'
        ' "pod" $pod) $.Values.more) | nindent 4 }}\n{{- end }}\n'
    )
    shutil.copytree(CHART, chart / "charts" / NAME, ignore=shutil.ignore_patterns("ci", "tests"))
    return chart


def canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, indent=1)


def from_injector(chart: Path, values: object, directory: Path) -> pieces.Document:
    made = render(chart, {"entitlement": values})
    (text,) = [one["data"]["pieces.json"] for one in made if "pieces.json" in one.get("data", {})]
    file = directory / "pieces.json"
    file.write_text(text)
    return pieces.read(file)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.removesuffix("-values.yaml"))
def test_an_injected_pod_is_what_the_chart_renders(case: Path, injector: Path, shop: Path, tmp_path: Path) -> None:
    values = {name: one for name, one in (yaml.safe_load(case.read_text()) or {}).items() if name not in REFUSED}
    values["rbac"] = {"create": False}
    if values.get("state", {}).get("existingVolume"):
        values["state"]["existingVolume"] = "data"
    rendered = render(shop, {"entitlement": values, "pods": PODS, "more": {}})
    wanted = {one["metadata"]["name"]: pod_of(one) for one in rendered if one["kind"] == "Deployment"}
    assert set(wanted) == set(PODS)
    if values.get("enabled") is False:
        assert render(injector, {"entitlement": values}) == []
        return
    document = from_injector(injector, values, tmp_path)
    for name, given in PODS.items():
        made = injected(given, document, (), "")
        assert canonical(made) == canonical(wanted[name]), name
        assert has_sidecar(made, document)
        assert not has_sidecar(given, document)


@pytest.mark.parametrize("mode", ["native", "classic"])
def test_workload_and_containers_mean_what_they_mean_in_a_chart(
    mode: str, injector: Path, shop: Path, tmp_path: Path
) -> None:
    long = "a-workload-whose-name-is-longer-than-a-label-can-be-and-is-cut-" + "off"
    values = {"containerMode": mode, "probePort": 9484, "state": {"existingVolume": "data"}}
    both = pod(containers=[LOGS, API])
    more = {"containers": ["api"], "workload": long}
    (wanted,) = render(shop, {"entitlement": values, "pods": {"both": both}, "more": more})
    made = injected(both, from_injector(injector, values, tmp_path), ("api",), long)
    assert canonical(made) == canonical(pod_of(wanted))
    assert made["metadata"]["labels"]["entitlement-sidecar.io/workload"] == long[:62]


def test_the_container_of_another_sidecar_is_not_gated(injector: Path, shop: Path, tmp_path: Path) -> None:
    other = {"name": f"{NAME}-search", "image": "gate:1"}
    given = pod({"labels": {"entitlement-sidecar.io/part-of-search": "rel-search"}}, containers=[other, API])
    values = {"containerMode": "classic"}
    (wanted,) = render(shop, {"entitlement": values, "pods": {"both": given}, "more": {}})
    made = injected(given, from_injector(injector, values, tmp_path), (), "")
    assert canonical(made) == canonical(pod_of(wanted))
    assert made["spec"]["containers"][0] == other


@pytest.mark.parametrize(("what", "ours"), [("network", NETWORK), ("lists", JOINED)], ids=["network", "lists"])
def test_what_both_know_by_name_is_the_same(what: str, ours: frozenset[str]) -> None:
    text = (CHART / "templates" / "_wholepod.tpl").read_text()
    (line,) = re.findall(rf"\${what} := (?:concat \()?(list [^)\n]*?)(?:\)| -}}}})", text)
    assert set(re.findall(r'"([^"]+)"', line)) == ours


CLASHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "label": (pod({"labels": {"entitlement-sidecar.io/part-of": "other"}}), {}),
    "init container": (pod(initContainers=[{"name": NAME, "image": "x"}]), {}),
    "container": (pod(containers=[API, {"name": NAME, "image": "x", "command": ["x"]}]), {"containerMode": "classic"}),
    "volume": (pod(volumes=[{"name": f"{NAME}-tmp", "emptyDir": {}}]), {}),
    "no command": (pod(containers=[{"name": "api", "image": "x"}]), {"containerMode": "classic"}),
    "env": (
        pod(containers=[{**API, "env": [{"name": "SIDECAR_PROBE_BIND", "value": "x"}]}]),
        {"containerMode": "classic", "probePort": 9484},
    ),
    "port": (pod(containers=[{**API, "ports": [{"containerPort": 8485}]}]), {}),
    "network below": (
        pod(initContainers=[{"name": "migrate", "image": "x"}, {"name": "istio-proxy", "image": "x"}]),
        {},
    ),
}


@pytest.mark.parametrize("clash", CLASHES)
def test_what_the_chart_refuses_is_refused_too(clash: str, injector: Path, shop: Path, tmp_path: Path) -> None:
    given, values = CLASHES[clash]
    assert helm_template(shop, {"entitlement": values, "pods": {"x": given}, "more": {}}).returncode != 0
    with pytest.raises(Refusal):
        injected(given, from_injector(injector, values, tmp_path), (), "")
