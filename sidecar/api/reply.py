"""What is one answer, before it is bytes? A value, and how it is given to WSGI."""

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
    """One HTTP answer."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Headers = ()


DeferredHandler = Callable[[bytes, Callable[[Reply], None]], None]
"""Takes a body and a callable for the answer, which it calls once: at once, or on any thread after a `hand_over`."""


def refusal(status: int, reason: str, detail: str, headers: Headers = (), index: int | None = None) -> Reply:
    """Return a problem document as an answer."""
    body = problem.document(status, reason, detail, index)
    return Reply(status=status, body=body, content_type=problem.CONTENT_TYPE, headers=headers)


def send(reply: Reply, start_response: StartResponse) -> Iterable[bytes]:
    """Start this answer and hand out its body. Nothing here may be kept by a cache."""
    headers = [
        ("Content-Type", reply.content_type),
        ("Content-Length", str(len(reply.body))),
        ("Cache-Control", "no-store"),
        *reply.headers,
    ]
    start_response(f"{reply.status} {problem.TITLES[reply.status]}", headers)
    return [reply.body]
