"""Serve the last log events of the resident process, for a support bundle.

Invariants:
- From memory alone: nothing here reads what the container's runtime keeps of stdout.
- What the log may never have (tokens, keys, credentials, bodies of requests) is not here either.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from flask import Flask, Response

from sidecar.api.flask_usage import JSON_LINES

LOG_PATH: Final = "/v1/log"


def add(app: Flask, last_lines: Callable[[], bytes]) -> None:
    """Add the route to the application. `last_lines`: the last lines of the log, oldest first."""

    @app.get(LOG_PATH)
    def last() -> Response:
        """Return the last log events, oldest first, one JSON object a line."""
        return Response(last_lines(), content_type=JSON_LINES, headers={"Cache-Control": "no-store"})
