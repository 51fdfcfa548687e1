"""Define an HTTP reply as a value, and send it through WSGI."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

from sidecar.api import problem

JSON: Final = "application/json"

LISTENER: Final = "sidecar.listener"
"""WSGI variable with the name of the listener that accepted the connection: `PROBE` or `API`."""
PROBE: Final = "probe"
API: Final = "api"

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WSGI = Callable[[Environ, StartResponse], Iterable[bytes]]
Headers = tuple[tuple[str, str], ...]


class Reply(NamedTuple):
    """One HTTP reply."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Headers = ()


QuickHandler = Callable[[], Reply]
"""Makes a reply from memory."""
DeferredHandler = Callable[[bytes, Callable[[Reply], None]], None]
"""Takes a body and a callable for the reply; calls it once, at once or on any thread after `commit_pending`."""


def refusal(status: int, reason: str, detail: str, headers: Headers = (), index: int | None = None) -> Reply:
    """Return a problem document as a reply."""
    body = problem.document(status, reason, detail, index)
    return Reply(status=status, body=body, content_type=problem.CONTENT_TYPE, headers=headers)


def send(reply: Reply, start_response: StartResponse) -> Iterable[bytes]:
    """Start this reply and return its body. No cache may store it."""
    headers = [
        ("Content-Type", reply.content_type),
        ("Content-Length", str(len(reply.body))),
        ("Cache-Control", "no-store"),
        *reply.headers,
    ]
    start_response(f"{reply.status} {problem.TITLES[reply.status]}", headers)
    return [reply.body]
