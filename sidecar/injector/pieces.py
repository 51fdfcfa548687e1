"""Read what the sidecar's chart renders into a pod, as the injector's chart hands it over.

Invariants:
- Nothing is rendered here: containers, volumes and the rest are the chart's own, from the same values.
- What is each pod's own stands in the document as a placeholder, and is replaced in every text: the workload, and the
  seconds that follow from the pod's grace.
- A document that lacks what a pod cannot do without is refused when it is read, not when a pod is injected.

Sources: helm/entitlement-sidecar-injector/templates/_pieces.tpl makes the document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from sidecar.errors import Problem, SettingsError
from sidecar.quick_dataclasses import dataclass

LABEL_MAX: Final = 63
LISTS: Final = (
    "initContainer",
    "classicContainer",
    "waitEnv",
    "waitCommand",
    "productEnv",
    "productMounts",
    "volumes",
    "readinessGates",
)


@dataclass(frozen=True, kw_only=True)
class Pieces:
    """What one pod gets. Lists are as in a pod's spec, and empty where the values ask for none of it."""

    workload: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    init_containers: tuple[dict[str, Any], ...]
    containers: tuple[dict[str, Any], ...]
    volumes: tuple[dict[str, Any], ...]
    readiness_gates: tuple[dict[str, Any], ...]
    pull_secrets: tuple[dict[str, Any], ...]
    wait_command: tuple[str, ...]
    wait_env: tuple[dict[str, Any], ...]
    product_env: tuple[dict[str, Any], ...]
    product_mounts: tuple[dict[str, Any], ...]
    grace_seconds: int
    """The pod's whole grace: the product's, the final flush and what the sidecar needs to end in."""


@dataclass(frozen=True, kw_only=True)
class Document:
    """The pieces with their placeholders."""

    fields: Mapping[str, Any]
    workload: str
    app_grace_seconds: int
    grace_seconds: int

    @property
    def containers(self) -> list[dict[str, Any]]:
        """The sidecar's containers as they are rendered; the values choose a native or a classic one."""
        return [*(self.fields.get("initContainer") or ()), *(self.fields.get("classicContainer") or ())]

    def for_pod(self, workload: str, app_grace_seconds: int) -> Pieces:
        """Return the pieces of one pod. `app_grace_seconds`: the grace that the pod has without the sidecar."""
        grace = app_grace_seconds + self.grace_seconds - self.app_grace_seconds
        texts = {str(self.app_grace_seconds): str(app_grace_seconds), str(self.grace_seconds): str(grace)}

        def own(value: Any) -> Any:
            if isinstance(value, dict):
                return {name: own(one) for name, one in value.items()}
            if isinstance(value, list):
                return [own(one) for one in value]
            return texts.get(value, value.replace(self.workload, workload)) if isinstance(value, str) else value

        fields = own(self.fields)
        return Pieces(
            workload=workload,
            labels={name: _label(value) for name, value in fields.get("podLabels", {}).items()},
            annotations=fields.get("podAnnotations", {}),
            init_containers=tuple(fields.get("initContainer", ())),
            containers=tuple(fields.get("classicContainer", ())),
            volumes=tuple(fields.get("volumes", ())),
            readiness_gates=tuple(fields.get("readinessGates", ())),
            pull_secrets=tuple(fields.get("imagePullSecrets", ())),
            wait_command=tuple(fields.get("waitCommand", ())),
            wait_env=tuple(fields.get("waitEnv", ())),
            product_env=tuple(fields.get("productEnv", ())),
            product_mounts=tuple(fields.get("productMounts", ())),
            grace_seconds=grace,
        )


def _label(value: str) -> str:
    """Return it as a label's value, which ends in a letter or digit; a workload's name may have dots."""
    return value if len(value) <= LABEL_MAX else value[:LABEL_MAX].rstrip("-_.")


def read(path: Path) -> Document:
    """Return the document in a file. Raises SettingsError."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as exc:
        raise _bad(path, f"cannot be read: {exc.strerror}. The injector's chart mounts it.") from exc
    except ValueError as exc:
        raise _bad(path, f"is not JSON: {exc}. The injector's chart renders it.") from exc
    return _document(path, found)


def _document(path: Path, found: object) -> Document:
    if not isinstance(found, dict):
        raise _bad(path, "is not a JSON object. The injector's chart renders it.")
    for name in ("appGraceSeconds", "terminationGracePeriodSeconds"):
        if not isinstance(found.get(name), int):
            raise _bad(path, f"has no number {name}. The injector's chart renders it.")
    if not (isinstance(found.get("workload"), str) and found["workload"]):
        raise _bad(path, "has no text workload. The injector's chart renders it.")
    if not all(isinstance(found.get(name, []), list) for name in LISTS):
        raise _bad(path, f"has something else than a list among {', '.join(LISTS)}.")
    if not (found.get("initContainer") or found.get("classicContainer")):
        raise _bad(path, "has no container, so that no pod would be gated. The injector's chart renders one.")
    return Document(
        fields=found,
        workload=found["workload"],
        app_grace_seconds=found["appGraceSeconds"],
        grace_seconds=found["terminationGracePeriodSeconds"],
    )


def _bad(path: Path, fault: str) -> SettingsError:
    return SettingsError([Problem(setting=str(path), fault=fault)])
