"""Serve the service's two listeners: probes, pushes, customers, notices, records.

Invariants:
- The probe listener has `/healthz`, `/readyz` and `/metrics`, answered from memory. There is no gate: no `/entitled`.
- A push is deferred: no thread of the server waits for the database.
- Every error is a problem document with a stable reason; no traceback, no echo of a token.
- HTTP itself (limits, origins, hosts, bearer token) is the sidecar's own server: `server.admission`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Final

from flask import Flask, Response, request

from sidecar.api import metrics
from sidecar.api.flask_base import bare_application
from sidecar.api.flask_responses import response, uncached_json
from sidecar.api.push import PATH as USAGE
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
from sidecar.errors import DecisionRefused, SidecarError
from sidecar.metering.states import IllegalTransition
from sidecar.saas import deciding, flask_customers, flask_records, openapi
from sidecar.saas.intake import RETRY, Intake
from sidecar.saas.leading import Leading
from sidecar.saas.notice_handler import NoticeHandler
from sidecar.saas.notices import NotANotice
from sidecar.saas.resolving import Resolver
from sidecar.saas.status import SaasStatus
from sidecar.saas.store import Store

NOT_FOUND: Final = "There is no such route. See GET /openapi.json."
PROBES: Final = ("/healthz", "/readyz", "/metrics")


class SaasRouter:
    """The routes of both listeners, as the server calls them."""

    def __init__(self, status: SaasStatus, intake: Intake, application: Callable[[], WSGI]) -> None:
        """`application` makes the Flask application, at the first request for it."""
        self._status, self._intake, self._make = status, intake, application
        self._flask: WSGI | None = None

    def quick_handler(self, method: str, path: str) -> QuickHandler | None:
        """Return what makes the reply to a probe, or None where the router itself is called. Takes no environ."""
        return partial(self._probe, path, method) if path in PROBES else None

    def is_nonblocking(self, environ: Environ) -> bool:
        """Return whether the reply comes from memory, so that the poller may build it."""
        return environ.get(LISTENER) != API or environ.get("PATH_INFO") in PROBES

    def deferred_handler(self, listener: str, method: str, path: str) -> DeferredHandler | None:
        """Return the handler of a push; None for every other request."""
        return self._intake.push if path == USAGE and method == "POST" and listener == API else None

    def commit_pending(self) -> None:
        """Do nothing: each push is committed by the thread that took it."""

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path in PROBES:
            return send(self._probe(path, environ["REQUEST_METHOD"]), start_response)
        if environ.get(LISTENER) != API:
            return send(refusal(404, "not_found", "This listener has " + ", ".join(PROBES)), start_response)
        if path.startswith("//"):
            return send(refusal(404, "not_found", "A path begins with one slash."), start_response)
        if self._flask is None:
            self._flask = self._make()
        return self._flask(environ, start_response)

    def _probe(self, path: str, method: str) -> Reply:
        if method not in ("GET", "HEAD"):
            return refusal(405, "method_not_allowed", "Use GET.", (("Allow", "GET, HEAD"),))
        if path == "/metrics":
            return Reply(200, metrics.text(self._status.metrics()), content_type=metrics.CONTENT_TYPE)
        fault = self._status.unhealthy() if path == "/healthz" else self._status.not_ready()
        if fault is not None:
            return refusal(503, *fault, RETRY)
        return Reply(200, b'{"healthy": true}' if path == "/healthz" else b'{"ready": true}')


def application(
    *,
    store: Store,
    resolver: Resolver,
    notices: NoticeHandler,
    leading: Leading,
    status: SaasStatus,
    now: Callable[[], datetime],
) -> WSGI:
    """Return the WSGI application for everything but probes and pushes."""
    app = bare_application("sidecar.saas", NOT_FOUND)
    _add_errors(app)

    @app.post("/v1/notices")
    def notice() -> Response:
        """Apply one notice of SNS or EventBridge."""
        try:
            changed = notices.handle(request.get_data().decode("utf-8", "replace"), now())
        except NotANotice as exc:
            return response(refusal(400, "notice_unreadable", f"The body {exc}"))
        leading.send_now()
        return uncached_json({"changed": len(changed)})

    @app.get("/v1/status")
    def show_status() -> Response:
        """Return what the service knows of itself."""
        return uncached_json(status.document())

    @app.get("/openapi.json")
    def describe() -> Response:
        """Return the description of this API."""
        return uncached_json(openapi.document())

    @app.post(USAGE)
    def push_is_deferred() -> Response:
        """Stand in the Allow header. The server gives every push to `SaasRouter.deferred_handler`."""
        raise AssertionError("a push came to a thread that would have to wait")

    flask_customers.add(app, store, resolver, now)
    flask_records.add(
        app, store, lambda wanted: deciding.apply(store, lambda: leading.leads, wanted, now()), leading.send_now
    )
    return app


def _add_errors(app: Flask) -> None:
    @app.errorhandler(DecisionRefused)
    def decision_refused(exc: DecisionRefused) -> Response:
        headers = RETRY if exc.status == 503 else ()
        return response(refusal(exc.status, exc.reason, f"Nothing was changed: {exc.hint}", headers))

    @app.errorhandler(IllegalTransition)
    def illegal(exc: IllegalTransition) -> Response:
        return response(refusal(409, "illegal_transition", f"Nothing was changed: {exc}"))

    @app.errorhandler(SidecarError)
    def unavailable(exc: SidecarError) -> Response:
        return response(refusal(503, exc.reason, exc.hint, RETRY))
