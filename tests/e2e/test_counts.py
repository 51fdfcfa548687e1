"""Nodes, pods and their CPUs are counted on a real API server, with the right to list and without it.

A pod's own sidecar is billed for what it counts; the rights are those that the chart renders.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from sidecar.sources.fault import SourceFault
from sidecar.sources.kubernetes_job import counted
from tests.e2e import node
from tests.e2e.cluster import Failed, Namespace, eventually, run
from tests.e2e.test_gate import OURS, install
from tests.e2e.test_metering import at_twenty_past_ten, inside, metered, name_of, ready, uid

POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME, of: counts}}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: worker
      image: IMAGE
      command: [PYTHON, -c, "import time; time.sleep(3600)"]
      resources: {requests: {cpu: 25m}}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
""".replace("PYTHON", node.PYTHON)


def test_what_runs_is_counted_where_it_may_be_listed(space: Namespace, tmp_path: Path) -> None:
    space.kubectl("create", "serviceaccount", "counter")
    (tmp_path / "token").write_text(space.kubectl("create", "token", "counter"))
    ca = space.kubectl("get", "configmap", "kube-root-ca.crt", "-o", "jsonpath={.data.ca\\.crt}")
    (tmp_path / "ca.crt").write_text(ca)
    server = run("kubectl", "config", "view", "--raw", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    host = urlsplit(server.strip())
    cluster = {"mount": str(tmp_path), "host": host.hostname, "port": str(host.port or 443)}

    def count(what: str, selector: str = "") -> Decimal:
        return counted({"cluster": cluster, "count": what, "namespace": space.name, "selector": selector})

    with pytest.raises(SourceFault, match="Grant `list` on `pods`"):
        count("pods")
    space.kubectl("create", "role", "counts", "--verb=list", "--resource=pods")
    space.kubectl("create", "rolebinding", "counts", "--role=counts", f"--serviceaccount={space.name}:counter")
    for name in ("a", "b"):
        pod = POD.replace("NAME", name).replace("IMAGE", space.sidecar_image)
        space.kubectl("apply", "-f", "-", stdin=pod)
    _until(lambda: count("pods", "of=counts") == 2)
    assert (count("pods", "app=a"), count("pod_cpus", "of=counts")) == (1, Decimal("0.05"))
    with pytest.raises(SourceFault, match="`nodes` in the cluster"):
        count("nodes")
    with pytest.raises(SourceFault, match="Correct the selector"):
        count("pods", "of in (")
    foreign = space.kubectl("create", "token", "counter", "--audience", "sts.amazonaws.com")
    (tmp_path / "token").write_text(foreign)
    with pytest.raises(SourceFault, match="does not accept the token") as refused:
        count("pods")
    assert "Grant" not in refused.value.hint
    assert refused.value.reason == "cluster_refused"


def _until(condition: Callable[[], bool]) -> None:
    eventually(lambda: condition() or None)


ELEVEN = "2026-01-02T11:00:00.000Z"
STATUS = """
import http.client
there = http.client.HTTPConnection("127.0.0.1", 8485, timeout=5)
there.request("GET", "/v1/status")
print(there.getresponse().read().decode())
"""
DIMENSIONS = [
    *({"name": name, "aggregation": "max", "scope": "singleton"} for name in ("nodes", "pods", "others")),
    {"name": "node_hours", "decimals": 3, "scope": "singleton"},
]


def counting(space: Namespace, others: Namespace, **gate: object) -> dict[str, Any]:
    """Values of the parent chart: a product whose sidecar counts nodes, pods here, and pods of another namespace."""
    both = {"kind": "kubernetes", "interval_seconds": 5}
    sources = [
        {**both, "dimension": "nodes", "count": "nodes", "take": "maximum"},
        {**both, "dimension": "node_hours", "count": "nodes", "take": "integral"},
        {**both, "dimension": "pods", "count": "pods", "take": "maximum"},
        {**both, "dimension": "others", "count": "pods", "take": "maximum", "namespace": others.name},
    ]
    asked = {"counts": {"nodes": True, "pods": "namespace"}, "rbac": {"subjects": ["default"]}, **gate}
    return metered(space, "serve", gate={**asked, "dimensions": DIMENSIONS, "config": {"sources": sources}})


def sources(space: Namespace, pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Dimension → its source, as `GET /v1/status` has it."""
    found = json.loads(inside(space, pod, "product", node.PYTHON, "-c", STATUS))["sources"]
    return {one["dimension"]: one for one in found}


def failing(space: Namespace, pod: dict[str, Any]) -> dict[str, float]:
    """Dimension → the metric of its source."""
    path = f"/api/v1/namespaces/{space.name}/pods/{name_of(pod)}:8484/proxy/metrics"
    lines = run("kubectl", "get", "--raw", path).splitlines()
    of = [line for line in lines if line.startswith("entitlement_sidecar_source_failing{")]
    return {line.split('dimension="')[1].split('"')[0]: float(line.split()[-1]) for line in of}


def logged(space: Namespace, pod: dict[str, Any], event: str) -> list[dict[str, Any]]:
    lines = space.kubectl("logs", name_of(pod), "-c", OURS).splitlines()
    events = [json.loads(line) for line in lines if line.startswith("{")]
    return [one for one in events if one["event"] == event]


def bill(space: Namespace) -> dict[tuple[str, str, str], Decimal]:
    """(workload, hour, dimension) → quantity."""
    return {
        (hour["workload"], hour["hour"], line["dimension"]): Decimal(hour["quantity"])
        for line in space.marketplace("bill")["lines"]
        for hour in line["hours"]
    }


def running(space: Namespace) -> int:
    return len(space.get("pods", "--field-selector", "status.phase=Running")["items"])


def test_a_pod_is_billed_for_what_the_chart_lets_it_count(
    new_namespace: Callable[..., Namespace], parent: Path
) -> None:
    space, others = new_namespace(marketplace=False), new_namespace(marketplace=False)
    others.kubectl("apply", "-f", "-", stdin=POD.replace("NAME", "a").replace("IMAGE", space.sidecar_image))
    space.start_marketplace("nodes", "pods", "others", "node_hours")
    at_twenty_past_ten(space)

    def comes(failures: set[str], **counted: str) -> Mapping[str, dict[str, Any]]:
        """The sources, once exactly those fail and the others have counted so much."""

        def seen() -> Mapping[str, dict[str, Any]]:
            found = sources(space, pod)
            wrong = {name: one for name, one in found.items() if bool(one["failing_since"]) != (name in failures)}
            wrong |= {name: found[name] for name, much in counted.items() if found[name]["counted"] != much}
            if wrong or any(one["read_at"] is None for name, one in found.items() if name not in failures):
                raise Failed(f"sources are {found}")
            return found

        return eventually(seen, saying=f"that {failures or 'nothing'} fails")

    # Asked for, and not granted.
    install(space, parent, counting(space, others, rbac={"create": False}))
    pod = ready(space)
    every = {"nodes", "node_hours", "pods", "others"}
    for name, one in comes(every).items():
        assert (one["reason"], one["read_at"], one["counted"]) == ("cluster_refused", None, "0")
        assert one["failing_since"].startswith("2026-01-02T10:20:00")
        assert f"Grant `list` on `{'nodes' if name.startswith('node') else 'pods'}` in" in one["hint"]
    assert failing(space, pod) == dict.fromkeys(every, 1)
    said = logged(space, pod, "source.failed")
    assert sorted(one["source"].split("/")[1] for one in said) == sorted(every), "once each"
    assert all(one["reason"] == "cluster_refused" and "Grant `list`" in one["hint"] for one in said)

    # Granted, but not in the other namespace. The pod goes on; an hour has passed for which there is nothing to bill.
    space.order("clock", now="2026-01-02T11:20:00Z")
    install(space, parent, counting(space, others))
    found = comes({"others"})
    assert f"in namespace {others.name}" in found["others"]["hint"]
    assert failing(space, pod) == dict.fromkeys(every, 0) | {"others": 1}
    assert len(logged(space, pod, "source.recovered")) == 3

    # Granted there, too. Six minutes of the nodes are a tenth of their hours.
    nodes = Decimal(len(space.get("nodes")["items"]))
    space.order("clock", now="2026-01-02T11:26:00Z")
    install(space, parent, counting(space, others, counts={"nodes": True, "pods": "cluster"}))
    comes(set(), node_hours=f"{(nodes / 10).normalize():f}")
    assert failing(space, pod) == dict.fromkeys(every, 0)

    expected = {"nodes": nodes, "node_hours": nodes / 10, "pods": Decimal(running(space)), "others": Decimal(1)}
    space.order("clock", now="2026-01-02T12:10:00Z")
    eventually(lambda: len(bill(space)) >= len(expected), saying="the bill")
    assert bill(space) == {(uid(pod), ELEVEN, name): quantity for name, quantity in expected.items()}
    assert space.status("app=shop-web", OURS)["restartCount"] == 0
    assert uid(ready(space)) == uid(pod), "rights came and went, the pod stayed"
