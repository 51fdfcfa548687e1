"""Refuse pods in which the sidecar cannot work, whatever else is changed in them.

Invariants:
- Only what is certain from the pod and the pieces is refused; what a node or the cluster decides is not known here.
- Each rule names what the pod has, why that cannot work, and the fix.

Sources: kubernetes.io, "Windows containers in Kubernetes"; "Static Pods" (mirror pods); "Configure a Security Context"
(runAsNonRoot); "Sidecar Containers" (Jobs).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sidecar.injector.pieces import Document
from sidecar.injector.refusal import Refusal

MIRROR: Final = "kubernetes.io/config.mirror"
OS: Final = "kubernetes.io/os"
Fields = Mapping[str, Any]


def check(pod: Fields, document: Document) -> None:
    """Raise Refusal where the sidecar cannot work in the pod."""
    for rule in RULES:
        rule(pod, document.containers)
    if document.fields.get("classicContainer"):
        _ends(pod)


def _static(pod: Fields, ours: Sequence[Fields]) -> None:
    if MIRROR in ((pod.get("metadata") or {}).get("annotations") or {}):
        raise Refusal(
            "it is a static pod, which the kubelet runs from a file of its node and nothing can change. Put the"
            " sidecar's container into that file, or run the product as a DaemonSet"
        )


def _windows(pod: Fields, ours: Sequence[Fields]) -> None:
    spec = pod.get("spec") or {}
    named = {"os.name": (spec.get("os") or {}).get("name"), "nodeSelector": (spec.get("nodeSelector") or {}).get(OS)}
    for field, value in named.items():
        if value == "windows":
            raise Refusal(f"its {field} says 'windows', and the sidecar's image is for Linux. Run it on Linux nodes")


def _ports(pod: Fields, ours: Sequence[Fields]) -> None:
    """Refuse a port that is ours: the second to listen would restart without end."""
    taken = {port for one in ours for port in _declared(one)}
    spec = pod.get("spec") or {}
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        for port in _declared(container):
            if port in taken:
                raise Refusal(
                    f"container {container.get('name')!r} has port {port}, and so has the sidecar; the containers of a"
                    " pod share one network. Give the product another port, or change entitlement.probePort of the"
                    " injector, which apiPort follows"
                )


def _declared(container: Fields) -> set[int]:
    ports = container.get("ports") or []
    return {one["containerPort"] for one in ports if one.get("protocol", "TCP") == "TCP" and one.get("containerPort")}


def _root(pod: Fields, ours: Sequence[Fields]) -> None:
    """Refuse what the kubelet would: it reports CreateContainerConfigError, and the pod waits for good."""
    context = (pod.get("spec") or {}).get("securityContext") or {}
    if context.get("runAsUser") == 0 and any("runAsUser" not in one.get("securityContext", {}) for one in ours):
        raise Refusal(
            "its securityContext has runAsUser 0, which the sidecar would inherit, and it never runs as root. Set"
            " entitlement.runAsUser of the injector, or set runAsUser in the product's containers alone"
        )


def _ends(pod: Fields) -> None:
    policy = (pod.get("spec") or {}).get("restartPolicy", "Always")
    if policy != "Always":
        raise Refusal(
            f"containerMode is classic, and restartPolicy is {policy!r}: a pod that is to end never does beside an"
            " ordinary container. Set entitlement.containerMode of the injector to native"
        )


RULES: Final[tuple[Callable[[Fields, Sequence[Fields]], None], ...]] = (_static, _windows, _ports, _root)
