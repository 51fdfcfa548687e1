"""Read a link-local endpoint with a small GET that never goes through a proxy.

Invariants:
- Never through a proxy, whatever HTTP_PROXY says: a proxy elsewhere would answer for another machine.
- Short timeouts and a bounded body: these endpoints are local and answer in milliseconds or not at all.
- The URL comes from the platform's own environment; anything but plain HTTP is refused.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlsplit

TIMEOUT_SECONDS: Final = 1.0
BYTES_MAX: Final = 1 << 20


def get(
    url: str, headers: Mapping[str, str] | None = None, method: str = "GET", timeout: float = TIMEOUT_SECONDS
) -> bytes:
    """Return the body of a 200 answer. Raises OSError for everything else."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise OSError(f"{url!r} is no plain HTTP URL")
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        target = parts.path or "/"
        connection.request(method, f"{target}?{parts.query}" if parts.query else target, headers=dict(headers or {}))
        response = connection.getresponse()
        body = response.read(BYTES_MAX)
        if response.length:
            raise OSError(f"{parts.hostname} broke off its answer, or it is over {BYTES_MAX} bytes")
    except http.client.HTTPException as exc:
        raise OSError(f"{parts.hostname} answers, but not HTTP: {type(exc).__name__}") from exc
    finally:
        connection.close()
    if response.status != 200:
        raise OSError(f"{parts.hostname} answered {response.status}")
    return body
