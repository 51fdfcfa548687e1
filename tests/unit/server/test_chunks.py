"""Where a body in chunks ends, and what it says."""

from __future__ import annotations

import pytest

from sidecar.api.reply import API
from sidecar.server.chunks import CHUNK_LINE_BYTES_MAX
from sidecar.server.http_error import BAD_REQUEST, HEADERS_TOO_LARGE, HttpError
from sidecar.server.limits import Limits
from sidecar.server.request import Request, RequestReader

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def body(data: bytes) -> bytes | HttpError | None:
    reader = RequestReader(Limits(), API)
    reader.buffer += HEAD + data
    found = reader.take()
    return found.read_body() if isinstance(found, Request) else found


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"0\r\n\r\n", b""),
        (b"000\r\n\r\n", b""),
        (b"2\r\nab\r\nA\r\n0123456789\r\n0\r\n\r\n", b"ab0123456789"),
        (b"1;a\r\nx\r\n0;b=c\r\n\r\n", b"x"),
        (b'1;a="b;\\"c" ; d = e\r\nx\r\n0\r\n\r\n', b"x"),
        (b"1\r\nx\r\n0\r\nX-A: b\r\nX-A: c\r\n\r\n", b"x"),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
    ],
)
def test_a_body_is_what_is_in_its_chunks(data: bytes, expected: bytes) -> None:
    assert body(data) == expected


@pytest.mark.parametrize(
    "data",
    [
        b"1 \r\nx\r\n0\r\n\r\n",
        b"1 ;a\r\nx\r\n0\r\n\r\n",
        b"1;a \r\nx\r\n0\r\n\r\n",
        b"1;\r\nx\r\n0\r\n\r\n",
        b"1;a=\r\nx\r\n0\r\n\r\n",
        b'1;a="b\r\nx\r\n0\r\n\r\n',
        b"1;a=b c\r\nx\r\n0\r\n\r\n",
        b"1\nx\r\n0\r\n\r\n",
        b"1\r\nxy0\r\n\r\n",
        b"-1\r\nx\r\n0\r\n\r\n",
        b"1" * 17 + b"\r\n",
        b"1;a" + b"a" * CHUNK_LINE_BYTES_MAX,
        b"1;a" + b"a" * CHUNK_LINE_BYTES_MAX + b"\r\nx\r\n0\r\n\r\n",
        b"0\r\nX-A\r\n\r\n",
        b"0\r\nX-A: b\r\n c\r\n\r\n",
        b"0\r\nX-A: b\x01\r\n\r\n",
        b"0\r\nX-A: b\nX-B: c\r\n\r\n",
        b"0\r\nContent-Length: 1\r\n\r\n",
        b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"0\r\nHost: x\r\n\r\n",
        b"0\r\nAuthorization: x\r\n\r\n",
        b"0\r\nTE: x\r\n\r\n",
        b"0\r\nTrailer: x\r\n\r\n",
        b"0\r\nContent-Type: a\r\nContent-Type: a\r\n\r\n",
    ],
)
def test_what_another_reader_may_see_otherwise_is_refused(data: bytes) -> None:
    assert body(data) == BAD_REQUEST


def test_a_trailer_has_the_limits_of_a_head() -> None:
    assert body(b"0\r\n" + b"X: 1\r\n" * 64 + b"\r\n") == b""
    assert body(b"0\r\n" + b"X: 1\r\n" * 65 + b"\r\n") == HEADERS_TOO_LARGE
    assert body(b"0\r\nX: " + b"a" * 8_185 + b"\r\n\r\n") == b""
    assert body(b"0\r\nX: " + b"a" * 8_186 + b"\r\n\r\n") == HEADERS_TOO_LARGE
