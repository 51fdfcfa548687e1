"""Make the Flask application that both services' routes are added to.

Invariants:
- Every error is a problem document with a stable reason; no traceback, no echo of the request.
- A route that breaks is left to the HTTP server: it answers 500 and logs the exception's class, where Flask would log
  its text, which may quote anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from sidecar.api import problem
from sidecar.api.flask_responses import response
from sidecar.api.json_body import Malformed
from sidecar.api.reply import refusal

REASONS: Final = {404: "not_found", 405: "method_not_allowed"}
WRONG_METHOD: Final = "This route does not take that method; see the Allow header."


def bare_application(name: str, not_found: str) -> Flask:
    """Return an application without routes. `not_found`: the detail of a 404."""
    app = Flask(name, static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.config["PROPAGATE_EXCEPTIONS"] = True
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # refused as on every other route: no browser may ask for leave
    app.url_map.merge_slashes = False  # a redirect would repeat the client's Host
    _add_errors(app, {404: not_found, 405: WRONG_METHOD})
    return app


def _add_errors(app: Flask, details: Mapping[int, str]) -> None:
    @app.errorhandler(HTTPException)
    def refused(exc: HTTPException) -> Response:
        code = exc.code or 500
        code = code if code in problem.TITLES else 400
        allow = tuple((name, value) for name, value in exc.get_headers() if name == "Allow")
        detail = details.get(code, problem.TITLES[code] + ".")
        return response(refusal(code, REASONS.get(code, "bad_request"), detail, allow))

    @app.errorhandler(Malformed)
    def malformed(exc: Malformed) -> Response:
        return response(refusal(400, "bad_request", str(exc)))
