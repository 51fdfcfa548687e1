"""Serve the service's two listeners: probes, pushes, customers, notices, records.

Invariants:
- The probe listener has `/healthz`, `/readyz` and `/metrics`, answered from memory. There is no gate: no `/entitled`.
- A push is deferred: no thread of the server waits for the database.
- Every error is a problem document with a stable reason; no traceback, no echo of a token.
- HTTP itself (limits, origins, hosts, bearer token) is the sidecar's own server: `server.admission`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from sidecar.api import metrics, problem
from sidecar.api.flask_app import DETAILS
from sidecar.api.flask_app import REASONS as STATUS_REASONS
from sidecar.api.flask_usage import response
from sidecar.api.json_body import Malformed
from sidecar.api.push import PATH as USAGE
from sidecar.api.reply import API, LISTENER, WSGI, DeferredHandler, Environ, Reply, StartResponse, refusal, send
from sidecar.clock import iso
from sidecar.errors import DecisionRefused, SidecarError
from sidecar.marketplace.resolve_customer import NotResolved
from sidecar.metering.states import IllegalTransition
from sidecar.saas import deciding, flask_records, openapi
from sidecar.saas.customers import Customer
from sidecar.saas.intake import RETRY, Intake
from sidecar.saas.leading import Leading
from sidecar.saas.notice_handler import NoticeHandler
from sidecar.saas.notices import NotANotice
from sidecar.saas.resolving import Resolver, read_token
from sidecar.saas.status import SaasStatus
from sidecar.saas.store import Store

PROBES: Final = ("/healthz", "/readyz", "/metrics")


class SaasRouter:
    """The routes of both listeners, as the server calls them."""

    def __init__(self, status: SaasStatus, intake: Intake, application: Callable[[], WSGI]) -> None:
        """`application` makes the Flask application, at the first request for it."""
        self._status, self._intake, self._make = status, intake, application
        self._flask: WSGI | None = None

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
    app = Flask("sidecar.saas", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    _add_errors(app)

    @app.post("/v1/customers/resolve")
    def resolve() -> Response:
        """Return who holds a registration token, kept."""
        found = resolver.resolve(read_token(request.get_data(), request.content_type or ""), now())
        return _not_resolved(found) if isinstance(found, NotResolved) else _json(customer_json(found))

    @app.get("/v1/customers")
    def customers() -> Response:
        """Return every customer, with the state of its subscription."""
        return _json({"customers": [{**customer_json(one), **_state_json(one)} for one in store.customers()]})

    @app.post("/v1/notices")
    def notice() -> Response:
        """Apply one notice of SNS or EventBridge."""
        try:
            changed = notices.handle(request.get_data().decode("utf-8", "replace"), now())
        except NotANotice as exc:
            return response(refusal(400, "notice_unreadable", f"The body {exc}"))
        leading.send_now()
        return _json({"changed": len(changed)})

    @app.get("/v1/status")
    def show_status() -> Response:
        """Return what the service knows of itself."""
        return _json(status.document())

    @app.get("/openapi.json")
    def describe() -> Response:
        """Return the description of this API."""
        return _json(openapi.document())

    @app.post(USAGE)
    def push_is_deferred() -> Response:
        """Stand in the Allow header. The server gives every push to `SaasRouter.deferred_handler`."""
        raise AssertionError("a push came to a thread that would have to wait")

    flask_records.add(
        app, store, lambda wanted: deciding.apply(store, lambda: leading.leads, wanted, now()), leading.send_now
    )
    return app


def _add_errors(app: Flask) -> None:
    @app.errorhandler(HTTPException)
    def refused(exc: HTTPException) -> Response:
        code = exc.code if exc.code in problem.TITLES else 400
        allow = tuple((name, value) for name, value in exc.get_headers() if name == "Allow")
        detail = "There is no such route. See GET /openapi.json." if code == 404 else DETAILS.get(code or 400, "")
        return response(
            refusal(code or 400, STATUS_REASONS.get(code or 400, "bad_request"), detail or problem.TITLES[400], allow)
        )

    @app.errorhandler(Malformed)
    def malformed(exc: Malformed) -> Response:
        return response(refusal(400, "bad_request", str(exc)))

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


def customer_json(customer: Customer) -> dict[str, object]:
    """Return a customer as `POST /v1/customers/resolve` answers it; null: AWS does not say."""
    return {
        "customer_aws_account_id": customer.aws_account_id or None,
        "license_arn": customer.license_arn or None,
        "customer_identifier": customer.identifier or None,
        "product_code": customer.product_code,
        "agreement_id": customer.agreement_id or None,
    }


def _state_json(customer: Customer) -> dict[str, object]:
    return {
        "state": customer.state.value,
        "state_since": iso(customer.state_since),
        "closed_at": iso(customer.closed_at) if customer.closed_at else None,
    }


def _not_resolved(found: NotResolved) -> Response:
    headers: tuple[tuple[str, str], ...] = ()
    if found.status == 503:
        headers = (("Retry-After", str(max(1, round(found.retry_after_seconds or 1)))),)
    return response(refusal(found.status, found.reason, found.hint, headers))


def _json(document: Mapping[str, Any]) -> Response:
    return response(
        Reply(200, json.dumps(document, ensure_ascii=False).encode(), headers=(("Cache-Control", "no-store"),))
    )
