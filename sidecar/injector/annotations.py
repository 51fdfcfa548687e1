"""Read what a pod asks the injector for, in its annotations.

Invariants:
- A pod without the annotation, or with "false", asks for nothing; anything but "true" is refused, since a misspelt word
  must not run a pod without its gate.
- The same holds for a misspelt name: an annotation that begins as ours, in any case of letters, and is none of ours is
  refused.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final

from sidecar.injector.refusal import Refusal
from sidecar.quick_dataclasses import dataclass

PREFIX: Final = "entitlement-sidecar.io/"
INJECT: Final = f"{PREFIX}inject"
CONTAINERS: Final = f"{PREFIX}containers"
WORKLOAD: Final = f"{PREFIX}workload"
KNOWN: Final = (INJECT, CONTAINERS, WORKLOAD)
LABEL: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the pod asks for. Empty: all containers; a workload that follows from the pod's owner."""

    containers: tuple[str, ...]
    workload: str


def wish(pod: Mapping[str, Any]) -> Wish | None:
    """Return what the pod asks for, or None where it asks for nothing. Raises Refusal."""
    metadata = pod.get("metadata") or {}
    annotations = metadata.get("annotations") or {}
    asked = annotations.get(INJECT)
    if asked == "false":
        return None
    _refuse_unknown(annotations)
    if asked is None:
        _refuse_label(metadata.get("labels") or {})
        return None
    if asked != "true":
        raise Refusal(f'annotation {INJECT} is {asked!r}. Write "true", or "false", or remove it')
    return Wish(containers=_names(annotations), workload=_workload(annotations))


def _refuse_unknown(annotations: Mapping[str, str]) -> None:
    for name in sorted(annotations):
        if name.lower().startswith(PREFIX) and name not in KNOWN:
            near = difflib.get_close_matches(name.lower(), KNOWN, 1)
            fix = f"Did you mean {near[0]}?" if near else f"There are {', '.join(KNOWN)}:"
            raise Refusal(f"annotation {name} is unknown. {fix} Write that, or remove it")


def _refuse_label(labels: Mapping[str, str]) -> None:
    """Refuse the mistake of those who come from a mesh, where a label asks."""
    if labels.get(INJECT, "false") != "false":
        raise Refusal(f"{INJECT} is a label of the pod, and only an annotation asks. Move it to annotations")


def _names(annotations: Mapping[str, str]) -> tuple[str, ...]:
    found = tuple(word for word in re.split(r"[,\s]+", annotations.get(CONTAINERS, "")) if word)
    if CONTAINERS in annotations and not found:
        raise Refusal(f"annotation {CONTAINERS} is empty. Name containers, or remove it to gate all")
    return found


def _workload(annotations: Mapping[str, str]) -> str:
    """Return the workload that the pod names; it becomes a label, and a directory on a volume that is kept."""
    found = annotations.get(WORKLOAD, "")
    if WORKLOAD in annotations and not LABEL.fullmatch(found):
        raise Refusal(f"annotation {WORKLOAD} is {found!r}. Write letters, digits, - and _, as in a Deployment's name")
    return found
