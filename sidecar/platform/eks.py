"""Read which pod this is from the environment that Kubernetes and the downward API set.

Invariants:
- `POD_UID` is `metadata.uid`: the same after a container restarts, another for each new pod, and so exactly what AWS
  Marketplace meters.

Sources: kubernetes.io, "Downward API".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

UID: Final = "POD_UID"


@dataclass(frozen=True, kw_only=True)
class Pod:
    """The pod, as the downward API names it; everything but `uid` may be empty."""

    uid: str
    name: str
    namespace: str
    service_account: str
    node: str


def in_kubernetes(env: Mapping[str, str]) -> bool:
    return bool(env.get(UID) or env.get("KUBERNETES_SERVICE_HOST"))


def read_pod(env: Mapping[str, str]) -> Pod | None:
    """Return the pod, or None without `POD_UID`."""
    uid = env.get(UID, "").strip()
    if not uid:
        return None
    return Pod(
        uid=uid,
        name=env.get("POD_NAME", ""),
        namespace=env.get("POD_NAMESPACE", ""),
        service_account=env.get("SERVICE_ACCOUNT", ""),
        node=env.get("NODE_NAME", ""),
    )
