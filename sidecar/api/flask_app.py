"""Serve the product's listener beyond probes and pushes, with Flask.

Invariants:
- Nothing here opens the gate.
"""

from __future__ import annotations

import json
from typing import Final

from flask import Response

from sidecar import log
from sidecar.api import flask_log, flask_openapi, flask_page, flask_usage
from sidecar.api.flask_base import bare_application
from sidecar.api.flask_responses import response
from sidecar.api.ports import StatusPort
from sidecar.api.reply import WSGI, refusal

NOT_FOUND: Final = "There is no such route. See GET /v1/status."


def application(view: StatusPort) -> WSGI:
    """Return the WSGI application for everything but the probe routes."""
    app = bare_application("sidecar.api", NOT_FOUND)

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

    flask_log.add(app, log.LINES.last)
    flask_page.add(app, view)
    flask_usage.add(app, view.usage)
    flask_openapi.add(app)
    return app
