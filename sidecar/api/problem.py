"""Build the problem document of an HTTP error.

Invariants:
- `reason` never changes: it is for machines. It and `index` are extension members (RFC 9457, section 3.2).

Sources: RFC 9457, Problem Details for HTTP APIs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

CONTENT_TYPE: Final = "application/problem+json"

TITLES: Final[Mapping[int, str]] = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    421: "Misdirected Request",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    501: "Not Implemented",
    502: "Bad Gateway",
    503: "Service Unavailable",
}
"""Status → phrase, for every status that a route or the HTTP server answers with."""


def document(status: int, reason: str, detail: str, index: int | None = None) -> bytes:
    """Return the document. `index`: which item of the request it is about, where it is about one."""
    fields: dict[str, object] = {"type": "about:blank", "title": TITLES[status], "status": status}
    fields |= {"reason": reason, "detail": detail}
    if index is not None:
        fields["index"] = index
    return json.dumps(fields).encode()
