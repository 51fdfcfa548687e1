"""Serve `GET /openapi.json`: the description of this API.

Invariants:
- It is made when it is asked for: nothing of it stays in memory.
"""

from __future__ import annotations

import json

from flask import Flask, Response

from sidecar.api.flask_responses import response
from sidecar.api.reply import Reply


def add(app: Flask) -> None:
    """Add the route to the application."""

    @app.get("/openapi.json")
    def openapi() -> Response:
        """Return the OpenAPI document."""
        from sidecar.api.openapi import document

        return response(Reply(200, json.dumps(document(), ensure_ascii=False).encode()))
