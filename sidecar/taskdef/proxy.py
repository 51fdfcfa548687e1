"""Put the sidecar behind the App Mesh proxy of a task definition, through which it asks AWS.

ECS redirects what the containers send to the proxy from the start, so nothing leaves the task before the proxy runs,
and nothing after it ended. Service Connect needs no such order: its proxy carries calls to services of its namespace
alone, and the agent itself starts it before every container and stops it after them.

Invariants:
- The sidecar starts after the proxy, and so ends before it: the final flush has a way out.
- A dependency on the proxy that the seller wrote stays as it is, or is refused where the sidecar would never start.

Sources: Amazon ECS API Reference, ProxyConfiguration, ContainerDependency, HealthCheck (`NONE`); ECS's refusal "APPMESH
proxy configuration is only supported in networkMode=awsvpc" (github.com/aws/aws-cdk/issues/4476); AWS App Mesh user
guide, "Getting started with AWS App Mesh and Amazon ECS" (EgressIgnoredIPs); amazon-ecs-agent, agent/api/task,
initContainerOrdering.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from sidecar.errors import Problem
from sidecar.taskdef.container import NAME
from sidecar.taskdef.schema import Json

TASK_ADDRESS: Final = "169.254.170.2"
"""Where the agent gives each container the credentials and the metadata of its task."""
ENDED: Final = ("COMPLETE", "SUCCESS")
"""Conditions that only a container which has ended meets."""


def proxy_name(definition: Json) -> str | None:
    """Return the container that is the proxy, None where there is no proxyConfiguration."""
    found: str | None = definition.get("proxyConfiguration", {}).get("containerName")
    return found


def start_after_proxy(definition: Json, sidecar: Json) -> None:
    """Add the dependency: on the proxy's health, or on its start where it has no health check."""
    proxy = _proxy(definition)
    if proxy is None or any(one.get("containerName") == proxy["name"] for one in sidecar.get("dependsOn", [])):
        return
    condition = "HEALTHY" if _has_health(proxy) else "START"
    sidecar.setdefault("dependsOn", []).append({"containerName": proxy["name"], "condition": condition})


def find_problems(definition: Json, gate: Sequence[str], mode: str) -> Iterator[Problem]:
    """Yield a problem where ECS takes no proxy, or where proxy and sidecar could not start one after the other."""
    name = proxy_name(definition)
    if name is not None and _proxy(definition) is None:
        fault = f"is {name!r}, and no container has this name. Correct it."
        yield Problem(setting="proxyConfiguration.containerName", fault=fault)
    if name is not None and name in gate:
        fault = f"is {name!r}, the proxy of proxyConfiguration: the sidecar asks AWS through it. Leave it out."
        yield Problem(setting="--gate", fault=fault)
    if "proxyConfiguration" in definition and mode != "awsvpc":
        fault = (
            f"is {mode!r}, and ECS takes a proxyConfiguration with 'awsvpc' alone. Change it, or remove the proxy's."
        )
        yield Problem(setting="networkMode", fault=fault, example="awsvpc")
    yield from _never_met(definition)


def notes(definition: Json) -> Iterator[str]:
    """Yield what is valid, and still worth knowing."""
    proxy = _proxy(definition)
    if proxy is None:
        return
    if not _has_health(proxy):
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


def _never_met(definition: Json) -> Iterator[Problem]:
    """Yield the sidecar's dependencies on the proxy that a running proxy never meets."""
    proxy = _proxy(definition)
    if proxy is None:
        return
    sidecar = next(one for one in definition["containerDefinitions"] if one["name"] == NAME)
    for one in sidecar.get("dependsOn", []):
        condition = one.get("condition")
        if one.get("containerName") != proxy["name"]:
            continue
        if condition in ENDED:
            why = "the proxy runs as long as the task"
        elif condition == "HEALTHY" and not _has_health(proxy):
            why = "the proxy has no healthCheck"
        else:
            continue
        fault = f"waits for {proxy['name']!r} with {condition!r}, and {why}: the gate would never start."
        yield Problem(setting=f"{NAME}.dependsOn", fault=f"{fault} Remove this dependency; it is made from the proxy.")


def _has_health(proxy: Json) -> bool:
    """Return whether ECS checks the proxy's health; the image's own HEALTHCHECK is not read."""
    check = proxy.get("healthCheck", {})
    return bool(check) and check.get("command") != ["NONE"]


def _proxy(definition: Json) -> Json | None:
    name = proxy_name(definition)
    return next((one for one in definition["containerDefinitions"] if one["name"] == name), None)


def _property(definition: Json, name: str) -> str:
    found = definition["proxyConfiguration"].get("properties", [])
    return next((str(one.get("value", "")) for one in found if one.get("name") == name), "")
