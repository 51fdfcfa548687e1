"""What does the gate show right now? One look at `/entitled`, as cheap as it can be.

A health check runs every few seconds in every task, so this module imports next to nothing, and reads
a settings file only where that file moves the listener.

Rules kept here:
- One line: status, reason, hint. The kubelet and ECS show it to the operator.
- An answer that does not come within a second is a shut gate.
"""

from __future__ import annotations

import json
import os
import socket
import time

TIMEOUT_SECONDS = 0.9
"""The kubelet's default patience is one second."""
BYTES_MAX = 65_536
MANIFEST = "/etc/entitlement-sidecar/product.yaml"
WILD = {"": "127.0.0.1", "::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}
DEFAULTS = {"probe_bind": ":8484", "api_bind": "127.0.0.1:8485"}


def listener_address(name: str, manifest: str = MANIFEST) -> tuple[str, int]:
    """Host and port of `probe_bind` or `api_bind`, for a client in the same container or pod.

    Raises SettingsError where the address, or a file that says it, is wrong.
    """
    words = (
        _in_file(manifest, name)
        or os.environ.get(f"SIDECAR_{name.upper()}", "").strip()
        or _in_file(os.environ.get("SIDECAR_CONFIG", ""), name)
        or DEFAULTS[name]
    )
    host, _, port = words.split(",")[0].strip().rpartition(":")
    host = host.strip("[]")
    if not port.isdigit():
        from sidecar.errors import Problem, SettingsError

        fault = f"{words!r} has no port."
        raise SettingsError([Problem(setting=f"SIDECAR_{name.upper()}", fault=fault, example=DEFAULTS[name])])
    return WILD.get(host, host), int(port)


def _in_file(path: str, name: str) -> str:
    """Return what a settings file says of `name`; parsed only where the name stands in it."""
    if not path:
        return ""
    try:
        with open(path, "rb") as file:
            if name.encode() not in file.read(1 << 20):
                return ""
    except FileNotFoundError:
        return ""
    except OSError:
        pass  # reading it as a document says what is wrong with it
    from pathlib import Path

    from sidecar.settings import yaml_file

    return str(yaml_file.read(Path(path)).get(name, "")).strip()


def get_json(address: tuple[str, int], request: str, timeout: float = TIMEOUT_SECONDS) -> tuple[int, dict[str, object]]:
    """Status and JSON body of one request to a sidecar nearby. Raises OSError or ValueError."""
    deadline = time.monotonic() + timeout
    with socket.create_connection(address, timeout) as sock:
        sock.sendall(f"{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while len(answer) < BYTES_MAX:
            sock.settimeout(max(0.001, deadline - time.monotonic()))
            chunk = sock.recv(8192)
            if not chunk:
                break
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1."):
        raise ValueError("what listens there does not speak HTTP")
    try:
        found = json.loads(body)
    except RecursionError:
        found = None
    if not isinstance(found, dict):
        raise ValueError("what listens there is not the sidecar")
    return int(words[1]), found


def format_status(found: dict[str, object]) -> str:
    """Status, reason and hint in one line; what a foreign server says cannot break it."""
    words = f"{found.get('status')} ({found.get('reason')}): {found.get('hint')}"
    return " ".join(words.split())


def healthcheck(manifest: str = MANIFEST) -> tuple[bool, str]:
    """Return whether the gate is open, and the line that says why."""
    try:
        address = listener_address("probe_bind", manifest)
        status, found = get_json(address, "GET /entitled")
    except (OSError, ValueError) as exc:
        return False, f"unreachable: no sidecar answers ({exc}). Is `entitlement-sidecar run` up?"
    except Exception as exc:  # settings that cannot be read: said, and the gate counts as shut
        return False, " ".join(str(exc).split())
    return status == 200 and found.get("entitled") is True, format_status(found)
