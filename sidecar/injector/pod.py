"""Put the sidecar into a pod.

Invariants:
- The result is what the chart's helper `entitlement-sidecar.pod` renders from the same pod and the same values; a test
  compares the two to the byte.
- What the pod has stays. Where the sidecar needs something else under the same name, the pod is refused and both are
  named.
- Annotations that are lists of ports, containers or volumes are joined.
- The pod's own grace counts as the product's: ours is added to it.

Sources: helm/entitlement-sidecar/templates/_wholepod.tpl has the same rules for charts.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sidecar.injector import rules
from sidecar.injector.pieces import Document, Pieces
from sidecar.injector.refusal import Refusal

NETWORK: Final = frozenset(
    {
        "istio-init",
        "istio-validation",
        "istio-proxy",
        "linkerd-init",
        "linkerd-network-validator",
        "linkerd-proxy",
    }
)
"""Init containers that give the pod its network: ours, which asks AWS, goes behind them."""
JOINED: Final = frozenset(
    {
        "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes",
        "eks.amazonaws.com/skip-containers",
        "traffic.sidecar.istio.io/excludeInboundPorts",
        "traffic.sidecar.istio.io/excludeOutboundPorts",
        "config.linkerd.io/skip-inbound-ports",
        "config.linkerd.io/skip-outbound-ports",
    }
)
"""Annotations that are lists."""

PART_OF: Final = "entitlement-sidecar.io/part-of"
"""Label of every pod that one copy of the chart gave the sidecar."""

PART_OF_ANY: Final = re.compile(re.escape(PART_OF) + r"(|-.*)")
"""The same of any copy: its name in a pod stands at the end."""

Pod = dict[str, Any]


def injected(pod: Mapping[str, Any], document: Document, containers: Sequence[str], workload: str) -> Pod:
    """Return the pod with the sidecar in it. Raises Refusal.

    `containers`: the names of those that the gate is for; none means all. `workload`: none means the first of them.
    """
    rules.check(pod, document)
    _refuse_chart(pod, document)
    made = copy.deepcopy(dict(pod))
    spec = made.setdefault("spec", {})
    gated = _gated(spec, containers, _other_sidecars(made))
    grace = spec.get("terminationGracePeriodSeconds", 30)
    pieces = document.for_pod(workload or gated[0], grace)
    _join_map(made, "labels", pieces.labels)
    _join_map(made, "annotations", pieces.annotations)
    spec["terminationGracePeriodSeconds"] = pieces.grace_seconds
    _join_equal(spec, "readinessGates", pieces.readiness_gates)
    _join_equal(spec, "imagePullSecrets", pieces.pull_secrets)
    _join_init(spec, pieces)
    _join_wait(spec, pieces, gated)
    _join_product(spec, pieces, gated)
    _join_new(spec, "containers", pieces.containers)
    _join_new(spec, "volumes", pieces.volumes)
    _check_mounts(spec, pieces)
    return made


def has_sidecar(pod: Mapping[str, Any], document: Document) -> bool:
    """Return whether the pod was injected before: a webhook is called again after others changed the pod.

    Others may have added to our container, as IRSA's webhook does, or named another registry for its image, as mirrors
    do; so label and names are compared and no more. Where the label is there and the container is not, it is added.
    """
    ours = document.fields.get("podLabels", {}).get(PART_OF)
    return _part_of(pod) == ours and _has_container(pod, document)


def _refuse_chart(pod: Mapping[str, Any], document: Document) -> None:
    if (other := _part_of(pod)) and _has_container(pod, document):
        raise Refusal(
            f"its own chart gave it the sidecar already, that of {other!r}. Remove the annotation"
            " entitlement-sidecar.io/inject"
        )


def _part_of(pod: Mapping[str, Any]) -> object:
    return ((pod.get("metadata") or {}).get("labels") or {}).get(PART_OF)


def _has_container(pod: Mapping[str, Any], document: Document) -> bool:
    there = [one.get("name") for one in _all_containers(pod.get("spec") or {})]
    return all(one["name"] in there for one in document.containers)


def _all_containers(spec: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def _other_sidecars(pod: Pod) -> list[str]:
    """Return the names of the sidecars that the pod has already, of other copies of the chart, by their labels."""
    labels = (pod.get("metadata") or {}).get("labels") or {}
    return [f"entitlement-sidecar{found[1]}" for name in labels if (found := PART_OF_ANY.fullmatch(name))]


def _gated(spec: Mapping[str, Any], containers: Sequence[str], others: Sequence[str]) -> list[str]:
    names = [one["name"] for one in spec.get("containers") or [] if one["name"] not in others]
    if not names:
        raise Refusal("the pod has no containers")
    for name in containers:
        if name not in names:
            raise Refusal(
                f"annotation entitlement-sidecar.io/containers has {name!r}, which the pod has not. It has"
                f" {', '.join(names)}: name these, or remove the annotation to gate all"
            )
    return list(containers) or names


def _join_map(pod: Pod, field: str, ours: Mapping[str, str]) -> None:
    metadata = pod.get("metadata") or {}
    given = dict(metadata.get(field) or {})
    for key in sorted(ours):
        theirs = given.get(key, "")
        if not theirs:
            given[key] = ours[key]
        elif key in JOINED:
            words = [word.strip() for word in [*theirs.split(","), *ours[key].split(",")]]
            given[key] = ",".join(dict.fromkeys(words))
        elif theirs != ours[key]:
            raise Refusal(f"the pod has {field} {key}: {theirs!r}, and the sidecar needs {ours[key]!r}. Remove it")
    if given:
        pod["metadata"] = {**metadata, field: given}


def _join_equal(owner: Pod, field: str, ours: Sequence[dict[str, Any]]) -> None:
    """Add entries that say no more than their name; one that is there already is enough."""
    entries = list(owner.get(field) or [])
    entries += [one for one in ours if one not in entries]
    if entries:
        owner[field] = entries


def _join_new(owner: Pod, field: str, ours: Sequence[dict[str, Any]], key: str = "name") -> None:
    """Add entries behind those that are there. `key`: what no two of them may share."""
    _refuse_taken(owner, field, ours, key)
    if ours:
        owner[field] = [*(owner.get(field) or []), *ours]


def _refuse_taken(owner: Pod, field: str, ours: Sequence[dict[str, Any]], key: str = "name") -> None:
    names = [one[key] for one in owner.get(field) or []]
    for one in ours:
        if one[key] in names:
            raise Refusal(f"the pod has {one[key]!r} among its {field}, and so has the sidecar. Rename the pod's")


def _join_init(spec: Pod, pieces: Pieces) -> None:
    given = list(spec.get("initContainers") or [])
    behind = next((at for at, one in enumerate(given) if one["name"] not in NETWORK), len(given))
    for one in given[behind:]:
        if one["name"] in NETWORK:
            raise Refusal(
                f"init container {one['name']!r} gives the pod its network, and stands below"
                f" {given[behind]['name']!r}. Put it first: the sidecar, which asks AWS, goes between them"
            )
    _refuse_taken(spec, "initContainers", pieces.init_containers)
    if pieces.init_containers:
        spec["initContainers"] = [*given[:behind], *pieces.init_containers, *given[behind:]]


def _join_wait(spec: Pod, pieces: Pieces, gated: Sequence[str]) -> None:
    if not pieces.wait_command:
        return
    for one in spec["containers"]:
        if one["name"] in gated:
            if not one.get("command"):
                raise Refusal(
                    f"containerMode is classic and gateMode is startup, but container {one['name']!r} has no command."
                    " What waits replaces the image's own entrypoint: say the product's whole command line, or set"
                    " gateMode to readiness"
                )
            one["command"] = [*pieces.wait_command, *one["command"]]
            _join_new(one, "env", pieces.wait_env)


def _join_product(spec: Pod, pieces: Pieces, gated: Sequence[str]) -> None:
    """Add what the product's containers need to report usage."""
    for one in spec["containers"]:
        if one["name"] in gated:
            _join_new(one, "env", pieces.product_env)
            _join_new(one, "volumeMounts", pieces.product_mounts, key="mountPath")


def _check_mounts(spec: Pod, pieces: Pieces) -> None:
    """Refuse a volume that only the pod can bring, and does not: the value state.existingVolume names one."""
    there = [one["name"] for one in spec.get("volumes") or []]
    for container in (*pieces.init_containers, *pieces.containers):
        for mount in container.get("volumeMounts") or []:
            if mount["name"] not in there:
                raise Refusal(
                    f"the sidecar mounts volume {mount['name']!r}, which the pod has not. Add it to the pod, or"
                    " change state.existingVolume or extraVolumeMounts of the injector"
                )
