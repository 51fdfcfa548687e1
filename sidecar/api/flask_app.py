"""Serve the product's listener beyond probes and pushes, with Flask.

Invariants:
- Every error is a problem document with a stable reason; no traceback, no echo of the request.
- A route that breaks is left to the HTTP server: it answers 500 and logs the exception's class, where Flask would log
  its text, which may quote anything.
- Nothing here opens the gate.
"""

from __future__ import annotations

import json

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from sidecar import log
from sidecar.api import flask_log, flask_openapi, flask_page, flask_usage, problem
from sidecar.api.flask_usage import response
from sidecar.api.json_body import Malformed
from sidecar.api.ports import StatusPort
from sidecar.api.reply import WSGI, refusal

REASONS = {404: "not_found", 405: "method_not_allowed"}
DETAILS = {
    404: "There is no such route. See GET /v1/status.",
    405: "This route does not take that method; see the Allow header.",
}


def application(view: StatusPort) -> WSGI:
    """Return the WSGI application for everything but the probe routes."""
    app = Flask("sidecar.api", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # refused as on every other route: no browser may ask for leave
    app.url_map.merge_slashes = False  # a redirect would repeat the client's Host

    @app.get("/v1/status")
    def status() -> dict[str, object]:
        """Return everything the sidecar knows of itself, for a person or a script."""
        return dict(view.status())

    @app.get("/v1/entitlements")
    def entitlements() -> Response:
        """Return what the product may use of its contract; 409 where none is checked."""
        found = view.entitlements()
        if found is None:
            detail = "SIDECAR_ENTITLEMENT_CHECK is not checkout_license: ask /entitled instead."
            return response(refusal(409, "no_contract", detail))
        return Response(json.dumps(found), content_type="application/json")

    @app.post("/v1/recheck")
    def recheck() -> Response:
        """Ask AWS again now, whatever the pause. 202, or 429 within 15 seconds of the last time."""
        wait = view.recheck()
        if wait:
            detail = f"AWS was asked a moment ago; ask again in {wait} s."
            return response(refusal(429, "asked_just_now", detail, (("Retry-After", str(wait)),)))
        return Response('{"asked": true}', status=202, content_type="application/json")

    @app.post("/v1/proof")
    def prove() -> Response:
        """Stand in the Allow header. The router answers every proof itself, without Flask."""
        raise AssertionError("a proof came to Flask")

    @app.errorhandler(HTTPException)
    def refused(exc: HTTPException) -> Response:
        code = exc.code or 500
        code = code if code in problem.TITLES else 400
        allow = tuple((name, value) for name, value in exc.get_headers() if name == "Allow")
        detail = DETAILS.get(code, problem.TITLES[code] + ".")
        return response(refusal(code, REASONS.get(code, "bad_request"), detail, allow))

    @app.errorhandler(Malformed)
    def malformed(exc: Malformed) -> Response:
        return response(refusal(400, "bad_request", str(exc)))

    flask_log.add(app, log.LINES.last)
    flask_page.add(app, view)
    flask_usage.add(app, view.usage)
    flask_openapi.add(app)
    return app
