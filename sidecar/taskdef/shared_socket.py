"""Give a task in the instance's own network (`host`) ports and a socket that no other task has.

Invariants:
- The probe listener takes a free port on loopback: the health check is a command of the sidecar's own container, and
  finds it in the state directory.
- The product's listener is a Unix socket in a volume of the task that the sidecar and the gated containers mount, and
  nothing else does: so its mode lets every user connect.
- A tmpfs of Docker's `local` driver has owner and mode from the start; an empty `host: {}` volume would be root's.
- A listener that the seller has set stays, and then no volume is added.

Sources: Amazon ECS API Reference, DockerVolumeConfiguration (EC2 alone); Docker's `local` volume driver; unix(7).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from sidecar.errors import Problem
from sidecar.settings.addresses import UnixSocket, addresses
from sidecar.taskdef.container import NAME, USER, variable
from sidecar.taskdef.schema import Json

VOLUME: Final = "entitlement-socket"
DIRECTORY: Final = "/var/run/entitlement-sidecar"
BIND: Final = f"unix:{DIRECTORY}/api.sock"
VARIABLES: Final[Mapping[str, str]] = {
    "SIDECAR_PROBE_BIND": "127.0.0.1:0",
    "SIDECAR_API_BIND": BIND,
    "SIDECAR_API_SOCKET_MODE": "0666",
}
UID, GID = USER.split(":")
TMPFS: Final[Json] = {
    "name": VOLUME,
    "dockerVolumeConfiguration": {
        "scope": "task",
        "driver": "local",
        "driverOpts": {"type": "tmpfs", "device": "tmpfs", "o": f"uid={UID},gid={GID},mode=0755"},
    },
}


def mount(read_only: bool) -> Json:
    """Return the mount of the socket's directory. Connecting needs no writable mount."""
    return {"sourceVolume": VOLUME, "containerPath": DIRECTORY, "readOnly": read_only}


def is_ours(sidecar: Json) -> bool:
    """Return whether the sidecar listens on the socket that is made here."""
    return variable(sidecar, "SIDECAR_API_BIND") == BIND


def sockets(bind: str) -> Sequence[UnixSocket]:
    """Return the Unix sockets of SIDECAR_API_BIND. Raises ValueError."""
    return [one for one in addresses(bind) if isinstance(one, UnixSocket)] if bind else []


def find_mismatches(container: Json) -> Iterator[Problem]:
    """Yield what leads a container of the task past the socket: to a port of the instance, or to an empty directory."""
    name, bind = container["name"], variable(container, "SIDECAR_API_BIND")
    if bind and bind != BIND:
        fault = (
            f"has SIDECAR_API_BIND {bind!r}, and the sidecar listens on {BIND}: in the instance's network that port may"
            f" be another task's. Remove it, or set SIDECAR_API_BIND in {NAME} too."
        )
        yield Problem(setting=f"{name}.environment", fault=fault, example=BIND)
    for one in container.get("mountPoints", []):
        path, volume = str(one.get("containerPath", "")).rstrip("/"), one.get("sourceVolume")
        if path == DIRECTORY and volume != VOLUME:
            fault = f"has the volume {volume!r} at {DIRECTORY}, where the sidecar's socket is. Move it."
            yield Problem(setting=f"{name}.mountPoints", fault=fault)


def find_problems(sidecar: Json) -> Iterator[Problem]:
    """Yield each socket that is in no volume: the product could not reach it, nor the sidecar make it."""
    bind = variable(sidecar, "SIDECAR_API_BIND")
    try:
        found = sockets(bind)
    except ValueError:
        return  # `rules` or the sidecar itself says what is wrong with it
    paths = [PurePosixPath(one.get("containerPath", "/")) for one in sidecar.get("mountPoints", [])]
    for one in found:
        if not any(PurePosixPath(one.path).is_relative_to(path) for path in paths):
            fault = (
                f"has SIDECAR_API_BIND {bind!r}, and no mount of the sidecar holds {one.path}: its file system is read"
                " only. Mount a volume there, in the product's container too."
            )
            yield Problem(setting=f"{NAME}.environment", fault=fault, example=BIND)
