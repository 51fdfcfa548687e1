"""Two products share a pod, and two pods with hostNetwork share a node, in a real cluster."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.cluster import PRODUCT, Namespace, eventually
from tests.e2e.conftest import CHART

WEB = "app=shop"
OTHER = "other-product"
NAME = "entitlement-sidecar"
SECOND = f"{NAME}-search"
ENTRY = f"  - {{name: {NAME}, version: 0.1.0, repository: 'file://charts/{NAME}'%s}}\n"
POD = '(include "shop.%s" . | fromYaml)'
CALL = (
    '{{- include "entitlement-sidecar.pod" (dict "context" (index .Subcharts "%s") "workload" "shop" "pod" %s) %s}}\n'
)


def chart(directory: Path, pod: dict[str, Any], *aliases: str) -> Path:
    """Return a chart of one Deployment behind the gates of these aliases, the first of them innermost."""
    made = directory / "shop"
    (made / "templates").mkdir(parents=True)
    entries = "".join(ENTRY % ("" if one == NAME else f", alias: {one}") for one in aliases)
    (made / "Chart.yaml").write_text(f"apiVersion: v2\nname: shop\nversion: 1.0.0\ndependencies:\n{entries}")
    shutil.copytree(CHART, made / "charts" / NAME, ignore=shutil.ignore_patterns("ci", "tests"))
    parts = [f'{{{{- define "shop.pod0" }}}}\n{yaml.safe_dump(pod)}{{{{- end }}}}\n']
    for at, alias in enumerate(aliases, start=1):
        parts.append(f'{{{{- define "shop.pod{at}" }}}}\n{CALL % (alias, POD % f"pod{at - 1}", "")}{{{{- end }}}}\n')
    parts.append(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop, namespace: {{ .Release.Namespace }}}\n"
        "spec:\n  replicas: {{ .Values.replicas }}\n  selector: {matchLabels: {app: shop}}\n  template:\n"
        f'    {{{{- include "shop.pod{len(aliases)}" . | nindent 4 }}}}\n'
    )
    (made / "templates" / "shop.yaml").write_text("".join(parts))
    return made


def container(space: Namespace, name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "image": space.emulator_image,
        "imagePullPolicy": "IfNotPresent",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        **more,
    }


def pod(*containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
    return {
        "metadata": {"labels": {"app": "shop"}},
        "spec": {
            "automountServiceAccountToken": False,
            "securityContext": security,
            "terminationGracePeriodSeconds": 2,
            "containers": list(containers),
            **spec,
        },
    }


HOLD = ["python3", "-c", "import signal; signal.pause()"]


def metered(space: Namespace, **more: Any) -> dict[str, Any]:
    return space.gate_values(dimensions=["requests"], **more)


def push(space: Namespace, pod: str, where: str, quantity: int) -> None:
    """Report usage from a container of the product, with our command in its image."""
    command = ["env", f"SIDECAR_API_BIND={where}", "entitlement-sidecar", "report", "requests", str(quantity)]
    space.kubectl("exec", pod, "--container", "api", "--", *command)


def used(space: Namespace, name: str, sidecar: str) -> list[str]:
    said = space.kubectl("exec", name, "--container", sidecar, "--", "entitlement-sidecar", "usage", "--json")
    return [str(one["quantity"]) for one in json.loads(said)["records"]]


def test_two_products_of_a_pod_are_gated_and_metered_each(space: Namespace, tmp_path: Path) -> None:
    def second(**env: str) -> dict[str, Any]:
        """Its token is in a volume that the first one brought."""
        return {**metered(space, probePort=8486, env=env), "extraVolumes": []}

    space.subscribe()
    values = {"replicas": 1, NAME: metered(space), "search": second(SIDECAR_PRODUCT_CODE="no-such-product")}
    made = chart(tmp_path, pod(container(space, "api", command=HOLD)), NAME, "search")
    space.helm("install", "shop", made, values)
    space.describes(WEB, "denied", "invalid_product_code")
    assert not space.status(WEB, "api").get("started"), "one of two gates is shut"

    space.helm("upgrade", "shop", made, values | {"search": second(SIDECAR_PRODUCT_CODE=OTHER)})
    eventually(lambda: space.ready(WEB), saying="ready")
    name = str(space.pod(WEB)["metadata"]["name"])
    push(space, name, "127.0.0.1:8485", 3)
    push(space, name, "127.0.0.1:8487", 5)
    assert used(space, name, NAME) == ["3"]
    assert used(space, name, SECOND) == ["5"]
    space.kubectl("delete", "pod", name)
    bill = {line["product"]: [one["quantity"] for one in line["hours"]] for line in space.marketplace("bill")["lines"]}
    assert {code: [int(Decimal(one)) for one in found] for code, found in bill.items()} == {PRODUCT: [3], OTHER: [5]}


def test_each_product_of_a_pod_writes_a_condition_of_its_own(space: Namespace, tmp_path: Path) -> None:
    gate = {"gateMode": "readinessGate", "rbac": {"subjects": ["default"]}}
    other = {**metered(space, probePort=8486, env={"SIDECAR_PRODUCT_CODE": OTHER}, **gate), "extraVolumes": []}
    made = chart(tmp_path, pod(container(space, "api", command=HOLD)), NAME, "search")
    space.order("subscribe", product=PRODUCT)
    space.helm("install", "shop", made, {"replicas": 1, NAME: metered(space, **gate), "search": other})

    def conditions() -> dict[str, str]:
        found = space.pod(WEB)["status"].get("conditions", [])
        return {one["type"].removeprefix(f"{NAME}.io/"): one["status"] for one in found if NAME in one["type"]}

    eventually(lambda: conditions() == {"entitled": "True", "entitled-search": "False"}, saying="one of two")
    assert not space.ready(WEB)
    space.order("subscribe", product=OTHER)
    eventually(lambda: space.ready(WEB), saying="both")
    assert conditions() == {"entitled": "True", "entitled-search": "True"}


@pytest.mark.parametrize("way", ["socket", "free"])
def test_two_pods_with_hostnetwork_share_a_node(way: str, new_namespace: Any, tmp_path: Path) -> None:
    space = new_namespace(profile="privileged")
    space.subscribe()
    node = space.pod("app=marketplace")["spec"]["nodeName"]
    listeners = {"freePorts": True, "apiSocket": {"enabled": way == "socket"}}
    given = pod(
        container(space, "api", command=HOLD), hostNetwork=True, dnsPolicy="ClusterFirstWithHostNet", nodeName=node
    )
    made = chart(tmp_path, given, NAME)
    space.helm("install", "shop", made, {"replicas": 2, NAME: metered(space, **listeners)})
    eventually(lambda: len(space.pods(WEB)) == 2, saying="two pods")

    def ready() -> bool:
        return all(
            any(one["type"] == "Ready" and one["status"] == "True" for one in found["status"].get("conditions", []))
            for found in space.pods(WEB)
        )

    eventually(ready, saying="two pods of one node, both ready")
    for at, found in enumerate(space.pods(WEB), start=1):
        name = found["metadata"]["name"]
        space.kubectl("exec", name, "--container", "api", "--", "entitlement-sidecar", "report", "requests", str(at))
        assert used(space, name, NAME) == [str(at)], "each pod's product finds its own sidecar"
        assert found["spec"]["nodeName"] == node


def test_a_second_pod_with_hostnetwork_and_known_ports_waits_for_another_node(
    new_namespace: Any, tmp_path: Path
) -> None:
    space = new_namespace(profile="privileged")
    space.subscribe()
    made = chart(tmp_path, pod(container(space, "api", command=HOLD), hostNetwork=True), NAME)
    nodes = len(space.get("nodes")["items"])
    ports = {"probePort": 18484, "gateMode": "readiness"}
    space.helm("install", "shop", made, {"replicas": nodes + 1, NAME: metered(space, **ports)})
    eventually(
        lambda: "free ports for the requested pod ports" in space.kubectl("get", "events"),
        saying="the scheduler's words",
    )
