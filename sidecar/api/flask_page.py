"""Serve the status page.

Invariants:
- The page and its template are imported at the first request for it: most sidecars are never looked at.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from flask import Flask, Response, request

from sidecar.api.ports import StatusPort

if TYPE_CHECKING:
    from sidecar.api.page.records import RecordReader


def add(app: Flask, view: StatusPort) -> None:
    """Add the page to the application."""

    @cache
    def reader() -> RecordReader:
        from sidecar.api.page.records import RecordReader

        return RecordReader(view.usage)

    @app.get("/")
    def page() -> Response:
        """Return the page for a person. With `?refresh=on` it reloads itself where scripts are off."""
        from sidecar.api.page import document

        text = document.render(view, reader(), refresh=request.args.get("refresh") == "on")
        return Response(text, content_type="text/html; charset=utf-8", headers=dict(document.headers()))
