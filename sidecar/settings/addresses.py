"""Parse where a listener listens, and the names that clients may use for it: text in, addresses out.

Invariants:
- A parser raises `ValueError` with a fault that a person can act on; it names the value.
- A Unix socket has an absolute path that the kernel takes whole; a path that is longer would not be bound.

Sources: unix(7), `sun_path` (108 bytes, the last one zero).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from sidecar.quick_dataclasses import dataclass
from sidecar.settings.parsers import text

HOST_NAME: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?\.?")
"""A DNS name, with the underscores that Docker and Compose allow."""
UNIX: Final = "unix:"
SOCKET_PATH_BYTES_MAX: Final = 107


@dataclass(frozen=True, kw_only=True, order=True)
class Address:
    """A TCP address to listen on. `host` `::` is every address, IPv6 and IPv4."""

    host: str
    port: int
    """0: any free one."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True, order=True)
class UnixSocket:
    """A Unix socket to listen on."""

    path: Path

    def __str__(self) -> str:
        return f"{UNIX}{self.path}"


def tcp_addresses(value: object) -> tuple[Address, ...]:
    """Return one or more `HOST:PORT`, `[V6]:PORT` or `:PORT` (every address), comma-separated."""
    found = []
    for one in addresses(value):
        if isinstance(one, UnixSocket):
            raise ValueError(
                f"{one!s} is a Unix socket; kubelet and load balancers probe TCP alone. The product's listener"
                " (SIDECAR_API_BIND) may be one, and has the probe routes too."
            )
        found.append(one)
    return tuple(found)


def addresses(value: object) -> tuple[Address | UnixSocket, ...]:
    """Return one or more addresses as in `tcp_addresses`, or `unix:/PATH`, comma-separated."""
    parts = [part.strip() for part in text(value).split(",")]
    found = tuple(unix_socket(part) if part.startswith(UNIX) else _address(part) for part in parts)
    if len(set(found)) != len(found):
        raise ValueError(f"{text(value)!r} names an address twice.")
    return found


def unix_socket(written: str) -> UnixSocket:
    """Return the socket of `unix:/PATH`."""
    path = written.removeprefix(UNIX)
    if not path.startswith("/") or path.startswith("//") or path.endswith("/") or not path.isprintable():
        raise ValueError(f"{written!r} is not unix: and the absolute path of a file, as in unix:/run/gate/api.sock.")
    size = len(os.fsencode(path))
    if size > SOCKET_PATH_BYTES_MAX:
        raise ValueError(
            f"{written!r} has a path of {size} bytes; a Unix socket's has at most {SOCKET_PATH_BYTES_MAX}. Mount the"
            " volume at a shorter path."
        )
    return UnixSocket(path=Path(path))


def hosts(value: object) -> tuple[str, ...]:
    """Return one or more host names or addresses, comma-separated, in lower case."""
    return tuple(dict.fromkeys(_host(part.strip()) for part in text(value).split(",")))


def _host(written: str) -> str:
    bare = written[1:-1] if written.startswith("[") and written.endswith("]") else written
    fine = HOST_NAME.fullmatch(written) is not None
    if ":" in bare:
        import socket  # only here: the children read settings too, and need none

        try:
            fine = bool(socket.inet_pton(socket.AF_INET6, bare))
        except (OSError, ValueError):
            fine = False
    if not fine:
        raise ValueError(f"{written!r} is not a host name or address alone, without scheme, port and wildcard.")
    return bare.lower().removesuffix(".")


def _address(written: str) -> Address:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([^\[\]:\s]*)):([0-9]{1,5})", written)
    if not match or int(match[3]) > 65535:
        raise ValueError(f"{written!r} is not HOST:PORT, [IPV6]:PORT or :PORT with a port up to 65535.")
    host = match[1] or match[2] or "::"
    return Address(host="127.0.0.1" if host == "localhost" else host, port=int(match[3]))
