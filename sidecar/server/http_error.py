"""Define every refusal of the HTTP server itself.

Invariants:
- No error repeats a byte the client sent, but for the name of a content coding.

Sources: RFC 9110, section 15 (status codes); RFC 9112.
"""

from __future__ import annotations

from typing import Final

from sidecar.quick_dataclasses import dataclass


@dataclass(frozen=True)
class HttpError:
    """A request that is not served, as the problem document shows it."""

    status: int
    reason: str
    detail: str
    headers: tuple[tuple[str, str], ...] = ()
    """Headers of the response, besides the usual ones."""


BAD_REQUEST: Final = HttpError(400, "bad_request", "The request is not valid HTTP/1.1.")
BODY_TOO_LARGE: Final = HttpError(413, "body_too_large", "The body is longer than this listener reads.")
CODING_MALFORMED: Final = HttpError(400, "bad_request", "The body is not what its Content-Encoding says.")
URI_TOO_LONG: Final = HttpError(414, "uri_too_long", "The request line is too long.")
EXPECTATION_FAILED: Final = HttpError(417, "expectation_failed", "The only expectation met here is 100-continue.")
HEADERS_TOO_LARGE: Final = HttpError(431, "headers_too_large", "The header fields are too long or too many.")
UNSUPPORTED_TRANSFER_CODING: Final = HttpError(
    501, "unsupported_transfer_coding", "The only transfer coding read here is chunked."
)


def unsupported_coding(name: str) -> HttpError:
    """Return the refusal of a content coding. `name`: empty where it cannot stand in a message."""
    which = f"Content-Encoding is {name}" if name else "Content-Encoding names no known coding"
    detail = f"{which}; what is read here is gzip, deflate or a plain body."
    return HttpError(415, "unsupported_content_coding", detail, (("Accept-Encoding", "gzip, deflate"),))
