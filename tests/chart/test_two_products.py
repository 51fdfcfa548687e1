"""Two products share a pod: each has containers, volumes, ports and conditions of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.support import NAME, container, of_kind, pod_of, refusal, render
from tests.chart.whole_pods import CHART_YAML, indented, shop

SECOND = f"{NAME}-search"
CONTAINERS = [
    {"name": "api", "image": "shop:1", "command": ["/shop"]},
    {"name": "search", "image": "shop:1", "command": ["/search"]},
]
POD: dict[str, Any] = {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": CONTAINERS}}
PORTS: dict[str, Any] = {"probePort": 8486}
CLASSIC: dict[str, Any] = {"containerMode": "classic"}
PROBE, OTHER_PROBE = 8484, 8486


def two(directory: Path, more: str = "", first: str = NAME, second: str = "search") -> Path:
    """Return a chart whose pod has both: the one that `pod` returns is handed over once more."""
    chart = shop(directory, POD)
    entry = f"  - {{name: {NAME}, version: 0.1.0, repository: 'file://charts/{NAME}', alias: %s}}\n"
    aliases = "".join(entry % one for one in (first, second))
    (chart / "Chart.yaml").write_text(f"{CHART_YAML}dependencies:\n{aliases}")
    inner, outer = (
        f'(dict "context" (index .Subcharts "{name}") "workload" "shop"{more}'
        f' "pod" (include "shop.{pod}" . | fromYaml))'
        for name, pod in ((first, "pod"), (second, "first"))
    )
    (chart / "templates" / "shop.yaml").write_text(
        f'{{{{- define "shop.pod" }}}}\n{yaml.safe_dump(POD)}{{{{- end }}}}\n'
        f'{{{{- define "shop.first" }}}}\n{{{{ include "entitlement-sidecar.pod" {inner} }}}}\n{{{{- end }}}}\n'
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop, namespace: ns}\nspec:\n"
        f"  selector: {{matchLabels: {{app: shop}}}}\n  template:\n"
        f'{indented(f"""{{{{- include "entitlement-sidecar.pod" {outer} | nindent 4 }}}}""", 4)}\n'
    )
    return chart


def both(directory: Path, values: dict[str, Any] | None = None, more: str = "") -> dict[str, Any]:
    values = values or {}
    manifests = render(two(directory, more), {NAME: values, "search": {**PORTS, **values}})
    return pod_of(of_kind(manifests, "Deployment"))


def names(entries: list[dict[str, Any]]) -> list[str]:
    return [one["name"] for one in entries]


def env(one: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in one.get("env") or [] if "value" in entry}


def test_each_product_has_a_sidecar_and_volumes_of_its_own(tmp_path: Path) -> None:
    spec = both(tmp_path, {"config": {"reask_seconds": 9}})["spec"]
    assert names(spec["initContainers"]) == [SECOND, NAME]
    volumes = names(spec["volumes"])
    assert len(volumes) == len(set(volumes)) == 6
    for name in (NAME, SECOND):
        mounts = names(container({"spec": spec}, name)["volumeMounts"])
        assert mounts == [f"{name}-state", f"{name}-tmp", f"{name}-config"]


def test_labels_and_annotations_of_both_are_there(tmp_path: Path) -> None:
    metadata = both(tmp_path, {"config": {"reask_seconds": 9}, "mesh": "istio"}, ' "skipContainers" (list "api")')[
        "metadata"
    ]
    assert metadata["labels"] == {
        "app": "shop",
        "entitlement-sidecar.io/part-of": f"rel-{NAME}",
        "entitlement-sidecar.io/part-of-search": "rel-search",
        "entitlement-sidecar.io/workload": "shop",
        "entitlement-sidecar.io/workload-search": "shop",
    }
    annotations = metadata["annotations"]
    assert annotations["eks.amazonaws.com/skip-containers"] == "api"
    assert annotations["traffic.sidecar.istio.io/excludeInboundPorts"] == f"{PROBE},{OTHER_PROBE}"
    volumes = [f"{name}-{use}" for name in (NAME, SECOND) for use in ("state", "tmp")]
    assert annotations["cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"] == ",".join(volumes)
    assert len([one for one in annotations if one.startswith("checksum/")]) == 2


def test_grace_adds_up_and_each_sidecar_knows_its_own(tmp_path: Path) -> None:
    pod = both(tmp_path)
    assert pod["spec"]["terminationGracePeriodSeconds"] == 30 + 15 + 15
    graces = [env(container(pod, name))["SIDECAR_GRACE_SECONDS"] for name in (NAME, SECOND)]
    assert graces == ["45", "60"]


def test_each_has_a_readiness_gate_that_its_sidecar_writes(tmp_path: Path) -> None:
    pod = both(tmp_path, {"gateMode": "readinessGate", "rbac": {"create": False}})
    gates = [one["conditionType"] for one in pod["spec"]["readinessGates"]]
    assert gates == ["entitlement-sidecar.io/entitled", "entitlement-sidecar.io/entitled-search"]
    assert "CONTAINER_NAME" not in env(container(pod, NAME))
    assert env(container(pod, SECOND))["CONTAINER_NAME"] == SECOND


def test_a_product_behind_both_gates_waits_for_one_after_the_other(tmp_path: Path) -> None:
    pod = both(tmp_path, CLASSIC)
    assert names(pod["spec"]["containers"]) == ["api", "search", NAME, SECOND]
    waits = ["entitlement-sidecar", "exec", "--url", f"http://localhost:{OTHER_PROBE}", "--"]
    api = container(pod, "api", "containers")
    assert api["command"] == [*waits, "entitlement-sidecar", "exec", "--", "/shop"]
    assert env(api) == {"SEARCH_SIDECAR_API_BIND": "127.0.0.1:8487"}
    assert "command" not in container(pod, NAME, "containers"), "a sidecar waits for no other"


def test_a_product_finds_the_socket_of_each_sidecar(tmp_path: Path) -> None:
    sockets = {"apiSocket": {"enabled": True}, "containerMode": "classic"}
    api = container(both(tmp_path, sockets), "api", "containers")
    binds = {"SIDECAR_API_BIND": NAME, "SEARCH_SIDECAR_API_BIND": SECOND}
    assert env(api) == {variable: f"unix:/var/run/{name}/api.sock" for variable, name in binds.items()}
    assert [(one["mountPath"], one["readOnly"]) for one in api["volumeMounts"]] == [
        (f"/var/run/{name}", True) for name in (NAME, SECOND)
    ]
    assert api["command"][:4] == ["entitlement-sidecar", "exec", "--url", f"unix:/var/run/{SECOND}/api.sock"]


def test_two_sidecars_of_one_port_are_refused(tmp_path: Path) -> None:
    words = refusal(two(tmp_path), {"search": {}})
    assert f'container "{NAME}" of the pod of workload "shop" has port 8484, and so has {SECOND}' in words
    assert "as 8486" in words


def test_two_sidecars_whose_other_port_is_one_are_refused(tmp_path: Path) -> None:
    assert "has port 8485, and so has" in refusal(two(tmp_path), {"search": {"probePort": 8486, "apiPort": 8485}})


@pytest.mark.parametrize("mode", ["native", "classic"])
def test_a_product_that_has_our_port_is_refused(mode: str, tmp_path: Path) -> None:
    given = {"spec": {"containers": [{**CONTAINERS[0], "ports": [{"containerPort": 8485}]}]}}
    values = {NAME: {"containerMode": mode}}
    chart = shop(tmp_path, given)
    assert 'container "api" of the pod of workload "api" has port 8485' in refusal(chart, values)
    render(chart, {NAME: {"containerMode": mode, "probePort": 9484}})


def test_both_usual_names_in_one_pod_are_refused(tmp_path: Path) -> None:
    words = refusal(two(tmp_path, second="entitlement"), {"entitlement": PORTS})
    assert f'has labels entitlement-sidecar.io/part-of: "rel-{NAME}"' in words


def test_the_usual_alias_keeps_the_documented_names(tmp_path: Path) -> None:
    chart = two(tmp_path, first="entitlement")
    pod = pod_of(of_kind(render(chart, {"search": PORTS}), "Deployment"))
    assert names(pod["spec"]["initContainers"]) == [SECOND, NAME]


@pytest.mark.parametrize(
    ("alias", "port"),
    [
        ("search", "ent-search"),
        ("2nd", "ent-2nd"),
        ("S_2", r"ent-s-2-[0-9a-f]{6}"),
        ("a" * 60, r"ent-a{4}-[0-9a-f]{6}"),
        ("analytics-x", "ent-analytics-x"),
    ],
)
def test_names_of_any_alias_are_names_to_kubernetes(alias: str, port: str, tmp_path: Path) -> None:
    import re

    chart = two(tmp_path, second=alias)
    pod = pod_of(of_kind(render(chart, {alias: {**PORTS, "config": {"reask_seconds": 9}}}), "Deployment"))
    ours = pod["spec"]["initContainers"][0]
    assert re.fullmatch(port, ours["ports"][0]["name"])
    assert len(ours["ports"][0]["name"]) <= 15
    for name in [
        ours["name"],
        *names(pod["spec"]["volumes"]),
        *(key.split("/")[1] for key in pod["metadata"]["labels"] if "/" in key),
    ]:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", name), name
    assert all(re.fullmatch("[A-Z_][A-Z0-9_]*", name) for name in env(container(pod, "api", "containers")))


def test_two_aliases_that_look_alike_have_two_names(tmp_path: Path) -> None:
    chart = two(tmp_path, first="a_b", second="a-b")
    pod = pod_of(of_kind(render(chart, {"a-b": PORTS}), "Deployment"))
    ports = [one["ports"][0]["name"] for one in pod["spec"]["initContainers"]]
    assert len(set(names(pod["spec"]["initContainers"]))) == len(set(ports)) == 2


WGET = ["sh", "-c", 'until wget -q -O /dev/null "http://127.0.0.1:8484/entitled"; do sleep 2; done; exec "$0" "$@"']


def test_a_wait_of_an_alias_that_may_ask_the_other_sidecar_is_refused(tmp_path: Path) -> None:
    chart = two(tmp_path)
    values = {"search": {**CLASSIC, **PORTS, "waitCommand": WGET}}
    assert "waitCommand of the dependency with the alias search does not name 8486" in refusal(chart, values)
    values["search"]["waitCommand"] = [word.replace("8484", "8486") for word in WGET]
    render(chart, values)


def test_a_wait_of_an_alias_for_a_free_port_needs_the_socket(tmp_path: Path) -> None:
    chart = two(tmp_path)
    free: dict[str, Any] = {**CLASSIC, "freePorts": True}
    assert "Set apiSocket.enabled to true" in refusal(chart, {"search": free})
    render(chart, {"search": {**free, "apiSocket": {"enabled": True}}})


def test_two_gate_only_containers_have_two_names(tmp_path: Path) -> None:
    chart = two(tmp_path, ' "service" "rel-api"')
    gates = pod_of(of_kind(render(chart, {"search": PORTS}), "Deployment"))["spec"]["initContainers"]
    assert {one["name"]: one["startupProbe"]["exec"]["command"][-1] for one in gates} == {
        "entitlement-gate-search": "http://rel-api:8486",
        "entitlement-gate": "http://rel-api:8484",
    }


def test_each_monitor_scrapes_the_sidecar_of_its_own_product(tmp_path: Path) -> None:
    monitor = {"podMonitor": {"enabled": True}}
    found = render(two(tmp_path), {NAME: monitor, "search": {**PORTS, **monitor}})
    specs = {one["metadata"]["name"]: one["spec"] for one in found if one["kind"] == "PodMonitor"}
    usual, other = specs[f"rel-{NAME}"], specs["rel-search"]
    assert usual["selector"]["matchLabels"] == {"entitlement-sidecar.io/part-of": f"rel-{NAME}"}
    assert other["selector"]["matchLabels"] == {"entitlement-sidecar.io/part-of-search": "rel-search"}
    (endpoint,) = other["podMetricsEndpoints"]
    assert (usual["podMetricsEndpoints"][0]["port"], endpoint["port"]) == ("entitlement", "ent-search")
    label = "__meta_kubernetes_pod_label_entitlement_sidecar_io_workload_search"
    assert endpoint["relabelings"] == [{"sourceLabels": [label], "targetLabel": "entitlement_sidecar_io_workload"}]


def test_on_a_kept_volume_each_sidecar_has_a_directory(tmp_path: Path) -> None:
    pod = both(tmp_path, {"state": {"existingVolume": "data"}})
    paths = [container(pod, name)["volumeMounts"][0]["subPath"] for name in (NAME, SECOND)]
    assert paths == ["shop", "shop.search"]
