"""Which answer belongs to a request? The WSGI callable behind both listeners.

Rules kept here:
- The listener is told by the socket that accepted the connection (`sidecar.listener`), never by a
  header; a client of the probe listener reaches the probe routes and nothing else.
- A push of usage waits for a disk, so whoever serves it takes its answer later (`taker`).
- Probe routes are plain WSGI and quick. Flask serves the rest, and is imported when the first request
  for it comes.
- Errors are problem documents; no answer shows where it broke.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from sidecar.api import probes, push
from sidecar.api.ports import StatusPort
from sidecar.api.reply import API, LISTENER, WSGI, DeferredHandler, Environ, Reply, StartResponse, refusal, send

READS: Final = ("GET", "HEAD")


class Router:
    """Both listeners' routes."""

    def __init__(self, view: StatusPort) -> None:
        self._view = view
        self._push: DeferredHandler = partial(push.take, view.usage)
        self._rest: WSGI | None = None

    def is_nonblocking(self, environ: Environ) -> bool:
        """Return whether the answer is in memory, so that it may be given where it was read."""
        return environ.get(LISTENER) != API or environ.get("PATH_INFO") in probes.ROUTES

    def deferred_handler(self, listener: str, method: str, path: str) -> DeferredHandler | None:
        """Return what takes such a request and answers later, or None: call the site for it. No environ is made for
        this.
        """
        return self._push if path == push.PATH and method == "POST" and listener == API else None

    def commit_pending(self) -> None:
        """Let what was taken be kept now: once for all that were taken together."""
        self._view.usage.commit_pending()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path in probes.ROUTES:
            return send(self._probe(path, environ["REQUEST_METHOD"]), start_response)
        if path.startswith("//"):  # Flask would overlook it, and a push is not taken there
            return send(refusal(404, "not_found", "A path begins with one slash."), start_response)
        if environ.get(LISTENER) == API:
            return self._others()(environ, start_response)
        return send(refusal(404, "not_found", "This listener has " + ", ".join(probes.ROUTES)), start_response)

    def _probe(self, path: str, method: str) -> Reply:
        if method not in READS:
            return refusal(405, "method_not_allowed", "Use GET.", (("Allow", ", ".join(READS)),))
        return probes.ROUTES[path](self._view)

    def _others(self) -> WSGI:
        if self._rest is None:
            from sidecar.api.flask_app import application

            self._rest = application(self._view)
        return self._rest
