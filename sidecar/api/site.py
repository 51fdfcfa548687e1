"""Which answer belongs to a request? The WSGI callable behind both listeners.

Rules kept here:
- The listener is told by the socket that accepted the connection (`sidecar.listener`), never by a
  header; a client of the probe listener reaches the probe routes and nothing else.
- Probe routes are plain WSGI and quick. Flask serves the rest, and is imported when the first request
  for it comes.
- Errors are problem documents; no answer shows where it broke.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from sidecar.api import probes, problem
from sidecar.api.view import View

LISTENER: Final = "sidecar.listener"
PROBE: Final = "probe"
API: Final = "api"
READS: Final = ("GET", "HEAD")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
WSGI = Callable[[Environ, StartResponse], Iterable[bytes]]


class Site:
    """Both listeners' routes."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._rest: WSGI | None = None

    def quick(self, environ: Environ) -> bool:
        """Whether the answer is in memory, so that it may be given where it was read."""
        return environ.get(LISTENER) != API or environ.get("PATH_INFO") in probes.ROUTES

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path in probes.ROUTES:
            return _send(self._probe(path, environ["REQUEST_METHOD"]), start_response)
        if environ.get(LISTENER) == API:
            return self._others()(environ, start_response)
        return _send(probes.refusal(404, "not_found", "This listener has " + ", ".join(probes.ROUTES)), start_response)

    def _probe(self, path: str, method: str) -> probes.Reply:
        if method not in READS:
            return probes.refusal(405, "method_not_allowed", "Use GET.", (("Allow", ", ".join(READS)),))
        return probes.ROUTES[path](self._view)

    def _others(self) -> WSGI:
        if self._rest is None:
            from sidecar.api.routes import application

            self._rest = application(self._view)
        return self._rest


def _send(reply: probes.Reply, start_response: StartResponse) -> Iterable[bytes]:
    headers = [
        ("Content-Type", reply.content_type),
        ("Content-Length", str(len(reply.body))),
        ("Cache-Control", "no-store"),
        *reply.headers,
    ]
    start_response(f"{reply.status} {problem.TITLES[reply.status]}", headers)
    return [reply.body]
