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

TIMEOUT_SECONDS = 0.9
"""The kubelet's default patience is one second."""
BYTES_MAX = 65_536
MANIFEST = "/etc/entitlement-sidecar/product.yaml"
WILD = {"": "127.0.0.1", "::": "127.0.0.1", "0.0.0.0": "127.0.0.1"}
DEFAULTS = {"probe_bind": ":8484", "api_bind": "127.0.0.1:8485"}


def where(name: str, manifest: str = MANIFEST) -> tuple[str, int]:
    """Host and port of `probe_bind` or `api_bind`, for a client in the same container or pod.

    Raises SettingsError where a file has to be read and is wrong, ValueError for a malformed address.
    """
    files = [path for path in (manifest, os.environ.get("SIDECAR_CONFIG", "")) if path and _names(path, name)]
    if files:
        from pathlib import Path

        from sidecar.settings import Settings

        addresses = getattr(Settings.load(os.environ, {}, Path(manifest)), name)
        return WILD.get(addresses[0].host, addresses[0].host), addresses[0].port
    words = os.environ.get(f"SIDECAR_{name.upper()}", "").strip() or DEFAULTS[name]
    host, _, port = words.split(",")[0].strip().rpartition(":")
    host = host.strip("[]")
    return WILD.get(host, host), int(port)


def _names(path: str, name: str) -> bool:
    try:
        with open(path, "rb") as file:
            return name.encode() in file.read(1 << 20)
    except FileNotFoundError:
        return False


def ask(address: tuple[str, int], request: str, timeout: float = TIMEOUT_SECONDS) -> tuple[int, dict[str, object]]:
    """Status and JSON body of one request to a sidecar nearby. Raises OSError or ValueError."""
    with socket.create_connection(address, timeout) as sock:
        sock.sendall(f"{request} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while len(answer) < BYTES_MAX and (chunk := sock.recv(8192)):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1."):
        raise ValueError("what listens there does not speak HTTP")
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("what listens there is not the sidecar")
    return int(words[1]), found


def line(found: dict[str, object]) -> str:
    """Status, reason and hint in one line; what a foreign server says cannot break it."""
    words = f"{found.get('status')} ({found.get('reason')}): {found.get('hint')}"
    return " ".join(words.split())


def healthcheck(manifest: str = MANIFEST) -> tuple[bool, str]:
    """Whether the gate is open, and the line that says why."""
    try:
        address = where("probe_bind", manifest)
        status, found = ask(address, "GET /entitled")
    except (OSError, ValueError) as exc:
        return False, f"unreachable: no sidecar answers ({exc}). Is `entitlement-sidecar run` up?"
    except Exception as exc:  # settings that cannot be read: said, and the gate counts as shut
        return False, " ".join(str(exc).split())
    return status == 200 and found.get("entitled") is True, line(found)
