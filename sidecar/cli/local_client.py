"""Ask the sidecar of this container over HTTP; `healthcheck` reads the gate once.

Invariants:
- A health check runs every few seconds in every task: this module imports next to nothing, and parses a settings file
  only where that file moves the listener.
- The result is one line: status, reason, hint. The kubelet and ECS show it to the operator.
- Outside Kubernetes overdue metering is unhealthy where `SIDECAR_ON_METERING_OVERDUE=not_ready` says so; under `shut`
  the gate itself is.
- A response that does not come within a second is a shut gate.
- The sidecar that answers is the one that was meant (`endpoint`), or its answer counts for nothing.
"""

from __future__ import annotations

import os
import sys
import time

from sidecar import quick_json
from sidecar.cli import endpoint
from sidecar.printable import one_line

TYPE_CHECKING = False  # of typing, a large import
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TIMEOUT_SECONDS = 0.9
"""The kubelet's default timeout is one second."""
BYTES_MAX = 65_536
OVERDUE = "metering_overdue: no usage could be reported for too long; the log's `metering.overdue` says what to do"
"""Under `SIDECAR_ON_METERING_OVERDUE=not_ready`. ECS has one health check, so it is this one that is not ready."""


def authorization(manifest: str = endpoint.MANIFEST) -> dict[str, str]:
    """Return the header with the token of the product's listener; nothing where no token is set.

    Raises SettingsError where the file that is named has none.
    """
    path = endpoint.setting("api_token_file", manifest)
    if not path:
        return {}
    from pathlib import Path

    from sidecar.errors import Problem, SettingsError
    from sidecar.settings import api_token

    try:
        return {"Authorization": f"Bearer {api_token.read(Path(path))}"}
    except ValueError as exc:
        raise SettingsError([Problem(setting="SIDECAR_API_TOKEN_FILE", fault=str(exc))]) from exc


def get_json(
    addresses: Sequence[endpoint.Place],
    request: str,
    timeout: float = TIMEOUT_SECONDS,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, dict[str, object]]:
    """Return status and JSON body of one request to the first address that can be reached.

    Raises OSError or ValueError.
    """
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    deadline = time.monotonic() + timeout
    sock = endpoint.connect(addresses, timeout)
    try:
        sock.sendall(f"{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{lines}\r\n".encode())
        received = b""
        while len(received) < BYTES_MAX:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            chunk = sock.recv(8192)
            if not chunk:
                break
            received += chunk
    finally:
        sock.close()
    head, _, body = received.partition(b"\r\n\r\n")
    status_line = head.split(b" ", 2)
    if len(status_line) < 2 or not status_line[0].startswith(b"HTTP/1."):
        raise ValueError("what listens there does not speak HTTP")
    try:
        found = quick_json.loads(body)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("what listens there is not the sidecar")
    return int(status_line[1]), found


def read_gate(where: endpoint.Endpoint, timeout: float = TIMEOUT_SECONDS) -> tuple[int, dict[str, object]]:
    """Return status and body of `/entitled`. Raises OSError or ValueError, also where another sidecar answers."""
    status, found = get_json(where.addresses, "GET /entitled", timeout, where.headers())
    where.check_gate(status, found)
    return status, found


def format_status(found: dict[str, object]) -> str:
    """Return status, reason and hint in one line, whatever the server sent."""
    line = f"{found.get('status')} ({found.get('reason')}): {found.get('hint')}"
    return one_line(line)


def healthcheck(manifest: str = endpoint.MANIFEST) -> tuple[bool, str]:
    """Return whether the gate is open, and the line that says why."""
    try:
        status, found = read_gate(endpoint.gate(manifest))
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
    return endpoint.setting("on_metering_overdue", manifest) == "not_ready"


def print_healthcheck(manifest: str = endpoint.MANIFEST) -> int:
    """Print the line of `healthcheck`. Returns 0 where the gate is open, else 1."""
    is_open, line = healthcheck(manifest)
    sys.stdout.write(line + "\n")
    return 0 if is_open else 1
