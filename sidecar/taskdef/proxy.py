"""Put the sidecar behind the App Mesh proxy of a task definition, through which it asks AWS.

ECS redirects what the containers send to the proxy from the start, so nothing leaves the task before the proxy runs,
and nothing after it ended. Service Connect needs no such order: its proxy carries calls to services of its namespace
alone, and the agent itself starts it before every container and stops it after them.

Invariants:
- The sidecar starts after the proxy, and so ends before it: the final flush has a way out.
- A dependency on the proxy that the seller wrote stays as it is.

Sources: Amazon ECS API Reference, ProxyConfiguration, ContainerDependency; AWS App Mesh user guide, "Getting started
with AWS App Mesh and Amazon ECS" (EgressIgnoredIPs); amazon-ecs-agent, agent/api/task, initContainerOrdering.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sidecar.errors import Problem
from sidecar.taskdef.container import NAME
from sidecar.taskdef.schema import Json

TASK_ADDRESS: Final = "169.254.170.2"
"""Where the agent gives each container the credentials and the metadata of its task."""


def proxy_name(definition: Json) -> str | None:
    """Return the container that is the proxy, None where there is no proxyConfiguration."""
    found: str | None = definition.get("proxyConfiguration", {}).get("containerName")
    return found


def start_after_proxy(definition: Json, sidecar: Json) -> None:
    """Add the dependency: on the proxy's health, or on its start where it has no health check."""
    proxy = _proxy(definition)
    if proxy is None or any(one.get("containerName") == proxy["name"] for one in sidecar.get("dependsOn", [])):
        return
    condition = "HEALTHY" if proxy.get("healthCheck") else "START"
    sidecar.setdefault("dependsOn", []).append({"containerName": proxy["name"], "condition": condition})


def find_problems(definition: Json, gate: Sequence[str]) -> Iterator[Problem]:
    """Yield a problem where the proxy is no container of the task, or would wait for the sidecar."""
    name = proxy_name(definition)
    if name is not None and _proxy(definition) is None:
        fault = f"is {name!r}, and no container has this name. Correct it."
        yield Problem(setting="proxyConfiguration.containerName", fault=fault)
    if name is not None and name in gate:
        fault = f"is {name!r}, the proxy of proxyConfiguration: the sidecar asks AWS through it. Leave it out."
        yield Problem(setting="--gate", fault=fault)


def notes(definition: Json) -> Iterator[str]:
    """Yield what is valid, and still worth knowing."""
    proxy = _proxy(definition)
    if proxy is None:
        return
    if not proxy.get("healthCheck"):
        yield (
            f"{NAME} starts as soon as the proxy {proxy['name']!r} has started, and asks again until it answers: it has"
            " no healthCheck to wait for."
        )
    ignored = _property(definition, "EgressIgnoredIPs")
    if TASK_ADDRESS not in [one.strip() for one in ignored.split(",")]:
        yield (
            f"proxyConfiguration has EgressIgnoredIPs {ignored!r}, without {TASK_ADDRESS}: the task's role is read"
            " there, and no proxy reaches it. Add it."
        )


def _proxy(definition: Json) -> Json | None:
    name = proxy_name(definition)
    return next((one for one in definition["containerDefinitions"] if one["name"] == name), None)


def _property(definition: Json, name: str) -> str:
    found = definition["proxyConfiguration"].get("properties", [])
    return next((str(one.get("value", "")) for one in found if one.get("name") == name), "")
