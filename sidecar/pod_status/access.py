"""Find out how the cluster's API is reached, and which pod is ours.

Invariants:
- The API is used where a token for it is mounted at a path of our own, `API_MOUNT`, and nowhere else: a pod that
  merely mounts the usual service-account token, as pods do by default, did not ask for it.

Sources: kubernetes.io, "Accessing the Kubernetes API from a Pod".
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from sidecar.platform.eks import UID, read_pod
from sidecar.quick_dataclasses import dataclass

API_MOUNT: Final = Path("/var/run/secrets/entitlement-sidecar.io/kubernetes")
"""`token` and `ca.crt`, perhaps `namespace`: a projected volume in our container alone."""


@dataclass(frozen=True, kw_only=True)
class ApiAccess:
    """How the cluster's API is reached, and which pod is ours."""

    mount: str
    host: str
    port: str
    pod: str
    namespace: str
    uid: str
    node: str = ""
    service_account: str = ""
    container: str = ""
    """The container's name where it is not the usual one."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Variables without which nothing can be written."""
        needed = {
            "KUBERNETES_SERVICE_HOST": self.host,
            "KUBERNETES_SERVICE_PORT": self.port,
            "POD_NAME": self.pod,
            "POD_NAMESPACE": self.namespace,
            UID: self.uid,
        }
        return tuple(name for name, value in needed.items() if not value)


def api_access(env: Mapping[str, str], mount: Path = API_MOUNT) -> ApiAccess | None:
    """Return how to use the API where a token is mounted for us, else None."""
    if not os.path.isdir(mount):
        return None
    pod = read_pod(env)
    return ApiAccess(
        mount=str(mount),
        host=env.get("KUBERNETES_SERVICE_HOST", ""),
        port=env.get("KUBERNETES_SERVICE_PORT", ""),
        pod=pod.name if pod else env.get("POD_NAME", ""),
        namespace=env.get("POD_NAMESPACE", "") or _text(mount / "namespace"),
        uid=pod.uid if pod else "",
        node=pod.node if pod else "",
        service_account=pod.service_account if pod else "",
        container=pod.container if pod else "",
    )


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
