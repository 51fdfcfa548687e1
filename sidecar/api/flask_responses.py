"""Make Flask's responses of replies and documents."""

from __future__ import annotations

import json
from collections.abc import Mapping

from flask import Response

from sidecar.api.reply import Reply


def response(reply: Reply) -> Response:
    """Return a reply as a Flask response."""
    return Response(reply.body, status=reply.status, content_type=reply.content_type, headers=list(reply.headers))


def uncached_json(document: Mapping[str, object]) -> Response:
    """Return a JSON document that no cache may store."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return response(Reply(200, body, headers=(("Cache-Control", "no-store"),)))
