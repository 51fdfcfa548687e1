"""Decide by the head of a request whether the product's listener serves it.

A web page may send a simple POST to any address that its browser reaches, loopback included. Such a page may add usage
to a customer's bill, and may read answers where its own name resolves to this address (DNS rebinding).

Invariants:
- A browser says where a request comes from (`Origin`, `Sec-Fetch-Site`); other clients need not.
- A page that rebinds its name cannot change `Host`: it is a loopback name or address, an address this listener has, or
  a configured name. Ports are not compared: they differ behind `kubectl port-forward`. A Unix socket has no address,
  and no browser reaches it; the rule holds there too, since a forwarder (socat, a proxy) may make a port of it.
- With a token every route but the probes needs it. It is compared in constant time and never in a message.
- A request that names another instance of the sidecar is refused on both listeners: the client read the address from a
  file that is older than what listens there.
- A head is judged once: one that repeats on a connection is not judged again (`request.RequestReader`).

Sources: Fetch Metadata Request Headers (W3C); RFC 6454, section 7 (Origin); RFC 6750, sections 2.1 and 3 (Bearer);
RFC 6761, section 6.3 (localhost); RFC 9110, section 15.5.20 (421); RFC 9112, section 3.2.2 (absolute form).
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from sidecar import address_file
from sidecar.api import probes
from sidecar.digests import compare_digest
from sidecar.server.head import RequestHead
from sidecar.server.http_error import HttpError

LOOPBACK_NAMES: Final = ("localhost", "ip6-localhost", "ip6-loopback")
LOOPBACK_NAME: Final = re.compile(r"(?:[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?\.)+localhost")
"""Any name below `localhost`: browsers and resolvers keep it on this machine (RFC 6761)."""
LOOPBACK_V4: Final = b"\x7f"
LOOPBACK_V6: Final = b"\x00" * 15 + b"\x01"
MAPPED_V4: Final = b"\x00" * 10 + b"\xff\xff"
"""IPv4 on a dual-stack socket, RFC 4291 section 2.5.5.2."""
OTHER_SITES: Final = ("cross-site", "same-site")
SCHEMES: Final = ("http", "https")
INSTANCE: Final = address_file.HEADER.upper()
"""As `head.RequestHead` names it."""

CROSS_ORIGIN: Final = HttpError(
    403, "cross_origin", "A web page of another origin sent this request. Only the product and its tools may."
)
HOST_REFUSED: Final = HttpError(
    403,
    "host_refused",
    "Host is none of the names this listener answers to: loopback, its own address, and SIDECAR_API_HOSTS. Add the"
    " name there.",
)
OTHER_INSTANCE: Final = HttpError(
    address_file.OTHER_INSTANCE,
    "other_instance",
    f"{address_file.HEADER} names another start of a sidecar. Read the address file again, and ask where it says.",
)
TOKEN_REFUSED: Final = HttpError(
    401,
    "token_refused",
    "This route needs the header Authorization: Bearer with the token of SIDECAR_API_TOKEN_FILE.",
    (("WWW-Authenticate", "Bearer"),),
)


class Admission:
    """Who may ask the product's listener, and which sidecar the probe listener is."""

    def __init__(self, names: Iterable[str] = (), token: str | None = None, instance: str = "") -> None:
        """`names`: host names and addresses this listener answers to, besides loopback and its own address.

        `instance`: what the address file calls this start of the sidecar.
        """
        self._instance = instance
        self._hosts = frozenset(_canonical(name) for name in names)
        self._token = None if token is None else token.encode()

    def refusal(self, own_address: str, head: RequestHead) -> HttpError | None:
        """Return why a request is not served, or None. `own_address`: where it arrived."""
        if self.probe_refusal(head):
            return OTHER_INSTANCE
        host, origins, sites, authorizations = "", [], [], []
        for name, value in head.headers:
            if name == "HOST":
                host = value
            elif name == "ORIGIN":
                origins.append(value)
            elif name == "SEC-FETCH-SITE":
                sites.append(value)
            elif name == "AUTHORIZATION":
                authorizations.append(value)
        if any(_foreign(one, host) for one in origins) or any(one.strip().lower() in OTHER_SITES for one in sites):
            return CROSS_ORIGIN
        if not self._answers_to(head, host, own_address):
            return HOST_REFUSED
        if self._token is not None and head.path not in probes.ROUTES and not self._proven(authorizations):
            return TOKEN_REFUSED
        return None

    def probe_refusal(self, head: RequestHead) -> HttpError | None:
        """Return why the probe listener does not serve a request, or None."""
        other = any(name == INSTANCE and value != self._instance for name, value in head.headers)
        return OTHER_INSTANCE if other else None

    def _answers_to(self, head: RequestHead, host: str, own_address: str) -> bool:
        if head.version < (1, 1) and not host:
            return True  # no browser speaks HTTP/1.0
        named = [host]
        if not head.target.startswith("/") and head.target != "*":  # it takes precedence over Host
            named.append(urlsplit(head.target).netloc)
        return all(self._known(_canonical(_without_port(one)), own_address) for one in named)

    def _known(self, host: bytes | str, own_address: str) -> bool:
        return _is_loopback(host) or host in self._hosts or host == _canonical(own_address.partition("%")[0])

    def _proven(self, authorizations: list[str]) -> bool:
        if len(authorizations) != 1 or self._token is None:
            return False
        scheme, _, given = authorizations[0].partition(" ")
        return scheme.lower() == "bearer" and compare_digest(given.strip().encode("latin-1"), self._token)


def is_loopback(address: str) -> bool:
    """Return whether only this machine, or this pod, reaches the address."""
    return _is_loopback(_canonical(address.partition("%")[0]))


def _is_loopback(host: bytes | str) -> bool:
    if isinstance(host, bytes):
        return host[:1] == LOOPBACK_V4 if len(host) == 4 else host == LOOPBACK_V6
    return host in LOOPBACK_NAMES or LOOPBACK_NAME.fullmatch(host) is not None


def _foreign(origin: str, host: str) -> bool:
    """Return whether this origin is another than the one that `host` is served under; `null` is."""
    scheme, found, authority = origin.strip().partition("://")
    return not found or scheme.lower() not in SCHEMES or authority.lower() != host.lower()


def _without_port(authority: str) -> str:
    host, colon, port = authority.rpartition(":")
    if colon and (not port or port.isdecimal()) and not (":" in host and not host.endswith("]")):
        authority = host
    return authority


def _canonical(host: str) -> bytes | str:
    """Return an address as its bytes, a name in lower case: each has one form then."""
    bracketed = host.startswith("[") and host.endswith("]")
    bare = host[1:-1].partition("%")[0] if bracketed else host
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            address = socket.inet_pton(family, bare)
        except (OSError, ValueError):
            continue
        return address[12:] if address.startswith(MAPPED_V4) and len(address) == 16 else address
    return host.lower().removesuffix(".")
