"""Ask the sidecar of this container over HTTP; `healthcheck` reads the gate once.

Invariants:
- A health check runs every few seconds in every task: this module imports next to nothing, and parses a settings file
  only where that file moves the listener.
- The result is one line: status, reason, hint. The kubelet and ECS show it to the operator.
- Outside Kubernetes overdue metering is unhealthy where `SIDECAR_ON_METERING_OVERDUE=not_ready` says so; under `shut`
  the gate itself is.
- A response that does not come within a second is a shut gate.
- Only an address of this machine or pod is asked, whatever the environment says: a gate elsewhere is not this one's.
- Where the product's listener is a Unix socket the gate is read there: on a node's own network a port may be another
  pod's, and a file in the pod's volume is not.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import TYPE_CHECKING

from sidecar.printable import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMEOUT_SECONDS = 0.9
"""The kubelet's default timeout is one second."""
BYTES_MAX = 65_536
MANIFEST = "/etc/entitlement-sidecar/product.yaml"
OVERDUE = "metering_overdue: no usage could be reported for too long; the log's `metering.overdue` says what to do"
"""Under `SIDECAR_ON_METERING_OVERDUE=not_ready`. ECS has one health check, so it is this one that is not ready."""
WILD = {"": ("127.0.0.1", "::1"), "::": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",)}
"""Every address → how it is reached from here. A pod with IPv6 alone has no 127.0.0.1 that listens."""
DEFAULTS = {"probe_bind": ":8484", "api_bind": "127.0.0.1:8485,[::1]:8485"}
UNIX = "unix:"
if TYPE_CHECKING:
    Place = tuple[str, int] | str
    """Host and port, or the path of a Unix socket."""


def gate_addresses(manifest: str = MANIFEST) -> list[Place]:
    """Return where the gate is read: the product's Unix socket where it has one, else the probe listener.

    Raises what `listener_addresses` raises.
    """
    sockets: list[Place] = [one for one in listener_addresses("api_bind", manifest) if isinstance(one, str)]
    return sockets or listener_addresses("probe_bind", manifest)


def listener_addresses(name: str, manifest: str = MANIFEST) -> list[Place]:
    """Return each address of `probe_bind` or `api_bind`, for a client in the same container or pod.

    Raises SettingsError where the address, or the file that has it, is wrong.
    """
    text = _setting(name, manifest) or DEFAULTS[name]
    found: list[Place] = []
    for one in text.split(","):
        if one.strip().startswith(UNIX):
            found.append(one.strip().removeprefix(UNIX))
            continue
        host, _, port = one.strip().rpartition(":")
        host = host.strip("[]")
        if not port.isdigit():
            from sidecar.errors import Problem, SettingsError

            fault = f"{one.strip()!r} has no port."
            raise SettingsError([Problem(setting=f"SIDECAR_{name.upper()}", fault=fault, example=DEFAULTS[name])])
        found += [(known, int(port)) for known in WILD.get(host, (host,))]
    return found


def shown(address: Place) -> str:
    """Return an address as a URL has it."""
    if isinstance(address, str):
        return f"{UNIX}{address}"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def connect(addresses: Sequence[Place], timeout: float) -> socket.socket:
    """Return a connection to the first address of this machine or pod that takes one.

    Raises the OSError of the first address where none does.
    """
    deadline = time.monotonic() + timeout
    first: OSError | None = None
    for address in addresses:
        left = max(0.001, deadline - time.monotonic())
        try:
            if isinstance(address, str):
                return _unix_connection(address, left)
            found = socket.create_connection(address, left)
        except OSError as exc:
            first = first or exc
            continue
        if is_here(found.getpeername()[0], found.getsockname()[0]):
            return found
        found.close()
        first = first or OSError(f"{shown(address)} is not an address of this machine or pod")
    raise first or OSError("there is no address to ask")


def _unix_connection(path: str, timeout: float) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.settimeout(timeout)
        found.connect(path)
    except PermissionError as exc:
        found.close()
        need = "connecting needs write permission: SIDECAR_API_SOCKET_MODE and SIDECAR_API_SOCKET_GROUP give it"
        raise OSError(f"user {os.geteuid()} may not connect to {path}; {need}") from exc
    except OSError:
        found.close()
        raise
    return found


def is_here(peer: str, own: str) -> bool:
    """Return whether a connection from `own` to `peer` stays on this machine: both ends have one address then."""
    return peer == own or peer.startswith("127.")


def authorization(manifest: str = MANIFEST) -> dict[str, str]:
    """Return the header with the token of the product's listener; nothing where no token is set.

    Raises SettingsError where the file that is named has none.
    """
    path = _setting("api_token_file", manifest)
    if not path:
        return {}
    from pathlib import Path

    from sidecar.errors import Problem, SettingsError
    from sidecar.settings import api_token

    try:
        return {"Authorization": f"Bearer {api_token.read(Path(path))}"}
    except ValueError as exc:
        raise SettingsError([Problem(setting="SIDECAR_API_TOKEN_FILE", fault=str(exc))]) from exc


def _setting(name: str, manifest: str) -> str:
    """Return a setting as it is written, from the first source that has it; empty where none has."""
    return (
        _in_file(manifest, name)
        or os.environ.get(f"SIDECAR_{name.upper()}", "").strip()
        or _in_file(os.environ.get("SIDECAR_CONFIG", ""), name)
    )


def _in_file(path: str, name: str) -> str:
    """Return the value of `name` in a settings file, which is parsed only where it contains the name."""
    if not path:
        return ""
    try:
        with open(path, "rb") as file:
            if name.encode() not in file.read(1 << 20):
                return ""
    except FileNotFoundError:
        return ""
    except OSError:
        pass  # `yaml_file.read` reports what is wrong with it
    from pathlib import Path

    from sidecar.settings import yaml_file

    return str(yaml_file.read(Path(path)).get(name, "")).strip()


def get_json(
    addresses: Sequence[Place],
    request: str,
    timeout: float = TIMEOUT_SECONDS,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, object]]:
    """Return status and JSON body of one request to the first address that can be reached.

    Raises OSError or ValueError.
    """
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    deadline = time.monotonic() + timeout
    with connect(addresses, timeout) as sock:
        sock.sendall(f"{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n".encode())
        received = b""
        while len(received) < BYTES_MAX:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            chunk = sock.recv(8192)
            if not chunk:
                break
            received += chunk
    head, _, body = received.partition(b"\r\n\r\n")
    status_line = head.split(b" ", 2)
    if len(status_line) < 2 or not status_line[0].startswith(b"HTTP/1."):
        raise ValueError("what listens there does not speak HTTP")
    try:
        found = json.loads(body)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("what listens there is not the sidecar")
    return int(status_line[1]), found


def format_status(found: dict[str, object]) -> str:
    """Return status, reason and hint in one line, whatever the server sent."""
    line = f"{found.get('status')} ({found.get('reason')}): {found.get('hint')}"
    return one_line(line)


def healthcheck(manifest: str = MANIFEST) -> tuple[bool, str]:
    """Return whether the gate is open, and the line that says why."""
    try:
        status, found = get_json(gate_addresses(manifest), "GET /entitled")
        overdue = found.get("metering_overdue_since")
        if status == 200 and overdue and _not_ready_if_overdue(manifest):
            return False, f"{OVERDUE} (since {overdue})"
    except (OSError, ValueError) as exc:
        return False, f"unreachable: no sidecar answers ({one_line(str(exc))}). Is `entitlement-sidecar run` up?"
    except Exception as exc:  # settings that cannot be read: the line says so, and the gate counts as shut
        return False, one_line(str(exc))
    return status == 200 and found.get("entitled") is True, format_status(found)


def _not_ready_if_overdue(manifest: str) -> bool:
    """Return whether overdue metering is unhealthy here. In Kubernetes `/readyz` says it, and this may be a startup
    probe, which would end a container that has only AWS to wait for.
    """
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        return False
    return _setting("on_metering_overdue", manifest) == "not_ready"


def print_healthcheck(manifest: str = MANIFEST) -> int:
    """Print the line of `healthcheck`. Returns 0 where the gate is open, else 1."""
    is_open, line = healthcheck(manifest)
    sys.stdout.write(line + "\n")
    return 0 if is_open else 1
