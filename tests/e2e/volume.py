"""A volume on a node that outlives pods, with its claim, for clusters without a provisioner."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e import node
from tests.e2e.cluster import Namespace, eventually, run


@contextmanager
def claimed(space: Namespace, claim: str, pods: str) -> Iterator[str]:
    """Yield the name of a claim. At the end nothing of it is left; `pods` is the selector of those that use it."""
    on = str(space.get("pods", "--selector", "app=marketplace")["items"][0]["spec"]["nodeName"])
    path = node.make_directory(space, on, f"entitlement-{space.name}")
    affinity = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [label_of(on)]}]}
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "volumeMode": "Filesystem"}
    volume = common | {
        "capacity": {"storage": "1Gi"},
        "local": {"path": path},
        "persistentVolumeReclaimPolicy": "Retain",
        "nodeAffinity": {"required": {"nodeSelectorTerms": [affinity]}},
    }
    wanted = common | {"volumeName": space.name, "resources": {"requests": {"storage": "1Gi"}}}
    for kind, name, spec in (("PersistentVolume", space.name, volume), ("PersistentVolumeClaim", claim, wanted)):
        manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        space.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    yield claim
    space.kubectl("delete", "deployment", "--selector", "app!=marketplace", "--ignore-not-found", check=False)
    eventually(lambda: not space.get("pods", "--selector", pods)["items"], 60, "the end of the pods")
    node.remove_directory(space, on, f"entitlement-{space.name}")
    run("kubectl", "delete", "persistentvolume", space.name, "--wait=false")


def label_of(machine: str) -> str:
    found = json.loads(run("kubectl", "get", "node", machine, "--output", "json"))
    return str(found["metadata"]["labels"]["kubernetes.io/hostname"])
