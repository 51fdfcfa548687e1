"""Nodes, pods and their CPUs are counted on a real API server, with the right to list and without it."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sidecar.sources.fault import SourceFault
from sidecar.sources.kubernetes_job import counted
from tests.e2e.cluster import Namespace, eventually, run

POD = """
apiVersion: v1
kind: Pod
metadata: {name: NAME, labels: {app: NAME, of: counts}}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: worker
      image: IMAGE
      command: [python, -c, "import time; time.sleep(3600)"]
      resources: {requests: {cpu: 25m}}
      securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""


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


def _until(condition: Callable[[], bool]) -> None:
    eventually(lambda: condition() or None)
