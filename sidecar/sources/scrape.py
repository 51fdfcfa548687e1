"""Fetch a page of metrics over HTTP.

Invariants:
- Bounded in bytes and in seconds as a whole; a slow server cannot hold the loop longer.
- Never through a proxy and never redirected: the page of the URL that was set is billed from, and of no other.
- A body that is shorter than it was announced is no page.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import threading
import time
from typing import Final
from urllib.parse import urlsplit

from sidecar.quick_dataclasses import dataclass
from sidecar.sources.fault import SourceFault

BYTES_MAX: Final = 4 << 20
SECONDS_MAX: Final = 8.0
"""For a page to arrive, whole."""
ACCEPT: Final = "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;version=0.0.4;q=0.5"
CHUNK: Final = 64 << 10
LOOPBACK: Final = ("localhost", "127.", "[::1]", "::1")


@dataclass(frozen=True, kw_only=True)
class Scraped:
    """A page, and whether it says to be OpenMetrics."""

    body: bytes
    open_metrics: bool


class NobodyListens(SourceFault):
    """The connection was refused: no process listens at the address."""


def is_own(url: str) -> bool:
    """Return whether the URL is of this pod or task: what listens there began with it."""
    return (urlsplit(url).hostname or "").startswith(LOOPBACK)


def scrape(url: str, seconds: float = SECONDS_MAX) -> Scraped:
    """Return the page. Raises SourceFault."""
    until = time.monotonic() + seconds
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    make = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=seconds)
    where = f"{parts.scheme}://{parts.netloc}{parts.path}"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    timer = threading.Timer(seconds, _cut, [connection])  # for a server that sends its headers a byte at a time
    timer.daemon = True
    timer.start()
    try:
        connection.request("GET", target, headers={"Accept": ACCEPT})
        response = connection.getresponse()
        _in_time(until)
        if response.status != 200:
            rule = "A page of metrics is answered with 200; redirects are not followed. Correct the url of the source."
            raise SourceFault("target_refused", f"{where} answered {response.status}. {rule}")
        body = _body(connection, response, until, where)
    except ConnectionRefusedError:
        raise NobodyListens("target_unreachable", _unreachable(where, "the connection was refused")) from None
    except (OSError, http.client.HTTPException) as exc:
        reason = "page_incomplete" if isinstance(exc, http.client.IncompleteRead) else "target_unreachable"
        raise SourceFault(reason, _unreachable(where, str(exc) or type(exc).__name__)) from exc
    finally:
        timer.cancel()
        with contextlib.suppress(OSError):
            connection.close()
    return Scraped(body=body, open_metrics="openmetrics" in (response.getheader("Content-Type") or "").lower())


def _body(
    connection: http.client.HTTPConnection, response: http.client.HTTPResponse, until: float, where: str
) -> bytes:
    """Return the whole body, read piece by piece so that its time is bounded as a whole."""
    body = bytearray()
    while chunk := response.read1(CHUNK):
        body += chunk
        if len(body) > BYTES_MAX:
            rule = f"Up to {BYTES_MAX} bytes are read. Serve the metrics that are billed on a page of their own."
            raise SourceFault("page_too_large", f"{where} is larger. {rule}")
        left = _in_time(until)
        if connection.sock:
            connection.sock.settimeout(left)
    _in_time(until)
    if response.length:
        raise http.client.IncompleteRead(bytes(body[:0]), response.length)
    return bytes(body)


def _in_time(until: float) -> float:
    """Return the seconds that are left. Raises TimeoutError: what was cut off then is no page."""
    left = until - time.monotonic()
    if left <= 0:
        raise TimeoutError("the page did not arrive in time")
    return left


def _cut(connection: http.client.HTTPConnection) -> None:
    with contextlib.suppress(OSError, AttributeError):  # it is not connected yet, or closed meanwhile
        connection.sock.shutdown(socket.SHUT_RDWR)


def _unreachable(where: str, why: str) -> str:
    return (
        f"{where}: {why}. Nothing is lost while the product keeps its counter. Check that it serves metrics there, and"
        " the url of the source."
    )
