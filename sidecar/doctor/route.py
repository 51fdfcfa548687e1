"""Reach a host of AWS as the SDK does: directly or through a proxy, with the SDK's TLS.

Invariants:
- The proxy is the one the SDK uses, decided in the environment that the SDK has under `run`.
- Nothing is asked of AWS but `GET /` without a signature: it registers nothing and bills nothing.
- Of a proxy, name and password are sent to it and never shown.

Sources: RFC 9110 §9.3.6 (CONNECT), §6.6.1 (Date).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ssl import SSLContext, SSLSocket
from typing import Any, Final

from sidecar.doctor.context import AwsHost, Context
from sidecar.doctor.network import Network, Peer
from sidecar.marketplace import proxy as proxies
from sidecar.marketplace.proxy import Proxy
from sidecar.quick_dataclasses import dataclass

HEAD_BYTES_MAX: Final = 65_536
END: Final = b"\r\n\r\n"


class NotHttp(OSError):
    """What answers does not speak HTTP."""


class TunnelRefused(OSError):
    """A proxy that answered CONNECT with something else than 2xx."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the proxy answers {status} to CONNECT")
        self.status = status


@dataclass(frozen=True, kw_only=True)
class Route:
    """How the SDK reaches one host of AWS."""

    aws: AwsHost
    proxy: Proxy | None = None
    """None: directly, or the proxy that is set is none."""
    variable: str = ""
    """The variable that sets a proxy for such a URL, used for this host or not."""
    malformed: bool = False
    """Whether a proxy is set for this host that the SDK cannot use."""

    @property
    def peer(self) -> Peer:
        """The machine that is connected to."""
        to = self.proxy or self.aws
        return Peer(host=to.host, port=to.port)

    @property
    def tunnelled(self) -> bool:
        """Whether the proxy is asked for a tunnel; plain HTTP is sent to the proxy itself."""
        return self.proxy is not None and self.aws.scheme == "https"


def routes(context: Context) -> tuple[Route, ...]:
    """Return the route to each host that `run` asks; empty where settings or region are not known."""
    hosts = {aws.url: aws for aws in context.aws_hosts}.values()  # an override stands for all of them
    with context.sdk_environment():
        return tuple(map(_route, hosts))


def _route(aws: AwsHost) -> Route:
    written, variable = proxies.written_for(aws.url), proxies.variable_for(aws.url)
    proxy = proxies.parse(written) if written else None
    return Route(aws=aws, proxy=proxy, variable=variable, malformed=bool(written) and proxy is None)


@contextmanager
def connected(network: Network, route: Route, trust: SSLContext) -> Iterator[Any]:
    """Yield a connection on which the host of AWS listens, before TLS. Raises OSError, TunnelRefused among them.

    `trust` serves for a proxy that is itself reached over TLS, as it does for the SDK.
    """
    sock: Any = network.open(route.peer)
    try:
        if route.proxy and route.proxy.scheme == "https":
            sock = trust.wrap_socket(sock, server_hostname=route.proxy.host)
        if route.proxy and route.tunnelled:
            _open_tunnel(sock, route.aws, route.proxy, network.seconds)
        yield sock
    finally:
        sock.close()


@contextmanager
def secured(sock: Any, host: str, trust: SSLContext) -> Iterator[Any]:
    """Yield the connection under TLS. Raises OSError, ssl.SSLError among them."""
    if isinstance(sock, SSLSocket):  # TLS inside the TLS to a proxy
        from urllib3.util.ssltransport import SSLTransport

        yield SSLTransport(sock, trust, server_hostname=host)
    else:
        with trust.wrap_socket(sock, server_hostname=host) as wrapped:
            yield wrapped


def read_headers(network: Network, route: Route, trust: SSLContext) -> Mapping[str, str]:
    """Return the headers, names in lower case, of the host's answer to `GET /`. Raises OSError."""
    with connected(network, route, trust) as sock:
        if route.aws.scheme == "http":
            return _get(sock, route, network.seconds)
        with secured(sock, route.aws.host, trust) as wrapped:
            return _get(wrapped, route, network.seconds)


def _get(sock: Any, route: Route, seconds: float) -> Mapping[str, str]:
    forwarded = route.proxy is not None and not route.tunnelled
    target = f"{route.aws.url}/" if forwarded else "/"
    lines = [f"GET {target} HTTP/1.1", f"Host: {route.aws.url.partition('://')[2]}", "Connection: close"]
    if forwarded and route.proxy and route.proxy.authorization:
        lines.append(f"Proxy-Authorization: {route.proxy.authorization}")
    return _exchange(sock, lines, seconds)[1]


def _open_tunnel(sock: Any, aws: AwsHost, proxy: Proxy, seconds: float) -> None:
    """Ask the proxy for a tunnel. Raises OSError."""
    target = Peer(host=aws.host, port=aws.port)
    lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    status, _ = _exchange(sock, lines, seconds)
    if not 200 <= status < 300:
        raise TunnelRefused(status)


def _exchange(sock: Any, lines: list[str], seconds: float) -> tuple[int, Mapping[str, str]]:
    """Send a request without a body and return status and headers of the answer. Raises OSError."""
    deadline = time.monotonic() + seconds
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    received = b""
    while END not in received:
        sock.settimeout(max(0.001, deadline - time.monotonic()))
        chunk = sock.recv(4096)
        received += chunk
        if not chunk or len(received) > HEAD_BYTES_MAX:
            raise NotHttp("the answer breaks off before its end")
    first, *rest = received.partition(END)[0].decode("latin-1").split("\r\n")
    words = first.split()
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise NotHttp("what answers does not speak HTTP")
    pairs = (line.partition(":") for line in rest)
    return int(words[1]), {name.strip().lower(): value.strip() for name, _, value in pairs}
