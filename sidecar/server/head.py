"""Read the head of a request: h11 says what is in it, and some of what h11 lets pass is refused here.

Invariants:
- h11 parses. What is added only refuses, or chooses between two statuses of a refusal.
- Each line is a field of its own: h11 joins folded lines, and drops a length that is repeated.
- A field whose name has an underscore is dropped: in the WSGI environ it could not be told from one with a hyphen.
- The target is the client's; the path never: it starts with a slash, and no header changes it.
- An unknown minor version is read, and answered, as 1.1.
- A connection of HTTP/1.0 persists where its one `Connection` field says `keep-alive` and nothing else.

Sources: RFC 9110, sections 5.3, 5.5, 6.5.1 and 10.1.1; RFC 9112 (HTTP/1.1), sections 2.2, 2.3, 3, 5.2, 6 and 9.3.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

import h11

from sidecar.server.http_error import (
    BAD_REQUEST,
    EXPECTATION_FAILED,
    HEADERS_TOO_LARGE,
    UNSUPPORTED_TRANSFER_CODING,
    URI_TOO_LONG,
    HttpError,
)
from sidecar.server.limits import Limits

FORBIDDEN: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|(?<!\r)\n|\r[^\n]")
"""Control characters but the tab, and line ends of one byte. h11 takes a LF for the end of a line, and lets most of the
others stand in a value."""
METHOD: Final = re.compile(rb"[^a-z#]{3,20}")
"""Every registered method is of capital letters; h11 checks that it is a token."""
NEWEST: Final = (1, 1)
CODINGS: Final = (b"chunked", b"identity", b"gzip", b"compress", b"deflate")


class RequestHead:
    """What the head of a request says."""

    __slots__ = (
        "chunked",
        "close",
        "continue_expected",
        "headers",
        "length",
        "method",
        "path",
        "query",
        "target",
        "version",
    )

    def __init__(self, method: str, target: str, version: tuple[int, int]) -> None:
        self.method = method
        self.target = target
        """As the client sent it."""
        self.version = version
        self.path = self.query = ""
        self.headers: list[tuple[str, str]] = []
        """Names in capitals, values in Latin-1, in order. Names may repeat."""
        self.length = 0
        """The length that is announced."""
        self.chunked = False
        self.continue_expected = False
        self.close = False
        """The client wants no second request on the connection, or could not send one."""


def field_lines(block: bytes, limits: Limits) -> Sequence[bytes] | HttpError:
    """Return the lines of a block of fields, or why it is not read. `block`: with its empty line, nothing forbidden."""
    lines = block.split(b"\r\n")[:-2]
    if len(lines) > limits.header_fields_max or any(len(one) + 2 > limits.header_field_bytes_max for one in lines):
        return HEADERS_TOO_LARGE
    return lines


def read_head(data: bytes, limits: Limits) -> tuple[RequestHead, h11.Connection] | HttpError:
    """Return what a head says, and what reads a body in chunks; or why it is refused. `data`: with its empty line."""
    data = data.removeprefix(b"\r\n")
    if FORBIDDEN.search(data):
        return BAD_REQUEST
    line, _, rest = data.partition(b"\r\n")
    if len(line) > limits.request_line_bytes_max:
        return URI_TOO_LONG
    lines = field_lines(rest, limits)
    if isinstance(lines, HttpError):
        return lines
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        request = connection.next_event()
    except h11.RemoteProtocolError as error:
        return _coding_refusal(lines) if error.error_status_hint == UNSUPPORTED_TRANSFER_CODING.status else BAD_REQUEST
    if not isinstance(request, h11.Request) or not METHOD.fullmatch(request.method):
        return BAD_REQUEST
    major, minor = request.http_version.split(b".")
    if major != b"1":
        return BAD_REQUEST
    head = RequestHead(request.method.decode(), request.target.decode(), min((1, int(minor)), NEWEST))
    refusal = _split_target(head) or _take_fields(head, request.headers, lines)
    return refusal or (head, connection)


def _split_target(head: RequestHead) -> HttpError | None:
    target = head.target
    try:
        # urlsplit takes what follows two slashes for a host; the path of a target in origin form may begin so.
        parts = urlsplit(f".{target}" if target.startswith("//") else target)
    except ValueError:
        return BAD_REQUEST
    # A target in absolute form without a path names the root; CONNECT names no path at all.
    head.path = (parts.path[1:] if target.startswith("//") else parts.path) or "/"
    head.query = parts.query
    if target == "*":
        return None if head.method == "OPTIONS" else BAD_REQUEST
    in_form = target.startswith("/") or "://" in target or head.method == "CONNECT"
    return None if in_form and head.path.startswith("/") else BAD_REQUEST


def _take_fields(head: RequestHead, fields: Sequence[tuple[bytes, bytes]], lines: Sequence[bytes]) -> HttpError | None:
    names = [name for name, _ in fields]
    if len(names) != len(lines) or names.count(b"content-type") > 1:
        return BAD_REQUEST
    connections: list[str] = []
    for (name, value), line in zip(fields, lines, strict=True):
        text = value.decode("latin-1")
        if name == b"connection":
            connections.append(text.lower())
        elif name == b"expect":
            if text.lower() != "100-continue":
                return EXPECTATION_FAILED
            head.continue_expected = head.version >= NEWEST  # one of HTTP/1.0 is ignored
        elif name == b"content-length":
            if b"," in line:
                return BAD_REQUEST
            head.length = int(value)
        elif name == b"transfer-encoding":
            head.chunked = True  # h11 reads no other coding
        if b"_" not in name:
            head.headers.append((name.decode().upper(), text))
    if head.version >= NEWEST and b"host" not in names:  # h11 asks for one in a request of 1.1 alone
        return BAD_REQUEST
    if head.chunked and (b"content-length" in names or head.version < NEWEST):
        return BAD_REQUEST
    persists = head.version >= NEWEST or connections == ["keep-alive"]
    closes = any(option.strip() == "close" for value in connections for option in value.split(","))
    head.close = closes or not persists or head.method == "CONNECT"
    return None


def _coding_refusal(lines: Sequence[bytes]) -> HttpError:
    """Return why this transfer coding is refused: 400 where it leaves open where the body ends, otherwise 501."""
    codings = [
        coding.strip(b" \t").lower()
        for name, _, value in (line.partition(b":") for line in lines)
        if name.lower() == b"transfer-encoding"
        for coding in value.split(b",")
    ]
    ends = codings[-1:] == [b"chunked"] and codings.count(b"chunked") == 1
    return UNSUPPORTED_TRANSFER_CODING if ends or not set(codings) <= set(CODINGS) else BAD_REQUEST
