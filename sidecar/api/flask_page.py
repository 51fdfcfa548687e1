"""Serve the status page."""

from __future__ import annotations

from flask import Flask, Response, request

from sidecar.api.page import document
from sidecar.api.page.records import RecordReader
from sidecar.api.ports import StatusPort


def add(app: Flask, view: StatusPort) -> None:
    """Add the page to the application."""
    reader = RecordReader(view.usage)

    @app.get("/")
    def page() -> Response:
        """Return the page for a person. With `?refresh=on` it reloads itself where scripts are off."""
        text = document.render(view, reader, refresh=request.args.get("refresh") == "on")
        return Response(text, content_type="text/html; charset=utf-8", headers=dict(document.headers()))
