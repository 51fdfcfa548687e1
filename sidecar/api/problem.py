"""How is a refusal said over HTTP? As a problem document.

Source: RFC 9457, Problem Details for HTTP APIs. `reason` is ours: stable, for machines;
`index` too (both are extension members, section 3.2).
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
    409: "Conflict",
    413: "Content Too Large",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
"""Status → phrase, for every status a route answers with."""


def document(status: int, reason: str, detail: str, index: int | None = None) -> bytes:
    """Return the body of a refusal. `index`: which of the things sent it is about, where it is about one."""
    fields: dict[str, object] = {"type": "about:blank", "title": TITLES[status], "status": status}
    fields |= {"reason": reason, "detail": detail}
    if index is not None:
        fields["index"] = index
    return json.dumps(fields).encode()
