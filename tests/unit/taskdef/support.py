"""Definitions of a seller, merged, changed and refused."""

from __future__ import annotations

from typing import Any

import pytest

from sidecar.taskdef.container import EC2, FARGATE, NAME, STATE_DIR
from sidecar.taskdef.render import CannotRender, RenderOptions, render
from tests.ecs.templates import product

IMAGE = "gate:1"


def merged(given: dict[str, Any], gate: tuple[str, ...] = ("app",), **options: Any) -> dict[str, Any]:
    return render(given, RenderOptions(gate=gate, **({"image": IMAGE} | options)))[0]


def refused(given: dict[str, Any], gate: tuple[str, ...] = ("app",), **options: Any) -> str:
    with pytest.raises(CannotRender) as caught:
        merged(given, gate, **options)
    return "\n".join(str(problem) for problem in caught.value.problems)


def container(definition: dict[str, Any], name: str = NAME) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in definition["containerDefinitions"] if one["name"] == name)
    return found


def variables(definition: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container(definition)["environment"]}


FARGATE_APP = product(FARGATE, "awsvpc")
EC2_APP = product(EC2, "awsvpc")
BRIDGE_APP = product(EC2, "bridge")


def with_sidecar(given: dict[str, Any] = FARGATE_APP, **changed: Any) -> dict[str, Any]:
    """Return a merged definition whose sidecar the seller has changed; None removes a field."""
    found = merged(given)
    one = container(found)
    for key, value in changed.items():
        if value is None:
            del one[key]
        else:
            one[key] = value
    return found


def with_health_check(**changed: int) -> dict[str, Any]:
    return with_sidecar(healthCheck=container(merged(FARGATE_APP))["healthCheck"] | changed)


def with_state_on(volume: dict[str, Any], **changed: Any) -> dict[str, Any]:
    """Return a merged definition that mounts the state directory from the seller's volume."""
    mount = {"sourceVolume": volume["name"], "containerPath": f"{STATE_DIR}/", "readOnly": False} | changed
    return {**with_sidecar(mountPoints=[mount]), "volumes": [volume]}


def with_containers(*others: dict[str, Any]) -> dict[str, Any]:
    return {**FARGATE_APP, "containerDefinitions": [*FARGATE_APP["containerDefinitions"], *others]}


def bound(address: str) -> dict[str, Any]:
    return with_sidecar(BRIDGE_APP, environment=[{"name": "SIDECAR_API_BIND", "value": address}])
