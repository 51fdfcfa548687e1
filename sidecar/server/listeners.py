"""Bind the sockets of both listeners before anything is started, in the order probe, product.

Invariants:
- `::` is every address, IPv6 and IPv4, on one socket; where the machine has no IPv6 it is every IPv4 address. A default
  address whose family is missing is left out without an error; one that is set is an error.
- Port 0 is any free one; a sidecar that restarts tries the port it had.
- A port, or a Unix socket, that is taken is the operator's to change: it is a settings error, and nothing is started.
- What makes Unix sockets is imported only where one is set.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from sidecar.api.reply import API, PROBE
from sidecar.errors import Problem, SettingsError
from sidecar.quick_dataclasses import dataclass
from sidecar.settings import Address, Settings, UnixSocket

if TYPE_CHECKING:
    from sidecar.server.unix_socket import SocketFile

BACKLOG: Final = 1024
SETTINGS: Final[Mapping[str, str]] = {PROBE: "SIDECAR_PROBE_BIND", API: "SIDECAR_API_BIND"}
NO_PORTS: Final[Mapping[str, int]] = {}
NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


@dataclass(frozen=True, kw_only=True)
class Listening:
    """A bound, listening socket and which of the two listeners it belongs to."""

    name: str
    sock: socket.socket
    file: SocketFile | None = None
    """Of a Unix socket."""

    @property
    def address(self) -> Address | UnixSocket:
        """Where it listens; a port of 0 was replaced by the one that was free."""
        if self.file:
            return UnixSocket(path=self.file.path)
        host, port = self.sock.getsockname()[:2]
        return Address(host=host, port=port)


def listen(
    settings: Settings, backlog: int | None = BACKLOG, earlier: Mapping[str, int] = NO_PORTS
) -> tuple[Listening, ...]:
    """Bind and return every socket. Raises SettingsError naming each address that cannot be bound.

    `earlier`: listener → the port it had, which is tried first where any free one is wanted.

    Without a backlog they are bound alone, which keeps no other process from listening there; of a Unix socket it is
    checked alone whether it could be made.
    """
    problems: list[Problem] = []
    sockets = [one for one in settings.api_bind if isinstance(one, UnixSocket)]
    ports = [one for one in settings.api_bind if isinstance(one, Address)]
    found = [
        *_named(PROBE, _first_tried(settings.probe_bind, earlier.get(PROBE)), True, problems, backlog),
        *(_unix_sockets(sockets, settings, problems, backlog) if sockets else ()),
        *_named(API, _first_tried(ports, earlier.get(API)), settings.api_bind_given, problems, backlog),
    ]
    for name, setting in SETTINGS.items():
        if not problems and not any(one.name == name for one in found) and not (name == API and sockets):
            problems.append(Problem(setting=setting, fault="names no address this machine has."))
    if problems:
        close(found)
        raise SettingsError(problems)
    return tuple(found)


def close(listening: Sequence[Listening]) -> None:
    """Close these sockets, and remove the files of those that have one."""
    remove_files(listening)
    for one in listening:
        one.sock.close()


def remove_files(listening: Sequence[Listening]) -> None:
    """Remove the files of the sockets that have one, while they are listened on."""
    for one in listening:
        if one.file:
            from sidecar.server import unix_socket

            unix_socket.remove(one.file)


def _unix_sockets(
    sockets: Sequence[UnixSocket], settings: Settings, problems: list[Problem], backlog: int | None
) -> list[Listening]:
    from sidecar.server import unix_socket

    access = unix_socket.Access(settings.api_socket_mode, settings.api_socket_group)
    found = []
    for one in sockets:
        try:
            if backlog is None:
                unix_socket.check(one.path, access)
            else:
                sock, file = unix_socket.listen(one.path, access, backlog)
                found.append(Listening(name=API, sock=sock, file=file))
        except unix_socket.SocketFault as exc:
            problems.append(Problem(setting="SIDECAR_API_BIND", fault=f"cannot listen on {one}: {exc}."))
    return found


def _first_tried(addresses: Sequence[Address], port: int | None) -> list[Sequence[Address]]:
    """Return for each address those to try in turn. The first that may have any port gets the earlier one first."""
    found: list[Sequence[Address]] = [(one,) for one in addresses]
    for place, one in enumerate(addresses):
        if one.port == 0 and port:
            found[place] = (Address(host=one.host, port=port), one)
            break
    return found


def _named(
    name: str, addresses: Sequence[Sequence[Address]], given: bool, problems: list[Problem], backlog: int | None
) -> list[Listening]:
    """Return a socket for each group of addresses, at the first of the group that is free."""
    found = []
    for group in addresses:
        for address in group:
            try:
                found.append(Listening(name=name, sock=_bind(address, backlog)))
                break
            except (OSError, UnicodeError) as exc:
                last = address is group[-1]
                if not last or (getattr(exc, "errno", None) in NO_FAMILY and not given):
                    continue
                fault = f"cannot listen on {address}: {getattr(exc, 'strerror', None) or exc}. Give a free address."
                problems.append(Problem(setting=SETTINGS[name], fault=fault))
    return found


def _bind(address: Address, backlog: int | None) -> socket.socket:
    if address.host == "::":
        try:
            return _listening(socket.AF_INET6, ("::", address.port), backlog, both=True)
        except OSError as exc:
            if exc.errno not in NO_FAMILY:
                raise
            return _listening(socket.AF_INET, ("0.0.0.0", address.port), backlog)
    family, _, _, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    return _listening(family, where, backlog)


def _listening(family: int, where: tuple[object, ...], backlog: int | None, both: bool = False) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if both else 1)
        sock.bind(where)
        if backlog is not None:
            sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    return sock
