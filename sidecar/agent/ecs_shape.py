"""Does a task definition have the types that `ecs_render` reads? Pure; a field that is null counts as absent.

Source: Amazon ECS API Reference, RegisterTaskDefinition.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.errors import Problem

Json = dict[str, Any]

OF_TASK: Final[Mapping[str, type | None]] = {"requiresCompatibilities": str, "volumes": dict, "runtimePlatform": None}
"""Field → type of a list's members, or None for an object."""
OF_CONTAINER: Final[Mapping[str, type | None]] = {
    "environment": dict,
    "secrets": dict,
    "mountPoints": dict,
    "portMappings": dict,
    "dependsOn": dict,
    "links": str,
    "healthCheck": None,
    "restartPolicy": None,
    "logConfiguration": None,
}
WORDS: Final[Mapping[type, str]] = {dict: "objects", str: "strings", int: "numbers"}
NO_CONTAINERS: Final = Problem(
    setting="containerDefinitions",
    fault="is no list of containers with names. Give the input of `aws ecs register-task-definition`, or the answer of"
    " `aws ecs describe-task-definition`.",
    example='{"family": "shop", "containerDefinitions": [{"name": "app", …}]}',
)


def faults(definition: Json, sidecar: str) -> list[Problem]:
    """What has another type than AWS's model gives it. Takes fields that are null out of `definition`."""
    containers = definition.get("containerDefinitions")
    if not isinstance(containers, list) or not containers or not all(map(_named, containers)):
        return [NO_CONTAINERS]
    found = list(_wrong("", definition, OF_TASK))
    for one in containers:
        found += _wrong(f"{one['name']}.", one, OF_CONTAINER)
    for one in containers:
        if one["name"] == sidecar and not found:
            found += _wrong(f"{sidecar}.healthCheck.", one.get("healthCheck", {}), {"command": str})
            found += _wrong(f"{sidecar}.restartPolicy.", one.get("restartPolicy", {}), {"ignoredExitCodes": int})
            found += _entries(f"{sidecar}.environment", [*one.get("environment", []), *one.get("secrets", [])])
    return found


def _named(container: object) -> bool:
    name = container.get("name") if isinstance(container, dict) else None
    return isinstance(name, str) and bool(name)


def _wrong(where: str, found: Json, shapes: Mapping[str, type | None]) -> Iterator[Problem]:
    for key, member in shapes.items():
        if found.get(key, ...) is None:
            del found[key]
        value = found.get(key, {} if member is None else [])
        if member is None and not isinstance(value, dict):
            yield Problem(setting=where + key, fault=f"is {value!r}, and has to be an object. Correct it.")
        if member and not (isinstance(value, list) and all(isinstance(one, member) for one in value)):
            fault = f"is {value!r}, and has to be a list of {WORDS[member]}. Correct it."
            yield Problem(setting=where + key, fault=fault)


def _entries(where: str, entries: list[Json]) -> Iterator[Problem]:
    for entry in entries:
        if not (isinstance(entry.get("name"), str) and isinstance(entry.get("value", ""), str)):
            yield Problem(setting=where, fault=f"has {entry!r}: name and value have to be strings. Correct it.")
