"""Look up the name of another machine and connect to it, within bounded time, and keep what came of it.

Invariants:
- Each name is looked up and connected to once: what did not answer is not waited for again by the next check.
- Addresses are tried in the order in which the SDK tries them.
- What a name server, a firewall or another machine does is a value, not an exception.

Sources: getaddrinfo(3), connect(2).
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Final, TypeVar

from sidecar.printable import one_line
from sidecar.quick_dataclasses import dataclass, field

T = TypeVar("T")
STEP_SECONDS: Final = 3.0
"""For a name, for one address, for one answer. What takes longer than that is no path to bill over."""
ADDRESSES_MAX: Final = 3
"""Addresses that are tried of a name: with more, a firewall that drops everything would cost too long."""
OPENSSL: Final[Mapping[str, str]] = {
    "WRONG_VERSION_NUMBER": "what answers does not speak TLS",
    "RECORD_LAYER_FAILURE": "what answers does not speak TLS",
    "UNEXPECTED_EOF_WHILE_READING": "the connection is closed during the handshake",
}
"""OpenSSL's reason → what it means here; the others say it themselves."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A name or address, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return shown(self.host, self.port)


@dataclass(frozen=True, kw_only=True)
class Lookup:
    """What a name server said."""

    addresses: tuple[str, ...] = ()
    """In the order in which they are tried."""
    seconds: float = 0.0
    fault: str = ""
    """Why there is no address."""
    silent: bool = False
    """No name server answered, or none in time; else the name does not exist."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of connecting."""

    address: str = ""
    """The address that took the connection; empty where none did."""
    seconds: float = 0.0
    """Until that address took it."""
    faults: tuple[str, ...] = ()
    """Of each address that was tried without success, why."""
    refused: bool = False
    """Whether the last one refused, rather than not answering at all."""


@dataclass
class Network:
    """The lookups and connections of one diagnosis."""

    seconds: float = STEP_SECONDS
    lookups: dict[str, Lookup] = field(default_factory=dict)
    """What is known of a name already."""
    _attempts: dict[Peer, Attempt] = field(default_factory=dict)

    def lookup(self, host: str) -> Lookup:
        """Return the addresses of a name."""
        if host not in self.lookups:
            self.lookups[host] = _lookup(host, self.seconds)
        return self.lookups[host]

    def attempt(self, peer: Peer) -> Attempt:
        """Return what came of connecting to the addresses of a name, one after the other."""
        if peer not in self._attempts:
            self._attempts[peer] = _attempt(self.lookup(peer.host).addresses, peer.port, self.seconds)
        return self._attempts[peer]

    def open(self, peer: Peer) -> socket.socket:
        """Return a connection to the address that took one. Raises OSError."""
        found = self.attempt(peer)
        if not found.address:
            raise OSError(f"{peer} was not reached")
        return socket.create_connection((found.address, peer.port), self.seconds)


def reason_of(exc: OSError, seconds: float) -> str:
    """Return why a connection failed, in one line; `seconds`: how long an answer was waited for."""
    if isinstance(exc, TimeoutError):
        return f"no answer within {seconds:g} s"
    reason = getattr(exc, "reason", None)  # OpenSSL's
    if isinstance(reason, str):
        return OPENSSL.get(reason, one_line(reason))
    return one_line(exc.strerror or str(exc) or type(exc).__name__)


def is_private(address: str) -> bool:
    """Return whether an address is inside a network, as a VPC endpoint's is; a loopback address is not meant."""
    found = ip_address(address.partition("%")[0])
    return found.is_private and not found.is_loopback


def _lookup(host: str, seconds: float) -> Lookup:
    begun = time.monotonic()
    try:
        rows = within(seconds, lambda: socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
    except TimeoutError:
        return Lookup(fault=f"no name server answered within {seconds:g} s", silent=True)
    except socket.gaierror as exc:
        silent = exc.errno in (socket.EAI_AGAIN, socket.EAI_FAIL, socket.EAI_SYSTEM)
        return Lookup(fault=exc.strerror or "it cannot be looked up", silent=silent)
    except (OSError, UnicodeError) as exc:
        return Lookup(fault=f"it cannot be looked up ({type(exc).__name__})")
    addresses = tuple(dict.fromkeys(str(row[4][0]) for row in rows))
    return Lookup(addresses=addresses, seconds=time.monotonic() - begun)


def _attempt(addresses: tuple[str, ...], port: int, seconds: float) -> Attempt:
    faults: list[str] = []
    refused = False
    for address in addresses[:ADDRESSES_MAX]:
        begun = time.monotonic()
        try:
            socket.create_connection((address, port), seconds).close()
        except OSError as exc:
            refused = isinstance(exc, ConnectionRefusedError)
            faults.append(f"{shown(address, port)}: {reason_of(exc, seconds)}")
            continue
        return Attempt(address=address, seconds=time.monotonic() - begun, faults=tuple(faults))
    return Attempt(faults=tuple(faults), refused=refused)


def shown(host: str, port: int) -> str:
    """Return host and port as a URL has them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what `work` returns. Raises what it raises, or TimeoutError; then it goes on in a thread of its own."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as exc:  # raised in the caller's thread
            errors.append(exc)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError
    return results[0]
