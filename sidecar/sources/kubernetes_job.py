"""Count nodes, pods or requested CPUs through the cluster's API. The child's job `count`.

Invariants:
- Reads alone, page by page, with the token that is mounted for the sidecar. Never through a proxy; certificates are
  verified against `ca.crt`.
- Nodes and pods are counted by their metadata: the API server sends no more of them. CPUs need whole pods.
- A pod counts while its phase is Running. Its CPUs are those that the scheduler reserves: the containers' and native
  sidecars' requests together, or the largest init container beside the sidecars before it, or what the pod requests as
  a whole instead of them; and the overhead.
- Neither the token nor a body is repeated in an answer.

Sources: Kubernetes API concepts ("Retrieving large results sets in chunks", "Metadata-only fetches", "Label
selectors"); kubernetes.io, "Init Containers" (effective request), "Sidecar Containers", "Pod Overhead", "Quantity",
"Assign Pod-level CPU and memory resources" (`spec.resources`, on by default since 1.34).
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from sidecar.platform.cluster_tls import cluster_tls
from sidecar.sources.cluster_quantity import quantity
from sidecar.sources.fault import SourceFault

PAGE: Final = 500
PAGES_MAX: Final = 1000
BYTES_MAX: Final = 64 << 20
"""Of one page: 500 pods of 100 KB each are 50 MB."""
TIMEOUT_SECONDS: Final = 10.0
METADATA: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


def run(payload: Mapping[str, Any], emit: Callable[[str], None]) -> None:
    """Count what the payload names; emit the count, or why there is none."""
    try:
        value = counted(payload)
    except SourceFault as exc:
        emit(json.dumps({"reason": exc.reason, "hint": exc.hint}))
    else:
        emit(json.dumps({"value": f"{value:f}"}))


def counted(payload: Mapping[str, Any]) -> Decimal:
    """Return the count. Raises SourceFault."""
    count = payload["count"]
    pods = _Server(payload["cluster"], payload["namespace"]).items(count, payload["selector"])
    return sum((cpus(one) for one in pods), Decimal(0)) if count == "pod_cpus" else Decimal(sum(1 for _ in pods))


class _Server:
    def __init__(self, cluster: Mapping[str, str], namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace

    def items(self, count: str, selector: str) -> Iterator[Mapping[str, Any]]:
        """Yield nodes or running pods that match."""
        resource = "nodes" if count == "nodes" else "pods"
        inside = f"namespaces/{quote(self._namespace, safe='')}/" if self._namespace and resource == "pods" else ""
        query = {"limit": str(PAGE)}
        query |= {"labelSelector": selector} if selector else {}
        query |= {"fieldSelector": "status.phase=Running"} if resource == "pods" else {}
        accept = "application/json" if count == "pod_cpus" else f"{METADATA},application/json"
        for _ in range(PAGES_MAX):
            page = self._get(f"/api/v1/{inside}{resource}?{urlencode(query)}", accept, resource)
            yield from page.get("items") or []
            following = (page.get("metadata") or {}).get("continue")
            if not following:
                return
            query["continue"] = following
        raise SourceFault("cluster_unreachable", f"The list of {resource} has no end after {PAGES_MAX} pages.")

    def _get(self, path: str, accept: str, resource: str) -> Mapping[str, Any]:
        host, mount = self._cluster["host"], Path(self._cluster["mount"])
        try:
            token = (mount / "token").read_text().strip()
            context = cluster_tls(mount)
            connection = http.client.HTTPSConnection(
                host, int(self._cluster["port"]), timeout=TIMEOUT_SECONDS, context=context
            )
            try:
                connection.request("GET", path, headers={"Authorization": f"Bearer {token}", "Accept": accept})
                response = connection.getresponse()
                status, body = response.status, response.read(BYTES_MAX)
            finally:
                connection.close()
        except (OSError, http.client.HTTPException) as exc:
            hint = f"The Kubernetes API at {host} does not answer, or token and ca.crt under {mount} are not readable"
            raise SourceFault("cluster_unreachable", f"{hint}: {exc}. It is asked again.") from exc
        if status != 200:
            raise _refused(status, resource, self._namespace, mount)
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise SourceFault("cluster_unreachable", f"What answers at {host} is not the Kubernetes API.")
        return found


def _refused(status: int, resource: str, namespace: str, mount: Path) -> SourceFault:
    where = "in the cluster" if resource == "nodes" or not namespace else f"in namespace {namespace}"
    if status == 401:
        fix = (
            f"It does not accept the token at {mount / 'token'}. Mount a projected token of the pod's service account"
            " there, without an audience, and let the kubelet renew it."
        )
    elif status == 403:
        fix = f"Grant `list` on `{resource}` {where} to the pod's service account."
    elif status == 400:
        fix = "Correct the selector of the source."
    else:
        fix = "It is asked again."
    reason = "cluster_unreachable" if status in (408, 410, 429) or status >= 500 else "cluster_refused"
    return SourceFault(reason, f"The Kubernetes API answered {status} to a list of {resource} {where}. {fix}")


def cpus(pod: Mapping[str, Any]) -> Decimal:
    """Return the CPUs that the scheduler reserves for a pod. Raises SourceFault."""
    spec = pod.get("spec") or {}
    running = sum((_request(one) for one in spec.get("containers") or []), Decimal(0))
    sidecars, largest = Decimal(0), Decimal(0)
    for one in spec.get("initContainers") or []:
        if one.get("restartPolicy") == "Always":
            sidecars += _request(one)
            largest = max(largest, sidecars)
        else:
            largest = max(largest, sidecars + _request(one))
    overhead = quantity((spec.get("overhead") or {}).get("cpu", "0"))
    whole = _requests(spec).get("cpu")
    return (max(running + sidecars, largest) if whole is None else quantity(whole)) + overhead


def _request(container: Mapping[str, Any]) -> Decimal:
    return quantity(_requests(container).get("cpu", "0"))


def _requests(of: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a container, or a pod as a whole, requests."""
    return (of.get("resources") or {}).get("requests") or {}
