"""Write the commands that the page shows for a terminal outside the container.

Invariants:
- Every text that others wrote is quoted for a POSIX shell: a name may hold anything, and a person pastes the line.
- Where the pod or the task is not known, the command is the one to run in the sidecar's container.

Sources: kubernetes.io, "kubectl exec"; Amazon ECS Developer Guide, "Using Amazon ECS Exec".
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Final

from sidecar.printable import printable
from sidecar.quick_dataclasses import dataclass

CONTAINER: Final = "entitlement-sidecar"
"""The container's usual name in chart, documentation and `ecs render`."""
PROGRAM: Final = "entitlement-sidecar"


@dataclass(frozen=True, kw_only=True)
class Command:
    """A line to copy, and what it does."""

    does: str
    line: str


def line(workload: Mapping[str, object], arguments: Sequence[str]) -> str:
    """Return the line that runs a command of the sidecar. `workload`: that of `GET /v1/status`."""
    here = shlex.join([PROGRAM, *map(printable, arguments)])
    pod, namespace = _text(workload, "pod"), _text(workload, "namespace")
    if pod:
        of = ["-n", namespace] if namespace else []
        return f"{shlex.join(['kubectl', 'exec', *of, pod, '-c', _text(workload, 'container') or CONTAINER])} -- {here}"
    if workload.get("kind") == "task" and _text(workload, "cluster"):
        of = ["--cluster", _text(workload, "cluster"), "--task", _text(workload, "id")]
        rest = ["--container", CONTAINER, "--interactive", "--command", here]
        return shlex.join(["aws", "ecs", "execute-command", *of, *rest])
    return here


def outside(workload: Mapping[str, object]) -> bool:
    """Return whether the lines run outside the sidecar's container."""
    return line(workload, []) != PROGRAM


def _text(workload: Mapping[str, object], name: str) -> str:
    found = workload.get(name)
    return printable(found) if isinstance(found, str) else ""
