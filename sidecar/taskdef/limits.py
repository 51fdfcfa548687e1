"""Find what exceeds the limits that ECS sets to a task and its containers: their number, memory and CPU.

Invariants:
- A size that is no number of ECS's, such as a placeholder of a template, is the seller's: nothing is compared with it.
- What would fit is never refused: a container without `memoryReservation` counts as nothing, and one may reserve all of
  its `memory`, which the reference denies and ECS takes (github.com/awsdocs/amazon-ecs-developer-guide/pull/242).

Sources: Amazon ECS API Reference, RegisterTaskDefinition (`cpu`, `memory`) and ContainerDefinition (`memory`,
`memoryReservation`); Amazon ECS developer guide, "Amazon ECS service quotas" (containers in a task definition).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Final

from sidecar.errors import Problem
from sidecar.taskdef.container import FARGATE, NAME
from sidecar.taskdef.schema import Json

CONTAINERS_MAX: Final = 10
"""Of one task definition; AWS does not raise it."""
SIZE: Final = re.compile(r"(\d{1,9}|\d{0,9}\.\d{1,9})\s*([a-z]*)", re.IGNORECASE | re.ASCII)
UNITS: Final[Mapping[str, Mapping[str, int]]] = {
    "memory": {"": 1, "gb": 1024},
    "cpu": {"": 1, "vcpu": 1024},
}
"""Field of the task → unit that may stand behind the number → MiB, or CPU units."""


def find_problems(definition: Json, launch_type: str) -> Iterator[Problem]:
    """Yield a problem for each limit of the task that its containers exceed together, or one of them alone."""
    containers = definition["containerDefinitions"]
    if len(containers) > CONTAINERS_MAX:
        fault = f"has {len(containers)} containers, {NAME!r} among them; ECS takes {CONTAINERS_MAX}. Remove one."
        yield Problem(setting="containerDefinitions", fault=fault)
    yield from _memory(definition, containers)
    yield from _reserved(containers)
    if launch_type != FARGATE and not definition.get("memory"):  # on Fargate the task's is missing, see `render`
        yield from _unsized(containers)
    if launch_type == FARGATE:  # elsewhere AWS names no such rule
        yield from _sum(definition, containers, "cpu", "cpu", "CPU units")


def task_size(definition: Json, name: str) -> int | None:
    """Return `cpu` (CPU units) or `memory` (MiB) of the task, None where it is absent or no number of ECS's."""
    found = SIZE.fullmatch(str(definition.get(name, "")).strip())
    factor = UNITS[name].get(found[2].lower()) if found else None
    return int(Decimal(found[1]) * factor) if found and factor else None


def _memory(definition: Json, containers: list[Json]) -> Iterator[Problem]:
    limit = task_size(definition, "memory")
    for one in containers if limit is not None else ():
        if one.get("memory", 0) > limit:
            fault = (
                f"is {one['memory']} MiB, more than the {limit} MiB of the whole task. Lower it, or raise the task's."
            )
            yield Problem(setting=f"{one['name']}.memory", fault=fault)
    yield from _sum(definition, containers, "memoryReservation", "memory", "MiB")


def _reserved(containers: list[Json]) -> Iterator[Problem]:
    for one in containers:
        memory, reserved = one.get("memory", 0), one.get("memoryReservation", 0)
        if 0 < memory < reserved:
            fault = f"is {reserved} MiB, more than its memory of {memory} MiB. Lower it, or raise memory."
            yield Problem(setting=f"{one['name']}.memoryReservation", fault=fault)


def _unsized(containers: list[Json]) -> Iterator[Problem]:
    """Yield the containers of a task without `memory` for which ECS knows no size at all; 0 is none."""
    for one in containers:
        if not one.get("memory") and not one.get("memoryReservation"):
            fault = "is missing, as are its memoryReservation and the task's memory; ECS wants one of them. Add one."
            yield Problem(setting=f"{one['name']}.memory", fault=fault, example="512")


def _sum(definition: Json, containers: list[Json], field: str, of_task: str, unit: str) -> Iterator[Problem]:
    limit, total = task_size(definition, of_task), sum(one.get(field, 0) for one in containers)
    if limit is not None and total > limit:
        parts = " + ".join(f"{one[field]} ({one['name']})" for one in containers if one.get(field))
        fault = (
            f"is {limit} {unit} for the whole task, and its containers reserve {total} by {field}: {parts}. Raise it,"
            " or reserve less."
        )
        yield Problem(setting=of_task, fault=fault)
