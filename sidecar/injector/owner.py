"""Name the workload of a pod by what owns it.

Invariants:
- The name is the same for each pod of a workload, and after a rollout: what is each ReplicaSet's, or each run's of a
  CronJob, is taken off.

Sources: kubernetes.io, "Deployments" (label pod-template-hash); "CronJob" (a Job of it is named after the
minute, counted from 1970).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

HASHES: Final = ("pod-template-hash", "rollouts-pod-template-hash")
"""Labels of a Deployment's pods, and of those of a Rollout of Argo."""
RUN: Final = re.compile(r"-([0-9]{8})")
RUNS: Final = range(27_000_000, 99_999_999)
"""Minutes since 1970, from 2021 on. A date in digits, as 20260131, is below."""


def workload(pod: Mapping[str, Any]) -> str:
    """Return the owner's name; without an owner the pod's, or what that is generated from. May be empty."""
    metadata = pod.get("metadata") or {}
    owner = next((one for one in metadata.get("ownerReferences") or [] if one.get("controller")), None)
    if owner is None:
        return str(metadata.get("name") or (metadata.get("generateName") or "").rstrip("-."))
    kind, name = owner.get("kind"), str(owner.get("name") or "")
    if kind == "ReplicaSet":
        labels = metadata.get("labels") or {}
        return next((name.removesuffix(f"-{labels[one]}") for one in HASHES if labels.get(one)), name) or name
    return _without_run(name) if kind == "Job" else name


def _without_run(name: str) -> str:
    found = RUN.search(name, max(len(name) - 9, 1))
    return name[: found.start()] if found and int(found[1]) in RUNS else name
