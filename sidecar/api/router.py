"""Route each request to its handler: the WSGI callable behind both listeners.

Invariants:
- The listener is known from the socket that accepted the connection (`sidecar.listener`), never from a header; a client
  of the probe listener reaches the probe routes and nothing else.
- A push of usage waits for a disk, so the server gets its reply later (`deferred_handler`).
- Probe routes are quick, and need no WSGI (`quick_handler`). The pre-stop hook, which has no time to lose, is plain
  WSGI; so is a proof, which waits for AWS in the thread pool. Flask serves the rest, and is imported at the first
  request for it.
- Errors are problem documents; no reply shows a traceback.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Final

from sidecar.api import probes, push
from sidecar.api.ports import StatusPort
from sidecar.api.reply import (
    API,
    LISTENER,
    WSGI,
    DeferredHandler,
    Environ,
    QuickHandler,
    Reply,
    StartResponse,
    refusal,
    send,
)

READS: Final = ("GET", "HEAD")
PRE_STOP: Final = "/v1/pre-stop"
PROOF: Final = "/v1/proof"


class Router:
    """The routes of both listeners."""

    def __init__(self, view: StatusPort) -> None:
        self._view = view
        self._push: DeferredHandler = partial(push.handle, view.usage)
        self._flask: WSGI | None = None

    def is_nonblocking(self, environ: Environ) -> bool:
        """Return whether the reply comes from memory, so that the poller may build it."""
        path = environ.get("PATH_INFO")
        return environ.get(LISTENER) != API or path in probes.ROUTES or path == PRE_STOP

    def deferred_handler(self, listener: str, method: str, path: str) -> DeferredHandler | None:
        """Return the handler of a request that is answered later, or None where the router itself is called.

        Takes no environ: making one costs more than a push does.
        """
        return self._push if path == push.PATH and method == "POST" and listener == API else None

    def quick_handler(self, method: str, path: str) -> QuickHandler | None:
        """Return what makes the reply to a probe, or None where the router itself is called. Takes no environ."""
        return partial(self._probe, path, method) if path in probes.ROUTES else None

    def commit_pending(self) -> None:
        """Start to write every push since the last call, in one transaction."""
        self._view.usage.commit_pending()

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path in probes.ROUTES:
            return send(self._probe(path, environ["REQUEST_METHOD"]), start_response)
        if path.startswith("//"):  # Flask would serve it, where no push may come
            return send(refusal(404, "not_found", "A path begins with one slash."), start_response)
        if environ.get(LISTENER) == API and path == PRE_STOP:
            return send(self._pre_stop(environ["REQUEST_METHOD"]), start_response)
        if environ.get(LISTENER) == API and path == PROOF and environ["REQUEST_METHOD"] == "POST":
            return send(self._proof(environ["wsgi.input"].read()), start_response)
        if environ.get(LISTENER) == API:
            return self._application()(environ, start_response)
        return send(refusal(404, "not_found", "This listener has " + ", ".join(probes.ROUTES)), start_response)

    def _probe(self, path: str, method: str) -> Reply:
        if method not in READS:
            return refusal(405, "method_not_allowed", "Use GET.", (("Allow", ", ".join(READS)),))
        return probes.ROUTES[path](self._view)

    def _pre_stop(self, method: str) -> Reply:
        if method != "POST":
            return refusal(405, "method_not_allowed", "Use POST.", (("Allow", "POST"),))
        self._view.prepare_stop()
        return Reply(202, b'{"stopping": true}')

    def _proof(self, body: bytes) -> Reply:
        from sidecar.api import proof

        return proof.reply(self._view.proofs, body)

    def _application(self) -> WSGI:
        if self._flask is None:
            from sidecar.api.flask_app import application

            self._flask = application(self._view)
        return self._flask
