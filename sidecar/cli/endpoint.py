"""Find where the sidecar of this container listens: from its settings, its Unix socket or its address file.

Invariants:
- A health check runs every few seconds in every task: this module imports next to nothing, and parses a settings file
  only where that file has the setting.
- Only an address of this machine or pod is asked, whatever the environment says: a gate elsewhere is not this one's.
- Where the product's listener is a Unix socket the gate is read there: on a node's own network a port may be another
  pod's, and a file in the pod's volume is not.
- An address file may be older than what listens there now: its instance goes with each request, and what answers as
  another one, or for another product, is not believed.
- Where the manifest says where a listener is, that alone is asked: no socket or file from outside leads elsewhere.
"""

from __future__ import annotations

import _socket as socket  # without the names of all constants, which `socket` makes enums of
import os
import time

from sidecar import address_file

TYPE_CHECKING = False  # of typing, a large import
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from socket import socket as Socket

MANIFEST = "/etc/entitlement-sidecar/product.yaml"
STATE_DIR = "/var/lib/entitlement-sidecar"
WILD = {"": ("127.0.0.1", "::1"), "::": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",)}
"""Every address → how it is reached from here. A pod with IPv6 alone has no 127.0.0.1 that listens."""
DEFAULTS = {"probe_bind": ":8484", "api_bind": "127.0.0.1:8485,[::1]:8485"}
UNIX = "unix:"
QUEUE_SECONDS = 0.01
"""Between two tries where the queue of a Unix socket is full."""
if TYPE_CHECKING:
    Place = tuple[str, int] | str
    """Host and port, or the path of a Unix socket."""


class Endpoint:
    """Where a listener is, and which sidecar is meant."""

    __slots__ = ("addresses", "instance", "product_code")

    def __init__(self, addresses: Sequence[Place], instance: str = "", product_code: str = "") -> None:
        """`addresses`: tried in turn; `instance`: what the address file calls it, empty where none was read."""
        self.addresses, self.instance, self.product_code = addresses, instance, product_code

    @property
    def shown(self) -> str:
        """The first address, as a message names it."""
        return shown(self.addresses[0])

    def headers(self) -> dict[str, str]:
        """Return what every request to it carries."""
        return {address_file.HEADER: self.instance} if self.instance else {}

    def check_status(self, status: int) -> None:
        """Raise OSError where the answer says that another sidecar was meant."""
        if status == address_file.OTHER_INSTANCE:
            raise OSError(self._other())

    def check_gate(self, status: int, found: Mapping[str, object]) -> None:
        """Raise OSError where an answer to `GET /entitled` is another sidecar's, or another product's."""
        self.check_status(status)
        if self.product_code and found.get("product_code") != self.product_code:
            raise OSError(self._other())

    def _other(self) -> str:
        return f"another sidecar answers at {self.shown}: the address file is of an earlier start"


def gate(manifest: str = MANIFEST) -> Endpoint:
    """Return where the gate is read: the product's Unix socket where it has one, else the probe listener.

    Raises SettingsError where a setting is wrong; OSError or ValueError where the address file cannot be read.
    """
    fixed = _is_sealed_port("probe", manifest) or _in_file(manifest, "address_file")
    if fixed and not _in_file(manifest, "api_bind"):
        return probe(manifest)  # a socket that outside names is not the one the manifest means
    return _on_sockets(manifest) or probe(manifest)


def probe(manifest: str = MANIFEST) -> Endpoint:
    """Return where the probe listener is. Raises what `gate` raises."""
    return _by_file("probe", manifest) or Endpoint(listener_addresses("probe_bind", manifest))


def api(manifest: str = MANIFEST) -> Endpoint:
    """Return where the product's listener is. Raises what `gate` raises."""
    found = _on_sockets(manifest) or _by_file("api", manifest)
    return found or Endpoint(listener_addresses("api_bind", manifest))


def _on_sockets(manifest: str) -> Endpoint | None:
    sockets = [one for one in listener_addresses("api_bind", manifest) if isinstance(one, str)]
    return Endpoint(sockets) if sockets else None


def _by_file(listener: str, manifest: str) -> Endpoint | None:
    """Return what the address file says, or None where there is none to read."""
    if _is_sealed_port(listener, manifest) and not _in_file(manifest, "address_file"):
        return None
    path = setting("address_file", manifest)
    if not path:
        listed = listener_addresses("probe_bind", manifest) + listener_addresses("api_bind", manifest)
        if all(isinstance(one, str) or one[1] for one in listed):
            return None
        path = address_file.default_path(setting("state_dir", manifest) or STATE_DIR, os.environ)
    try:
        found = address_file.read(path)
    except OSError as exc:
        raise OSError(
            f"{path} cannot be read: {exc.strerror or exc}. The sidecar writes it once it listens; set"
            " SIDECAR_ADDRESS_FILE to the same file in both containers, in a volume that both mount"
        ) from exc
    return Endpoint([_place(found[listener])], found["instance"], found["product_code"])


def _is_sealed_port(listener: str, manifest: str) -> bool:
    """Return whether the manifest alone says where the listener is. A port 0 is not known without a file."""
    name = f"{listener}_bind"
    if not _in_file(manifest, name):
        return False
    return all(isinstance(one, str) or one[1] for one in listener_addresses(name, manifest))


def _place(url: str) -> Place:
    if url.startswith(UNIX):
        return url.removeprefix(UNIX)
    host, _, port = url.removeprefix("http://").rpartition(":")
    return host.strip("[]"), int(port)


def listener_addresses(name: str, manifest: str = MANIFEST) -> list[Place]:
    """Return each address of `probe_bind` or `api_bind`, for a client in the same container or pod.

    Raises SettingsError where the address, or the file that has it, is wrong.
    """
    text = setting(name, manifest) or DEFAULTS[name]
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
            found = _tcp_connection(*address, left)
        except OSError as exc:
            first = first or exc
            continue
        if is_here(found.getpeername()[0], found.getsockname()[0]):
            return found
        found.close()
        first = first or OSError(f"{shown(address)} is not an address of this machine or pod")
    raise first or OSError("there is no address to ask")


def connect_socket(addresses: Sequence[Place], timeout: float) -> Socket:
    """Return such a connection as a socket of `socket`, as `http.client` wants it."""
    from socket import socket as Socket

    found = Socket(fileno=connect(addresses, timeout).detach())
    found.settimeout(timeout)
    return found


def _tcp_connection(host: str, port: int, timeout: float) -> socket.socket:
    """Return a connection to the first address of this host that takes one. Raises OSError of the last one."""
    failure = OSError(f"{host} has no address")
    name: str | bytes = host.encode() if host.isascii() else host  # a str goes through the codec of IDNA, an import
    for family, kind, protocol, _, address in socket.getaddrinfo(name, port, 0, socket.SOCK_STREAM):
        found = socket.socket(family, kind, protocol)
        try:
            found.settimeout(timeout)
            found.connect(address)
        except OSError as exc:
            found.close()
            failure = exc
        else:
            return found
    raise failure


def _unix_connection(path: str, timeout: float) -> socket.socket:
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        found.settimeout(timeout)
        _connect(found, path, time.monotonic() + timeout)
    except PermissionError as exc:
        found.close()
        need = "connecting needs write permission: SIDECAR_API_SOCKET_MODE and SIDECAR_API_SOCKET_GROUP give it"
        raise OSError(f"user {os.geteuid()} may not connect to {path}; {need}") from exc
    except OSError:
        found.close()
        raise
    return found


def _connect(sock: socket.socket, path: str, until: float) -> None:
    """Connect. Where too many connections wait to be accepted, a Unix socket refuses at once (EAGAIN), unlike TCP."""
    while True:
        try:
            return sock.connect(path)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise
        time.sleep(QUEUE_SECONDS)


def is_here(peer: str, own: str) -> bool:
    """Return whether a connection from `own` to `peer` stays on this machine: both ends have one address then."""
    return peer == own or peer.startswith("127.")


def setting(name: str, manifest: str) -> str:
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
