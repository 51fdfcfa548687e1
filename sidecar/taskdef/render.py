"""Merge the sidecar into a seller's ECS task definition. JSON in, JSON out.

Reading and writing files: `cli.ecs_render`. Types of the fields: `schema`. What would break gate or metering: `rules`.

Invariants:
- What the seller wrote stays, in its order; only what would break gate or metering is refused, all of it at once.
- Rendering twice changes nothing.
- What is for ECS or the seller to decide is not set: regions, published ports, registries.

Sources: Amazon ECS API Reference, RegisterTaskDefinition; Amazon ECS developer guide, "Task definition parameters",
"Amazon ECS task networking for Amazon ECS Managed Instances".
"""

from __future__ import annotations

import copy
import difflib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sidecar.errors import Problem
from sidecar.quick_dataclasses import dataclass, field
from sidecar.taskdef import limits, proxy, rules, schema, shared_socket
from sidecar.taskdef.container import (
    EC2,
    FARGATE,
    NAME,
    OWN_MEMORY,
    STATE_DIR,
    VOLUME,
    sidecar_container,
    state_mount,
    variable,
)
from sidecar.taskdef.schema import Json

EXTERNAL: Final = "EXTERNAL"
NETWORK_MODES: Final[Mapping[str, Sequence[str]]] = {FARGATE: ["awsvpc"], "MANAGED_INSTANCES": ["awsvpc", "host"]}
"""Network modes of the launch types that need one; the first is the default."""
FLUSH_MARGIN_SECONDS: Final = 10
STOP_SECONDS_DEFAULT: Final = 30
"""Of `stopTimeout`, where neither the container nor the agent sets it."""
SPOT_SECONDS: Final = 120
"""Between the warning and the end of a task on Fargate Spot."""


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """Options of a merge."""

    gate: Sequence[str]
    """Containers that start only once the customer is entitled."""
    image: str | None = None
    launch_type: str | None = None
    product_code: str | None = None


class CannotRender(Exception):
    """Every problem that keeps the sidecar out of this definition."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


@dataclass
class _Rendering:
    """The definition so far, its problems, and notes for a person."""

    definition: Json
    options: RenderOptions
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_problem(self, where: str, fault: str, example: str = "") -> None:
        """Add a problem of the field or flag `where`."""
        self.problems.append(Problem(setting=where, fault=fault, example=example))


def render(given: Mapping[str, Any], options: RenderOptions) -> tuple[Json, list[str]]:
    """Return the definition with the sidecar in it, and notes for a person. Raises CannotRender."""
    work = _Rendering(definition=schema.without_nulls(schema.registrable(given)), options=options)
    if problems := schema.type_problems(work.definition, NAME):
        raise CannotRender(problems)
    launch_type = _launch_type(work)
    mode = _network_mode(work, launch_type)
    _check_platform(work, launch_type)
    sidecar = _sidecar(work, mode)
    _hold_back(work, mode)
    if _own_listeners(work, mode) and shared_socket.is_ours(sidecar):
        _share_socket(work)
    proxy.start_after_proxy(work.definition, sidecar)
    _add_volume(work, sidecar)
    work.problems += rules.find_problems(work.definition, launch_type, mode)
    work.problems += proxy.find_problems(work.definition, work.options.gate, mode)
    work.problems += shared_socket.find_problems(sidecar)
    work.problems += limits.find_problems(work.definition, launch_type)
    if work.problems:
        raise CannotRender(work.problems)
    _note_removed_fields(work, given)
    _note_consequences(work, sidecar, mode)
    return work.definition, work.notes


def as_text(definition: Mapping[str, Any]) -> str:
    """Return the definition as it is printed and compared."""
    return json.dumps(definition, indent=2, ensure_ascii=False) + "\n"


def difference(before: Mapping[str, Any], after: Mapping[str, Any], name: str) -> str:
    """Return a unified diff; empty where nothing changes."""
    lines = [as_text(one).splitlines(keepends=True) for one in (before, after)]
    return "".join(difflib.unified_diff(lines[0], lines[1], name, f"{name} with {NAME}"))


def _containers(work: _Rendering) -> list[Json]:
    found: list[Json] = work.definition["containerDefinitions"]
    return found


def _launch_type(work: _Rendering) -> str:
    """Return the requested launch type, else the strictest that the definition requires."""
    required = work.definition.get("requiresCompatibilities", [])
    requested = work.options.launch_type
    if EXTERNAL in required:
        work.add_problem("requiresCompatibilities", "has 'EXTERNAL': AWS meters no tasks outside AWS. Remove it.")
    if requested == FARGATE and FARGATE not in required:
        work.definition["requiresCompatibilities"] = [*required, FARGATE]
    if requested == EC2 and FARGATE in required:
        work.add_problem(
            "--launch-type",
            f"is 'EC2', but requiresCompatibilities is {required!r}. Leave the flag out: what holds for Fargate holds"
            " for EC2; or remove 'FARGATE' there.",
        )
    if requested:
        return requested
    return FARGATE if FARGATE in required else EC2


def _network_mode(work: _Rendering, launch_type: str) -> str:
    mode = work.definition.get("networkMode")
    launch_types = [launch_type, *work.definition.get("requiresCompatibilities", [])]
    for kind, known in NETWORK_MODES.items():
        if kind not in launch_types:
            continue
        mode = work.definition.setdefault("networkMode", known[0])
        if mode not in known:
            work.add_problem(
                "networkMode", f"is {mode!r}; {kind} knows {' and '.join(map(repr, known))} alone. Change it."
            )
            return known[0]
    if mode == "none":
        work.add_problem("networkMode", "is 'none': AWS could not be asked. Use 'awsvpc'.", "awsvpc")
    return str(mode or "bridge")  # Docker's default on Linux


def _check_platform(work: _Rendering, launch_type: str) -> None:
    family = str(work.definition.get("runtimePlatform", {}).get("operatingSystemFamily", "LINUX"))
    if family != "LINUX":
        work.add_problem("runtimePlatform", f"has operatingSystemFamily {family!r}; the sidecar's image is for LINUX.")
    if launch_type == FARGATE:
        for name, example in (("cpu", "256"), ("memory", "512")):
            if not work.definition.get(name):
                work.add_problem(
                    name, f"is missing; Fargate wants it for the whole task ({name} of the task).", example
                )


def _sidecar(work: _Rendering, mode: str) -> Json:
    """Return the sidecar's container: inserted first, or completed where there is one; the seller's fields stay."""
    containers = _containers(work)
    present = next((one for one in containers if one["name"] == NAME), None)
    image = work.options.image or (present or {}).get("image", "")
    if not image:
        work.add_problem(
            "--image", "is missing, and no container 'entitlement-sidecar' names one.", "123….dkr.ecr…/gate:1.0.0"
        )
    made = sidecar_container(image)
    if not work.definition.get("memory") and not OWN_MEMORY.keys() & (present or {}).keys():
        made |= OWN_MEMORY
    if present is None:
        containers.insert(0, made)
        present = made
    else:
        for key, value in made.items():
            if key not in ("environment", "mountPoints"):
                present.setdefault(key, value)
        present["image"] = image
        _add_named(present, "environment", made["environment"][0], "name", keep=True)
    if state_mount(present) is None:
        path = variable(present, "SIDECAR_STATE_DIR") or STATE_DIR
        present.setdefault("mountPoints", []).append({"sourceVolume": VOLUME, "containerPath": path, "readOnly": False})
    flush = max(1, present["stopTimeout"] - FLUSH_MARGIN_SECONDS)
    _variable(present, "SIDECAR_FLUSH_SECONDS", str(flush), keep=True)
    _variable(present, "SIDECAR_GRACE_SECONDS", str(present["stopTimeout"]), keep=True)
    if work.options.product_code:
        _variable(present, "SIDECAR_PRODUCT_CODE", work.options.product_code, keep=False)
    if mode == "bridge":
        _variable(present, "SIDECAR_API_BIND", ":8485", keep=True)
        _variable(present, "SIDECAR_API_HOSTS", ",".join(_link_names(containers)), keep=True)
    if _own_listeners(work, mode):
        for name, value in shared_socket.VARIABLES.items():
            _variable(present, name, value, keep=True)
        if shared_socket.is_ours(present):
            _add_named(present, "mountPoints", shared_socket.mount(read_only=False), "containerPath", keep=True)
    _copy_logging(work, present)
    return present


def _own_listeners(work: _Rendering, mode: str) -> bool:
    """Return whether the listeners must be the task's own: on managed instances there are no Docker volumes."""
    return mode == "host" and "MANAGED_INSTANCES" not in work.definition.get("requiresCompatibilities", [])


def _link_names(containers: list[Json]) -> list[str]:
    """Return the names by which containers reach the sidecar over a link: its own, and their aliases of it."""
    links = [link.partition(":") for one in containers for link in one.get("links", [])]
    return list(dict.fromkeys([NAME, *(alias for name, _, alias in links if name == NAME and alias)]))


def _variable(container: Json, name: str, value: str, *, keep: bool) -> None:
    _add_named(container, "environment", {"name": name, "value": value}, "name", keep=keep)


def _add_named(container: Json, key: str, entry: Json, by: str, *, keep: bool) -> None:
    """Add `entry` to a list; one of the same name is replaced, or kept."""
    entries = container.setdefault(key, [])
    for at, one in enumerate(entries):
        if one.get(by) == entry[by]:
            entries[at] = one if keep else entry
            return
    entries.append(entry)


def _copy_logging(work: _Rendering, sidecar: Json) -> None:
    """Give the sidecar the product's log configuration: its last lines say why a task stopped."""
    if "logConfiguration" in sidecar:
        return
    gated = [one for one in _containers(work) if one["name"] in work.options.gate and "logConfiguration" in one]
    if gated:
        sidecar["logConfiguration"] = copy.deepcopy(gated[0]["logConfiguration"])


def _hold_back(work: _Rendering, mode: str) -> None:
    containers = _containers(work)
    names = [one["name"] for one in containers if one["name"] != NAME]
    if not work.options.gate:
        work.add_problem(
            "--gate", f"is missing. Name the containers to hold back, of {', '.join(map(repr, names))}.", "app"
        )
    for name in dict.fromkeys(work.options.gate):
        if name not in names:
            there = ", ".join(map(repr, names))
            work.add_problem(
                "--gate", f"is {name!r}, and no container of the product has this name. There are {there}."
            )
    for one in containers:
        if one["name"] not in work.options.gate or one["name"] in (NAME, proxy.proxy_name(work.definition)):
            continue
        _add_named(one, "dependsOn", {"containerName": NAME, "condition": "HEALTHY"}, "containerName", keep=False)
        if mode == "bridge" and not any(link.partition(":")[0] == NAME for link in one.get("links", [])):
            one["links"] = [*one.get("links", []), NAME]


def _add_volume(work: _Rendering, sidecar: Json) -> None:
    """Add an empty volume of the task: it outlives the container, not the task, on Fargate and on EC2."""
    volumes = work.definition.setdefault("volumes", [])
    mounted = (state_mount(sidecar) or {}).get("sourceVolume")
    if mounted == VOLUME and not any(one.get("name") == VOLUME for one in volumes):
        volumes.append({"name": VOLUME, "host": {}})


def _share_socket(work: _Rendering) -> None:
    """Mount the socket's volume in the gated containers, and tell the product where it is."""
    for one in _containers(work):
        if one["name"] in work.options.gate:
            _add_named(one, "mountPoints", shared_socket.mount(read_only=True), "containerPath", keep=True)
            _variable(one, "SIDECAR_API_BIND", shared_socket.BIND, keep=True)
        if one["name"] in (NAME, *work.options.gate):
            work.problems += shared_socket.find_mismatches(one)
    _add_named(work.definition, "volumes", copy.deepcopy(shared_socket.TMPFS), "name", keep=True)


def _note_removed_fields(work: _Rendering, given: Mapping[str, Any]) -> None:
    if names := schema.removed_fields(given):
        work.notes.append(
            f"Left out before the diff, as `aws ecs register-task-definition` does not take them: {', '.join(names)}."
        )


def _note_consequences(work: _Rendering, sidecar: Json, mode: str) -> None:
    """Note what is valid, and still worth knowing."""
    if mode == "host" and shared_socket.is_ours(sidecar):
        work.notes.append(
            "networkMode is 'host': the probes have a free port, and the product's listener is a Unix socket in a"
            f" volume of the task ({shared_socket.BIND}). So an instance may run several such tasks, and only the gated"
            " containers can push usage. Other tasks cannot ask this gate."
        )
    elif mode == "host":
        work.notes.append(
            "networkMode is 'host': with these ports one such task runs on an instance, and every process on it can"
            " push usage. 'awsvpc' has neither."
        )
    if mode == "bridge" and rules.open_port(variable(sidecar, "SIDECAR_API_BIND")):
        port = rules.open_port(variable(sidecar, "SIDECAR_API_BIND"))
        work.notes.append(
            "networkMode is 'bridge': no shared localhost. The product reaches the sidecar by its link, at"
            f" http://{NAME}:{port}; so can other containers of the instance. 'awsvpc' shares localhost within the task"
            " alone."
        )
    if "logConfiguration" not in sidecar:
        work.notes.append(
            "No gated container has a logConfiguration to copy: the sidecar's log, with why it ended, is lost."
        )
    gated = [one for one in _containers(work) if one["name"] in work.options.gate]
    seconds = max(one.get("stopTimeout", STOP_SECONDS_DEFAULT) for one in gated) + sidecar["stopTimeout"]
    if FARGATE in work.definition.get("requiresCompatibilities", []) and seconds > SPOT_SECONDS:
        work.notes.append(
            f"The product's stopTimeout and the sidecar's add up to {seconds} s. Fargate Spot ends a task after"
            f" {SPOT_SECONDS} s: a product that does not end on SIGTERM would leave too little for the last usage."
        )
    if "startTimeout" in sidecar:
        work.notes.append(
            f"{NAME}.startTimeout is {sidecar['startTimeout']}: then the task gives up. AWS advises 1800 s."
        )
    work.notes += proxy.notes(work.definition)
    if not work.definition.get("taskRoleArn"):
        work.notes.append(
            "taskRoleArn is missing: name a role that allows aws-marketplace:RegisterUsage (or MeterUsage, or"
            " license-manager:CheckoutLicense)."
        )
