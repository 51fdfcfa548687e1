"""Find what would break gate or metering in a task definition with the sidecar in it.

Types of the fields: `schema`. Missing fields: `render`. What counts over the whole task: `limits`.

Invariants:
- Only what ECS would refuse or what breaks gate or metering is refused; the rest is the seller's.
- Each problem has its fix, and names the field by its path: `entitlement-sidecar.user`.

Sources: Amazon ECS API Reference, ContainerDefinition, HealthCheck, ContainerRestartPolicy, Volume;
amazon-ecs-agent, agent/api/task/task.go, initializeContainerOrdering (a link waits as `dependsOn` does).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import PurePosixPath
from typing import Final

from sidecar.errors import Exit, Problem
from sidecar.settings.addresses import Address, UnixSocket, addresses
from sidecar.taskdef.container import (
    FARGATE,
    HEALTH_COMMAND,
    NAME,
    STOP_SECONDS,
    STOP_SECONDS_MAX,
    state_mount,
    variable,
)
from sidecar.taskdef.schema import Json

FORBIDDEN_VARIABLES: Final = {
    "AWS_REGION": "AWS wants the region the task really runs in, and the sidecar finds it",
    "AWS_DEFAULT_REGION": "AWS wants the region the task really runs in, and the sidecar finds it",
    "AWS_ACCESS_KEY_ID": "metering takes the task role alone, and keys would win over it",
    "AWS_SECRET_ACCESS_KEY": "metering takes the task role alone, and keys would win over it",
}
BOUNDS: Final[Mapping[tuple[str, str], tuple[int, int]]] = {
    ("healthCheck", "interval"): (5, 300),
    ("healthCheck", "timeout"): (2, 60),
    ("healthCheck", "retries"): (1, 10),
    ("healthCheck", "startPeriod"): (0, 300),
    ("restartPolicy", "restartAttemptPeriod"): (60, 1800),
}
"""Section and field → least and most that ECS takes, in seconds or times."""
NETWORK_VOLUMES: Final = (
    "efsVolumeConfiguration",
    "fsxWindowsFileServerVolumeConfiguration",
    "s3filesVolumeConfiguration",
)
ROOT: Final = re.compile(r"root|0+")


def find_problems(definition: Json, launch_type: str, mode: str) -> Iterator[Problem]:
    """Yield every problem of a rendered definition."""
    sidecar = next(one for one in definition["containerDefinitions"] if one["name"] == NAME)
    yield from _process(sidecar)
    yield from _health(sidecar)
    yield from _variables(sidecar)
    yield from _restart(sidecar)
    yield from _times(sidecar, launch_type)
    yield from _state(definition, sidecar)
    if mode == "bridge":
        yield from _listener(sidecar)
    yield from _cycle(definition)


def open_port(bind: str) -> int | None:
    """Return the first port of SIDECAR_API_BIND that another container reaches. Raises ValueError."""
    found = (one for one in addresses(bind) if isinstance(one, Address))
    return next((one.port for one in found if not _loopback(one.host)), None)


def _wrong(field: str, fault: str, example: str = "") -> Problem:
    return Problem(setting=f"{NAME}.{field}", fault=fault, example=example)


def _process(sidecar: Json) -> Iterator[Problem]:
    if sidecar["essential"] is not True:
        fault = "is not true: the product would run on without its gate. Remove the field."
        yield _wrong("essential", fault, "true")
    if sidecar["command"][:1] != ["run"]:
        yield _wrong("command", f"is {sidecar['command']!r}; the gate is kept by `run` alone. Remove the field.")
    if sidecar.get("privileged"):
        yield _wrong("privileged", "is true: the gate would have the instance. Remove the field.")
    if ROOT.fullmatch(sidecar["user"].partition(":")[0]):
        yield _wrong("user", f"is {sidecar['user']!r}: the gate does not run as root. Remove the field.", "65532:65532")
    if sidecar.get("portMappings"):
        fault = "publishes ports of the gate. Remove the field; the task itself reaches them."
        yield _wrong("portMappings", fault)


def _health(sidecar: Json) -> Iterator[Problem]:
    command = sidecar["healthCheck"].get("command", [])
    if [PurePosixPath(word).name for word in command[:3]] != HEALTH_COMMAND:
        fault = f"is {command!r}, and does not run `entitlement-sidecar healthcheck`. Remove the health check."
        yield _wrong("healthCheck.command", fault)
    for (section, name), (least, most) in BOUNDS.items():
        value = sidecar[section].get(name, least)
        if not least <= value <= most:
            yield _wrong(f"{section}.{name}", f"is {value}; ECS takes {least} to {most}. Change it.")


def _variables(sidecar: Json) -> Iterator[Problem]:
    for kind in ("environment", "secrets"):
        for name in (one.get("name") for one in sidecar.get(kind, [])):
            if name in FORBIDDEN_VARIABLES:
                yield _wrong(kind, f"has {name!r}: {FORBIDDEN_VARIABLES[name]}. Remove it.")


def _restart(sidecar: Json) -> Iterator[Problem]:
    policy = sidecar["restartPolicy"]
    ignored = policy.get("ignoredExitCodes", [])
    if policy.get("enabled") and int(Exit.DENIED) not in ignored:
        fault = f"is {ignored!r}: ECS would restart a sidecar that was denied. Add 77."
        yield _wrong("restartPolicy.ignoredExitCodes", fault, "[77, 78]")


def _times(sidecar: Json, launch_type: str) -> Iterator[Problem]:
    for name in ("startTimeout", "stopTimeout"):
        value = sidecar.get(name, STOP_SECONDS)
        if launch_type == FARGATE and not 2 <= value <= STOP_SECONDS_MAX:
            fault = f"is {value}; Fargate takes 2 to {STOP_SECONDS_MAX} seconds. Change it."
            yield _wrong(name, fault, str(STOP_SECONDS))
    flush, stop = variable(sidecar, "SIDECAR_FLUSH_SECONDS"), sidecar["stopTimeout"]
    if not (flush.isdecimal() and 0 < int(flush) < stop):
        yield _wrong(
            "environment",
            f"has SIDECAR_FLUSH_SECONDS {flush!r}, and stopTimeout is {stop}: ECS would kill the final flush. Remove"
            " the variable; it is made from stopTimeout.",
        )
    grace = variable(sidecar, "SIDECAR_GRACE_SECONDS")
    if not (grace.isdecimal() and int(grace) == stop):
        fault = (
            f"has SIDECAR_GRACE_SECONDS {grace!r}, and stopTimeout is {stop}: ECS gives the sidecar that time to end"
        )
        yield _wrong("environment", f"{fault} in. Remove the variable; it is made from stopTimeout.")


def _state(definition: Json, sidecar: Json) -> Iterator[Problem]:
    """Yield problems of the volume that holds the ledger: it is declared, writable, and no network file system."""
    mount = state_mount(sidecar) or {}
    path, name = mount.get("containerPath"), mount.get("sourceVolume")
    if mount.get("readOnly"):
        yield _wrong("mountPoints", f"has {path} with readOnly true: the ledger is written there. Remove readOnly.")
    volume = next((one for one in definition["volumes"] if one.get("name") == name), None)
    if volume is None:
        fault = f"has {path} on {name!r}, and volumes does not name it. Add it, or remove the mount."
        yield _wrong("mountPoints", fault)
    for kind in NETWORK_VOLUMES:
        if kind in (volume or {}):
            fault = f"has {kind}: a ledger on a network file system is refused. Use a volume of the task."
            yield Problem(setting=f"volumes.{name}", fault=fault, example='{"host": {}}')


def _listener(sidecar: Json) -> Iterator[Problem]:
    bind = variable(sidecar, "SIDECAR_API_BIND")
    try:
        if open_port(bind) is None and not any(isinstance(one, UnixSocket) for one in addresses(bind)):
            fault = (
                f"has SIDECAR_API_BIND {bind!r}, and networkMode is 'bridge': the product would not reach it over its"
                " link. Remove the variable, or use 'awsvpc'."
            )
            yield _wrong("environment", fault, ":8485")
    except ValueError as exc:
        yield _wrong("environment", f"has SIDECAR_API_BIND {bind!r}: {exc} Correct it.", ":8485")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


def _cycle(definition: Json) -> Iterator[Problem]:
    """Yield a cycle of containers that wait for one another, if there is one."""
    try:
        TopologicalSorter({one["name"]: _dependencies(one) for one in definition["containerDefinitions"]}).prepare()
    except CycleError as exc:
        chain = " → ".join(map(repr, reversed(exc.args[1])))
        fault = f"forms a cycle, {chain}: each waits for the next, and none would start. Remove one dependency."
        yield Problem(setting="dependsOn (or links)", fault=fault)


def _dependencies(container: Json) -> list[str]:
    named = [one["containerName"] for one in container.get("dependsOn", []) if "containerName" in one]
    return named + [link.partition(":")[0] for link in container.get("links", [])]
