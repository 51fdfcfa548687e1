"""Tell which proxy the SDK uses for a URL, and read that proxy's URL.

Invariants:
- The proxy is the one the SDK would use, found by the SDK's own function in this process's environment.
- What the SDK cannot use is no proxy: it takes the text before `://` for a host, or fails on the port.
- The name and password in a proxy's URL are never shown.

Sources: botocore's httpsession (`ProxyConfiguration`) and utils (`get_environ_proxies`).
"""

from __future__ import annotations

import os
from typing import Final
from urllib.parse import unquote, urlsplit

from botocore.httpsession import ProxyConfiguration
from botocore.utils import get_environ_proxies
from urllib3.exceptions import LocationValueError
from urllib3.util import parse_url

from sidecar.quick_dataclasses import dataclass, field

PORTS: Final = {"http": 80, "https": 443}
PORT_MAX: Final = 65_535


@dataclass(frozen=True, kw_only=True)
class Proxy:
    """A proxy, as the SDK uses it."""

    scheme: str
    host: str
    """A name or an address, without brackets."""
    port: int
    authorization: str = field(default="", repr=False)
    """The value of `Proxy-Authorization`; empty where the URL has no name and password."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def written_for(url: str) -> str:
    """Return the proxy the SDK uses for a URL, as it is written; empty where it asks directly."""
    return str(get_environ_proxies(url).get(urlsplit(url).scheme) or "")


def variable_for(url: str) -> str:
    """Return the variable that sets the proxy of this URL's scheme, the one in lower case first; empty where none."""
    name = f"{urlsplit(url).scheme}_proxy"
    return next((one for one in (name, name.upper()) if os.environ.get(one)), "")


def parse(written: str) -> Proxy | None:
    """Return the proxy that is written as `http://HOST:PORT`, or `HOST:PORT`; None where the SDK cannot use it."""
    scheme, mark, _ = written.partition("://")
    if mark and scheme not in PORTS:
        return None  # the SDK takes any other text before `://`, HTTP in capitals included, for a host
    whole = written if mark else f"http://{written}"
    try:
        url = parse_url(whole)
        name, password = (unquote(part or "") for part in (url.auth or "").partition(":")[::2])
        (name + password).encode("ascii")  # as the SDK does for `Proxy-Authorization`
        host = (url.host or "").strip("[]")
        host.encode("ascii" if ":" in host else "idna")
    except (LocationValueError, ValueError):
        return None
    if not host or not (url.port is None or 0 < url.port <= PORT_MAX):
        return None
    scheme = scheme if mark else "http"
    headers = ProxyConfiguration().proxy_headers_for(whole)
    authorization = str(headers.get("Proxy-Authorization", ""))
    return Proxy(scheme=scheme, host=host, port=url.port or PORTS[scheme], authorization=authorization)


def is_proxy(written: str) -> bool:
    """Return whether this names a proxy that the SDK can use."""
    return parse(written) is not None
