"""One include puts the sidecar into a whole pod, as the helpers one by one do."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.support import (
    CASES,
    CHART,
    NAME,
    PARENT,
    container,
    in_parent,
    of_kind,
    pod_of,
    ran,
    refusal,
    render,
    tool,
)
from tests.chart.test_pod_shapes import without_empty
from tests.chart.whole_pods import CALL, POD, PRODUCT, bare, shop

NETWORK = {"name": "istio-proxy", "image": "mesh:1", "restartPolicy": "Always"}
MIGRATE = {"name": "migrate", "image": "shop:1"}


def wrapped(directory: Path, pod: dict[str, Any] | str = POD, more: str = "", **values: object) -> dict[str, Any]:
    return pod_of(of_kind(render(shop(directory, pod, more), {NAME: values}), "Deployment"))


def pod(**spec: object) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "shop"}}, "spec": {"containers": [PRODUCT], **spec}}


@pytest.fixture
def bare_parent(tmp_path: Path) -> Path:
    return bare(tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.removesuffix("-values.yaml"))
@pytest.mark.parametrize("kind", ["Deployment", "Job"])
def test_the_whole_pod_is_what_the_helpers_give_one_by_one(
    case: Path, kind: str, bare_parent: Path, tmp_path: Path
) -> None:
    values = yaml.safe_load(case.read_text()) or {}
    given = {
        NAME: values,
        "kind": kind,
        "command": ["/product"],
        "restartPolicy": "Never" if kind == "Job" else "Always",
    }
    if values.get("serviceAccount", {}).get("create"):
        given["serviceAccountName"] = ""
    one_by_one = pod_of(of_kind(render(in_parent(tmp_path / "fine"), given), kind))
    whole = pod_of(of_kind(render(bare_parent, given), kind))
    if values.get("containerMode") == "classic" and values.get("gateMode", "startup") == "startup":
        # That parent lets the value `command` replace the waiting command.
        assert container(whole, "product", "containers")["command"][-1] == "/product"
        container(whole, "product", "containers")["command"] = ["/product"]
    if values.get("enabled") is False:
        # The helper adds the product's grace, which a pod that is left as it is keeps from Kubernetes.
        one_by_one["spec"].pop("terminationGracePeriodSeconds")
    assert without_empty(whole) == without_empty(one_by_one)


@pytest.mark.parametrize("kind", ["DaemonSet", "StatefulSet", "CronJob"])
def test_other_workloads_take_the_same_pod(kind: str, tmp_path: Path) -> None:
    chart = shop(tmp_path)
    template = chart / "templates" / "shop.yaml"
    text = template.read_text().replace("kind: Deployment", f"kind: {kind}")
    if kind == "CronJob":
        head, tail = text.split("spec:\n", 1)
        tail = tail.replace("  selector: {matchLabels: {app: shop}}\n", "")
        lines = "\n".join(f"    {line}" if line else "" for line in tail.splitlines())
        text = f"{head}spec:\n  jobTemplate:\n    spec:\n{lines}\n".replace("nindent 4", "nindent 8")
    template.write_text(text)
    assert container(pod_of(of_kind(render(chart), kind)), NAME)["restartPolicy"] == "Always"


def test_a_chart_of_helm_create_needs_three_lines(tmp_path: Path) -> None:
    helm = tool("helm")
    assert ran(helm, "create", "shop", cwd=tmp_path).returncode == 0
    chart = tmp_path / "shop"
    template = chart / "templates" / "deployment.yaml"
    before = template.read_text()
    after = before.replace("  template:\n", '  template:\n    {{- define "shop.pod" }}\n')
    after += f'    {{{{- end }}}}\n    {{{{- include "entitlement-sidecar.pod" {CALL.format("")} | nindent 4 }}}}\n'
    template.write_text(after)
    assert len(after.splitlines()) - len(before.splitlines()) == 3
    shutil.copytree(CHART, chart / "charts" / NAME, ignore=shutil.ignore_patterns("ci", "tests"))
    made = pod_of(of_kind(render(chart, {"podAnnotations": {"a": "b"}, "nodeSelector": {"c": "d"}}), "Deployment"))
    assert made["metadata"]["annotations"]["a"] == "b"
    assert made["spec"]["nodeSelector"] == {"c": "d"}
    assert [one["name"] for one in made["spec"]["volumes"]] == [f"{NAME}-state", f"{NAME}-tmp"]
    assert container(made, NAME)["args"] == ["run"]


def test_what_the_pod_has_stays_as_it_is(tmp_path: Path) -> None:
    given = pod(initContainers=[MIGRATE], volumes=[{"name": "data", "emptyDir": {}}], nodeSelector={"a": "yes"})
    given["spec"]["securityContext"] = {"fsGroup": 1000000, "sysctls": [{"name": "s", "value": "0777"}]}
    made = wrapped(tmp_path, given)
    assert made["metadata"]["labels"]["app"] == "shop"
    for field in ("nodeSelector", "securityContext", "containers"):
        assert made["spec"][field] == given["spec"][field], field
    assert made["spec"]["volumes"][0] == given["spec"]["volumes"][0]
    assert [one["name"] for one in made["spec"]["initContainers"]] == [NAME, "migrate"]


def test_disabled_the_pod_is_the_parents(tmp_path: Path) -> None:
    assert wrapped(tmp_path, enabled=False) == POD


def test_ours_stands_behind_the_network_and_before_the_rest(tmp_path: Path) -> None:
    names = [{**NETWORK}, {"name": "cni", "image": "cni:1"}, MIGRATE]
    made = wrapped(tmp_path, pod(initContainers=names), ' "after" (list "cni")')
    assert [one["name"] for one in made["spec"]["initContainers"]] == ["istio-proxy", "cni", NAME, "migrate"]


def test_a_mesh_proxy_below_other_init_containers_is_refused(tmp_path: Path) -> None:
    words = refusal(shop(tmp_path, pod(initContainers=[MIGRATE, NETWORK])), {})
    assert '"istio-proxy"' in words
    assert '"migrate"' in words


def test_the_pods_own_grace_is_the_products(tmp_path: Path) -> None:
    made = wrapped(tmp_path, pod(terminationGracePeriodSeconds=120))
    assert made["spec"]["terminationGracePeriodSeconds"] == 135
    assert {"name": "SIDECAR_GRACE_SECONDS", "value": "135"} in container(made, NAME)["env"]


def test_a_pull_secret_that_both_name_stands_once(tmp_path: Path) -> None:
    made = wrapped(tmp_path, pod(imagePullSecrets=[{"name": "ours"}, {"name": "one"}]), imagePullSecrets=["one", "two"])
    assert [one["name"] for one in made["spec"]["imagePullSecrets"]] == ["ours", "one", "two"]


def test_ports_that_bypass_a_mesh_are_joined(tmp_path: Path) -> None:
    key = "traffic.sidecar.istio.io/excludeOutboundPorts"
    made = wrapped(tmp_path, {**pod(), "metadata": {"annotations": {key: "3306, 443"}}}, mesh="istio")
    assert made["metadata"]["annotations"][key] == "3306,443"


def test_classic_waits_in_the_containers_that_are_named(tmp_path: Path) -> None:
    other = {"name": "logs", "image": "logs:1"}
    made = wrapped(
        tmp_path,
        pod(containers=[PRODUCT, other]),
        ' "containers" (list "api")',
        containerMode="classic",
        probePort=9484,
    )
    api, logs, ours = made["spec"]["containers"]
    assert api["command"] == ["entitlement-sidecar", "exec", "--", "/shop"]
    assert api["args"] == ["serve"]
    binds = {"SIDECAR_PROBE_BIND": ":9484", "SIDECAR_API_BIND": "127.0.0.1:9485"}
    assert api["env"] == [{"name": name, "value": value} for name, value in binds.items()]
    assert logs == other
    assert ours["name"] == NAME


def test_a_pod_with_a_service_waits_for_it_and_is_not_metered(tmp_path: Path) -> None:
    made = wrapped(tmp_path, pod(initContainers=[MIGRATE]), ' "service" "rel-api" "timeoutSeconds" 60', mesh="istio")
    gate, _ = made["spec"]["initContainers"]
    assert gate["args"] == ["wait", "--url", "http://rel-api:8484", "--timeout", "60"]
    assert "terminationGracePeriodSeconds" not in made["spec"]
    assert made["metadata"]["annotations"]["traffic.sidecar.istio.io/excludeOutboundPorts"] == "8484"


CLASHES: dict[str, tuple[dict[str, Any], str, dict[str, Any], tuple[str, ...]]] = {
    "label": (
        {**pod(), "metadata": {"labels": {"entitlement-sidecar.io/part-of": "other"}}},
        "",
        {},
        ("entitlement-sidecar.io/part-of", '"other"', f'"rel-{NAME}"'),
    ),
    "annotation": (
        {**pod(), "metadata": {"annotations": {"checksum/entitlement-sidecar-config": "0"}}},
        "",
        {"config": {"reask_seconds": 1}},
        ("checksum/entitlement-sidecar-config", '"0"'),
    ),
    "init container": (pod(initContainers=[{"name": NAME, "image": "x"}]), "", {}, (NAME, "initContainers")),
    "container": (
        pod(containers=[PRODUCT, {"name": NAME, "image": "x", "command": ["x"]}]),
        "",
        {"containerMode": "classic"},
        (NAME, "containers"),
    ),
    "volume": (pod(volumes=[{"name": f"{NAME}-tmp", "emptyDir": {}}]), "", {}, (f"{NAME}-tmp", "volumes")),
    "env": (
        pod(containers=[{**PRODUCT, "env": [{"name": "SIDECAR_PROBE_BIND", "value": "x"}]}]),
        "",
        {"containerMode": "classic", "probePort": 9484},
        ("SIDECAR_PROBE_BIND", "env"),
    ),
    "service account": (
        pod(serviceAccountName="mine"),
        "",
        {"serviceAccount": {"create": True}},
        ('"mine"', f'"rel-{NAME}"', "serviceAccount.create"),
    ),
    "unknown container": (pod(), ' "containers" (list "apy")', {}, ('"apy"', "It has api")),
    "unknown argument": (pod(), ' "container" (list "api")', {}, ('"container"', "containers")),
    "one name for a list": (pod(), ' "containers" "api"', {}, ("containers is api", "a list of names")),
    "no command": (
        pod(containers=[{"name": "api", "image": "x"}]),
        "",
        {"containerMode": "classic"},
        ("containerMode is classic", "command"),
    ),
    "no pod": ({"spec": {}}, "", {}, ("no spec with containers",)),
}


@pytest.mark.parametrize("clash", CLASHES)
def test_a_clash_is_refused_and_both_sides_are_named(clash: str, tmp_path: Path) -> None:
    given, more, values, words = CLASHES[clash]
    found = refusal(shop(tmp_path, given, more), {NAME: values})
    assert [word for word in words if word not in found] == [], found


def test_a_pod_that_is_no_yaml_is_refused_with_the_parsers_words(tmp_path: Path) -> None:
    assert "cannot be read as YAML" in refusal(shop(tmp_path, "spec: [a\n  b: c"), {})


def test_the_wrapped_parent_has_no_other_helper(bare_parent: Path) -> None:
    assert PARENT.name == bare_parent.name
    text = "".join(one.read_text() for one in (bare_parent / "templates").glob("*pod.tpl"))
    assert "entitlement-sidecar" not in text.replace("(index .Subcharts .Values.under)", "")
