"""How is a refusal said over HTTP? As a problem document.

Source: RFC 9457, Problem Details for HTTP APIs. `reason` is ours: stable, for machines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

CONTENT_TYPE: Final = "application/problem+json"

TITLES: Final[Mapping[int, str]] = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    413: "Content Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
"""Status → phrase, for every status a route answers with."""


def document(status: int, reason: str, detail: str) -> bytes:
    """The body of a refusal."""
    fields = {"type": "about:blank", "title": TITLES[status], "status": status, "reason": reason, "detail": detail}
    return json.dumps(fields).encode()
