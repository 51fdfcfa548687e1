"""What happens to a node from outside its pods: a kill, a directory. A pod as root does it and ends.

Its namespace must allow the privileged profile; nothing of the machine under the cluster is known.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.e2e.cluster import Namespace, eventually

PYTHON = "/opt/entitlement-sidecar/bin/python"

KILL = """
import os, pathlib, re, signal, sys
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        if sys.argv[1] not in (process / "cgroup").read_text():
            continue
        inside = re.search(r"^NSpid:.*?(\\d+)$", (process / "status").read_text(), re.MULTILINE)
    except OSError:
        continue
    if inside and inside[1] == "1":
        os.kill(int(process.name), signal.SIGKILL)
        print("killed", process.name)
        sys.exit(0)
sys.exit("there is no such container")
"""
MAKE = "import os, sys; os.mkdir(sys.argv[1], 0o755)"
REMOVE = "import shutil, sys; shutil.rmtree(sys.argv[1])"
PLACE = "/var/tmp"
"""Of the node; a directory of ours is made below it, and removed."""


def kill_process_one(space: Namespace, pod: dict[str, Any], container: str) -> None:
    """SIGKILL, which process 1 cannot be sent from inside its container."""
    status = [*pod["status"].get("initContainerStatuses", []), *pod["status"]["containerStatuses"]]
    name = next(one["containerID"] for one in status if one["name"] == container).rpartition("/")[2]
    _run(space, str(pod["spec"]["nodeName"]), KILL, name)


def make_directory(space: Namespace, node: str, name: str) -> str:
    """An empty one, which root owns, as a new disk is; its path on the node."""
    _run(space, node, MAKE, f"/on-node/{name}", path=PLACE)
    return f"{PLACE}/{name}"


def remove_directory(space: Namespace, node: str, name: str) -> None:
    _run(space, node, REMOVE, f"/on-node/{name}", path=PLACE)


def _run(space: Namespace, node: str, source: str, *words: str, path: str = "") -> None:
    name = f"on-node-{uuid.uuid4().hex[:8]}"
    mounts = [{"name": "on-node", "mountPath": "/on-node"}] if path else []
    volumes = [{"name": "on-node", "hostPath": {"path": path, "type": "Directory"}}] if path else []
    container = {
        "name": "root",
        "image": space.emulator_image,
        "imagePullPolicy": "IfNotPresent",
        "command": [PYTHON, "-c", source, *words],
        "securityContext": {"runAsUser": 0},
        "volumeMounts": mounts,
    }
    spec = {"nodeName": node, "hostPID": True, "restartPolicy": "Never", "automountServiceAccountToken": False}
    spec |= {"containers": [container], "volumes": volumes}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    space.kubectl("create", "-f", "-", stdin=json.dumps(manifest))

    def phase() -> str | None:
        found = str(space.get("pod", name)["status"].get("phase"))
        return found if found in ("Succeeded", "Failed") else None

    assert eventually(phase, 60, "the end of what is done on the node") == "Succeeded", space.kubectl("logs", name)
    space.kubectl("delete", "pod", name, "--wait=false")
