"""However a pod is written, what the helper `pod` makes of it is the pod with what the other helpers render."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.support import CASES, NAME, Manifest, container, of_kind, pod_of, render
from tests.chart.whole_pods import SHAPES, empty, indented, shop

GATE = '(dict "context" (index .Subcharts "entitlement-sidecar") "workload" "api")'
PARTS = (
    *("podLabels", "podAnnotations", "podSpec", "serviceAccountName", "initContainer", "waitCommand", "waitEnv"),
    *("productEnv", "productMounts", "classicContainer", "volumes"),
)
VALUES = {
    path.name.removesuffix("-values.yaml"): yaml.safe_load(path.read_text()) or {}
    for path in CASES
    if path.name.split("-values")[0] in ("default", "gate-readiness-gate", "metadata")
}
VALUES["classic"] = {"containerMode": "classic", "probePort": 9484, "imagePullSecrets": ["pull"], "mesh": "istio"}
VALUES["free-ports"] = {"containerMode": "classic", "freePorts": True}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """For each set of values: what each helper renders for a workload `api`."""
    chart = empty(tmp_path_factory.mktemp("parts"))
    part = '{{{{- with include "entitlement-sidecar.{0}" $gate }}}}\n  {0}: {{{{- . | nindent 4 }}}}\n{{{{- end }}}}\n'
    lines = "".join(part.format(name) for name in PARTS)
    (chart / "templates" / "parts.yaml").write_text(f"{{{{- $gate := {GATE} }}}}\nkind: Parts\nparts:\n{lines}")
    return {name: of_kind(render(chart, {NAME: values}), "Parts")["parts"] for name, values in VALUES.items()}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Manifest]:
    """Return the pods as their charts render them without us."""
    found = {}
    for at, (shape, text) in enumerate(SHAPES.items()):
        chart = empty(tmp_path_factory.mktemp(f"plain{at}"))
        (chart / "templates" / "pod.yaml").write_text(f"kind: Plain\npod:\n{indented(text, 4)}\n")
        found[shape] = of_kind(render(chart), "Plain")["pod"]
    return found


def joined(pod: Manifest, part: dict[str, Any]) -> Manifest:
    """Return the pod with the parts in it. None of these pods has anything that a part has too."""
    made = copy.deepcopy(pod)
    metadata, spec = made.setdefault("metadata", {}), made["spec"]
    for field, name in (("labels", "podLabels"), ("annotations", "podAnnotations")):
        metadata[field] = {**(metadata.get(field) or {}), **part.get(name, {})}
    spec |= part["podSpec"]
    if part.get("serviceAccountName"):
        spec["serviceAccountName"] = part["serviceAccountName"]
    spec["initContainers"] = [*part.get("initContainer", []), *(spec.get("initContainers") or [])]
    for one in spec["containers"]:
        if part.get("waitCommand"):
            one["command"] = [*part["waitCommand"], *one["command"]]
        one["env"] = [*(one.get("env") or []), *part.get("waitEnv", []), *part.get("productEnv", [])]
        one["volumeMounts"] = [*(one.get("volumeMounts") or []), *part.get("productMounts", [])]
    spec["containers"] = [*spec["containers"], *part.get("classicContainer", [])]
    spec["volumes"] = [*(spec.get("volumes") or []), *part["volumes"]]
    return made


def without_empty(value: Any) -> Any:
    """Return a manifest without fields that say nothing, as Kubernetes reads them."""
    if isinstance(value, dict):
        return {key: found for key, one in value.items() if (found := without_empty(one)) not in (None, [], {})} or None
    return [without_empty(one) for one in value] if isinstance(value, list) else value


@pytest.mark.parametrize("values", VALUES)
@pytest.mark.parametrize("shape", SHAPES)
def test_the_whole_is_the_pod_and_its_parts(
    shape: str, values: str, plain: dict[str, Manifest], parts: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    made = pod_of(
        of_kind(render(shop(tmp_path, SHAPES[shape], ' "workload" "api"'), {NAME: VALUES[values]}), "Deployment")
    )
    assert without_empty(made) == without_empty(joined(plain[shape], parts[values]))


def test_parts_of_other_values_would_be_noticed(plain: dict[str, Manifest], parts: dict[str, dict[str, Any]]) -> None:
    pods = [str(without_empty(joined(plain["tpl"], parts[name]))) for name in VALUES]
    assert len(set(pods)) == len(VALUES)


@pytest.mark.parametrize("shape", SHAPES)
def test_disabled_the_pod_is_what_the_chart_renders_without_us(
    shape: str, plain: dict[str, Manifest], tmp_path: Path
) -> None:
    made = of_kind(render(shop(tmp_path, SHAPES[shape]), {NAME: {"enabled": False}}), "Deployment")
    assert pod_of(made) == plain[shape]


SEVERAL = """\
{{- define "shop.api" }}
spec: {containers: [{name: api, image: "shop:1"}]}
{{- end }}
{{- define "shop.worker" }}
spec: {containers: [{name: worker, image: "shop:1"}]}
{{- end }}
{{- define "shop.report" }}
spec: {restartPolicy: Never, containers: [{name: report, image: "shop:1"}]}
{{- end }}
{{- $gate := dict "context" (index .Subcharts "entitlement-sidecar") }}
{{- $waits := merge (dict "service" (printf "%s-api" .Release.Name) "timeoutSeconds" 60) $gate }}
{{- $api := dict "pod" (include "shop.api" . | fromYaml) }}
{{- $worker := dict "pod" (include "shop.worker" . | fromYaml) }}
{{- $report := dict "pod" (include "shop.report" . | fromYaml) }}
kind: StatefulSet
spec:
  template:
    {{- include "entitlement-sidecar.pod" (merge (dict) $api $gate) | nindent 4 }}
---
kind: DaemonSet
spec:
  template:
    {{- include "entitlement-sidecar.pod" (merge (dict) $worker $waits) | nindent 4 }}
---
kind: CronJob
spec:
  jobTemplate:
    spec:
      template:
        {{- include "entitlement-sidecar.pod" (merge (dict) $report $waits) | nindent 8 }}
---
kind: Job
spec:
  template:
    {{- include "entitlement-sidecar.pod" (merge (dict) $report $gate) | nindent 4 }}
"""


@pytest.mark.parametrize("mode", ["native", "classic"])
def test_workloads_of_one_chart_are_metered_or_wait_each_by_itself(mode: str, tmp_path: Path) -> None:
    chart = empty(tmp_path)
    (chart / "templates" / "several.yaml").write_text(SEVERAL)
    found = render(chart, {NAME: {"containerMode": mode, "gateMode": "readiness"}})
    pods = {one["kind"]: pod_of(one) for one in found}
    among = "initContainers" if mode == "native" else "containers"
    for kind, workload in (("StatefulSet", "api"), ("Job", "report")):
        assert container(pods[kind], NAME, among)["args"] == ["run"]
        assert pods[kind]["metadata"]["labels"]["entitlement-sidecar.io/workload"] == workload
    for kind in ("DaemonSet", "CronJob"):
        (gate,) = pods[kind]["spec"]["initContainers"]
        assert gate["args"] == ["wait", "--url", "http://rel-api:8484", "--timeout", "60"]
        assert len(pods[kind]["spec"]["containers"]) == 1
        assert "metadata" not in pods[kind]
    assert pods["Job"]["spec"]["restartPolicy"] == "Never"
