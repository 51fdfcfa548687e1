"""Reduce a task definition to what can be registered, and check the types of the fields that `render` reads.

Invariants:
- A field that is null counts as absent.
- Duplicate names and wrong types are refused before any other check.

Sources: Amazon ECS API Reference, RegisterTaskDefinition and DescribeTaskDefinition.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sidecar.errors import Problem

Json = dict[str, Any]
Kind = type | list[type]
"""A scalar or an object, or a list of them."""

DESCRIBED_ONLY: Final = (
    "taskDefinitionArn",
    "revision",
    "status",
    "requiresAttributes",
    "compatibilities",
    "registeredAt",
    "deregisteredAt",
    "deleteRequestedAt",
    "registeredBy",
)
"""Fields of a described task definition that RegisterTaskDefinition does not take."""
RESERVED_PREFIX: Final = "aws:"
"""Of the keys of tags, in upper and lower case. Source: Amazon ECS API Reference, Tag."""
OF_TASK: Final[Mapping[str, Kind]] = {
    "requiresCompatibilities": [str],
    "volumes": [dict],
    "runtimePlatform": dict,
    "proxyConfiguration": dict,
    "tags": [dict],
}
OF_PROXY: Final[Mapping[str, Kind]] = {"containerName": str, "properties": [dict]}
OF_CONTAINER: Final[Mapping[str, Kind]] = {
    "cpu": int,
    "memory": int,
    "memoryReservation": int,
    "stopTimeout": int,
    "environment": [dict],
    "secrets": [dict],
    "mountPoints": [dict],
    "portMappings": [dict],
    "dependsOn": [dict],
    "links": [str],
    "healthCheck": dict,
    "restartPolicy": dict,
    "logConfiguration": dict,
}
OF_SIDECAR: Final[Mapping[str, Kind]] = {
    "image": str,
    "user": str,
    "command": [str],
    "essential": bool,
    "privileged": bool,
    "startTimeout": int,
}
OF_HEALTH_CHECK: Final[Mapping[str, Kind]] = {
    "command": [str],
    "interval": int,
    "timeout": int,
    "retries": int,
    "startPeriod": int,
}
OF_RESTART_POLICY: Final[Mapping[str, Kind]] = {
    "enabled": bool,
    "ignoredExitCodes": [int],
    "restartAttemptPeriod": int,
}
OF_MOUNT: Final[Mapping[str, Kind]] = {"sourceVolume": str, "containerPath": str, "readOnly": bool}
ONE: Final[Mapping[type, str]] = {dict: "an object", str: "a string", int: "a whole number", bool: "true or false"}
MANY: Final[Mapping[type, str]] = {dict: "objects", str: "strings", int: "whole numbers"}
MAY_HOLD_SECRETS: Final = frozenset({"environment", "secrets", "value", "repositoryCredentials"})
"""Fields whose values no message repeats."""
NO_CONTAINERS: Final = Problem(
    setting="containerDefinitions",
    fault="is not a list of containers with names. Give the input of `aws ecs register-task-definition`, or the answer"
    " of `aws ecs describe-task-definition`.",
    example='{"family": "shop", "containerDefinitions": [{"name": "app", …}]}',
)


def registrable(given: Mapping[str, Any]) -> Json:
    """Return what RegisterTaskDefinition takes of a definition, or of DescribeTaskDefinition's answer with its tags."""
    kept = {key: value for key, value in _inner(given).items() if key not in DESCRIBED_ONLY}
    tags = _tags(given)
    own = [one for one in tags if _reserved_key(one) is None]
    if len(own) < len(tags) and not own:
        kept.pop("tags", None)
    elif tags:
        kept["tags"] = own
    return kept


def removed_fields(given: Mapping[str, Any]) -> list[str]:
    """Return the names of the fields, and of the tags, that `registrable` leaves out."""
    reserved = [f"tag {key}" for one in _tags(given) if (key := _reserved_key(one)) is not None]
    return [key for key in _inner(given) if key in DESCRIBED_ONLY] + reserved


def without_nulls(value: Any) -> Any:
    """Return a copy in which no object has a field that is null."""
    if isinstance(value, Mapping):
        return {key: without_nulls(one) for key, one in value.items() if one is not None}
    return [without_nulls(one) for one in value] if isinstance(value, list) else value


def type_problems(definition: Json, sidecar: str) -> list[Problem]:
    """Return a problem for each field of another type than AWS's model has, and for containers that share a name."""
    containers = definition.get("containerDefinitions")
    if not isinstance(containers, list) or not containers or not all(map(_has_name, containers)):
        return [NO_CONTAINERS]
    found = list(_wrong("", definition, OF_TASK))
    for one in containers:
        found += _wrong(f"{one['name']}.", one, OF_CONTAINER)
    if not found:
        found += _wrong("proxyConfiguration.", definition.get("proxyConfiguration", {}), OF_PROXY)
        for one in containers:
            found += _each(f"{one['name']}.dependsOn.", one.get("dependsOn", []), {"containerName": str})
            found += _of_sidecar(f"{sidecar}.", one) if one["name"] == sidecar else ()
    return [*found, *_duplicate_names(containers)]


def _inner(given: Mapping[str, Any]) -> Mapping[str, Any]:
    inner = given.get("taskDefinition") if "containerDefinitions" not in given else None
    return inner if isinstance(inner, Mapping) else given


def _tags(given: Mapping[str, Any]) -> list[object]:
    """Return the tags of the definition, or those beside a described one; empty where they are no list."""
    inner = _inner(given)
    tags = given.get("tags") if inner is not given and given.get("tags") else inner.get("tags")
    return tags if isinstance(tags, list) else []


def _reserved_key(tag: object) -> str | None:
    """Return the key of a tag that AWS set itself, such as CloudFormation's; none may be given."""
    key = tag.get("key") if isinstance(tag, dict) else None
    return key if isinstance(key, str) and key.lower().startswith(RESERVED_PREFIX) else None


def _has_name(container: object) -> bool:
    name = container.get("name") if isinstance(container, dict) else None
    return isinstance(name, str) and bool(name)


def _duplicate_names(containers: list[Json]) -> Iterator[Problem]:
    for name, count in Counter(one["name"] for one in containers).items():
        if count > 1:
            fault = f"has {count} containers named {name!r}; ECS takes a name once. Rename or remove one."
            yield Problem(setting="containerDefinitions", fault=fault)


def _of_sidecar(where: str, container: Json) -> Iterator[Problem]:
    yield from _wrong(where, container, OF_SIDECAR)
    yield from _wrong(where + "healthCheck.", container.get("healthCheck", {}), OF_HEALTH_CHECK)
    yield from _wrong(where + "restartPolicy.", container.get("restartPolicy", {}), OF_RESTART_POLICY)
    yield from _each(where + "mountPoints.", container.get("mountPoints", []), OF_MOUNT)
    yield from _entries(where + "environment", [*container.get("environment", []), *container.get("secrets", [])])


def _each(where: str, members: list[Json], kinds: Mapping[str, Kind]) -> Iterator[Problem]:
    for member in members:
        yield from _wrong(where, member, kinds)


def _wrong(where: str, found: Json, kinds: Mapping[str, Kind]) -> Iterator[Problem]:
    for key, kind in kinds.items():
        if key in found and not _fits(found[key], kind):
            wanted = f"a list of {MANY[kind[0]]}" if isinstance(kind, list) else ONE[kind]
            yield Problem(
                setting=where + key, fault=f"is {_shown(key, found[key])}, and has to be {wanted}. Correct it."
            )


def _shown(key: str, value: object) -> str:
    """Return a value of the wrong type, or of what type it is where it may hold a secret."""
    if isinstance(value, list):
        inside = {_type_name(one) for one in value}
        return f"a list that holds {' and '.join(sorted(inside))}" if inside else "an empty list"
    return _type_name(value) if isinstance(value, dict) or key in MAY_HOLD_SECRETS else repr(value)


def _type_name(value: object) -> str:
    return ONE.get(type(value), "a list" if isinstance(value, list) else "another value")


def _fits(value: object, kind: Kind) -> bool:
    """Return whether the type is exactly this one: a bool is not a number."""
    if isinstance(kind, list):
        return isinstance(value, list) and all(type(one) is kind[0] for one in value)
    return type(value) is kind


def _entries(where: str, entries: list[Json]) -> Iterator[Problem]:
    for entry in entries:
        if not (isinstance(entry.get("name"), str) and isinstance(entry.get("value", ""), str)):
            name = entry["name"] if isinstance(entry.get("name"), str) else "an entry without a name"
            yield Problem(setting=where, fault=f"has {name}: name and value have to be strings. Correct it.")
