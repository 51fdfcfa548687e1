"""What a head says, and which heads are refused."""

from __future__ import annotations

import h11
import pytest

from sidecar.server.head import RequestHead, read_head
from sidecar.server.http_error import (
    BAD_REQUEST,
    EXPECTATION_FAILED,
    HEADERS_TOO_LARGE,
    UNSUPPORTED_TRANSFER_CODING,
    URI_TOO_LONG,
    HttpError,
)
from sidecar.server.limits import Limits


def read(line: str, *fields: str) -> RequestHead | HttpError:
    text = "".join(f"{one}\r\n" for one in (line, *fields)) + "\r\n"
    found = read_head(text.encode("latin-1"), Limits())
    return found if isinstance(found, HttpError) else found[0]


def head(line: str, *fields: str) -> RequestHead:
    found = read(line, *fields)
    assert isinstance(found, RequestHead), found
    return found


def test_a_head_says_what_the_client_sent() -> None:
    found = head("POST /v1/usage?a=b HTTP/1.1", "Host: x", "content-length: 7", "X-A:  b\tc ", "x-a: \xe9")
    assert (found.method, found.target, found.path, found.query) == ("POST", "/v1/usage?a=b", "/v1/usage", "a=b")
    assert (found.version, found.length, found.chunked, found.close) == ((1, 1), 7, False, False)
    assert found.headers == [("HOST", "x"), ("CONTENT-LENGTH", "7"), ("X-A", "b\tc"), ("X-A", "\xe9")]


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/", "/", ""),
        ("//x/y?z", "//x/y", "z"),
        ("http://x", "/", ""),
        ("http://x?q", "/", "q"),
        ("https://x:1/y", "/y", ""),
        ("/a#b", "/a", ""),
        ("/%2e%2e/", "/%2e%2e/", ""),
    ],
)
def test_a_path_starts_with_a_slash(target: str, path: str, query: str) -> None:
    found = head(f"GET {target} HTTP/1.1", "Host: x")
    assert (found.target, found.path, found.query) == (target, path, query)


@pytest.mark.parametrize("target", ["x", "x:80", "*", "http:x", "mailto:a", "http://[x/", "?a", "\xe9", "/\xe9"])
def test_a_target_in_no_form_is_refused(target: str) -> None:
    assert read(f"GET {target} HTTP/1.1", "Host: x") == BAD_REQUEST


def test_an_asterisk_is_a_target_of_options_alone() -> None:
    assert head("OPTIONS * HTTP/1.1", "Host: x").target == "*"
    assert read("CONNECT x:80 HTTP/1.1", "Host: x") == BAD_REQUEST


@pytest.mark.parametrize(("version", "seen"), [("1.0", (1, 0)), ("1.1", (1, 1)), ("1.2", (1, 1)), ("1.9", (1, 1))])
def test_an_unknown_minor_version_is_read_as_1_1(version: str, seen: tuple[int, int]) -> None:
    assert head(f"GET / HTTP/{version}", "Host: x").version == seen


@pytest.mark.parametrize("version", ["0.9", "2.0", "3.1", "1.10", "1", "1.\xb2", "11.1"])
def test_another_major_version_is_refused(version: str) -> None:
    assert read(f"GET / HTTP/{version}", "Host: x") == BAD_REQUEST


@pytest.mark.parametrize("version", ["1.1", "1.2", "1.9"])
def test_each_version_from_1_1_on_names_a_host(version: str) -> None:
    assert read(f"GET / HTTP/{version}") == BAD_REQUEST
    assert isinstance(read("GET / HTTP/1.0"), RequestHead)


@pytest.mark.parametrize("method", ["get", "GEt", "GE", "G#T", "A" * 21, "G(T"])
def test_a_method_that_none_has_registered_is_refused(method: str) -> None:
    assert read(f"{method} / HTTP/1.1", "Host: x") == BAD_REQUEST


@pytest.mark.parametrize(
    "fields",
    [
        ("Content-Length: 1", "Content-Length: 1"),
        ("Content-Length: 1, 1",),
        ("Content-Length: 1", "Transfer-Encoding: chunked"),
        ("Content-Length: " + "0" * 21,),
        ("Content-Length:",),
        ("Content-Type: a", "Content-Type: a"),
        ("X-A: 1", " 2"),
        ("X-A: 1\x01",),
        ("X-A: 1\x7f",),
        ("X-A: 1\r2",),
        ("X-A: 1\n2",),
        ("X-A: 1\nX-B: 2",),
        ("X-A : 1",),
        (": 1",),
        ("X-A",),
        ("Host: y",),
    ],
)
def test_fields_that_another_reader_may_see_otherwise_are_refused(fields: tuple[str, ...]) -> None:
    assert read("POST / HTTP/1.1", "Host: x", *fields) == BAD_REQUEST


def test_h11_alone_would_let_some_of_them_pass() -> None:
    """So that it is known what the additions are for."""
    for fields in ("Content-Length: 1\r\nContent-Length: 1", "Content-Length: 1, 1", "X-A: 1\r\n 2", "X-A: 1\x01"):
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(f"POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n".encode())
        assert isinstance(connection.next_event(), h11.Request), fields


def test_a_field_whose_name_has_an_underscore_is_dropped() -> None:
    found = head("GET / HTTP/1.1", "Host: x", "X_Forwarded_For: 1", "Content_Length: 9")
    assert found.headers == [("HOST", "x")]
    assert found.length == 0


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        (("Transfer-Encoding: br",), UNSUPPORTED_TRANSFER_CODING),
        (("Transfer-Encoding: gzip, chunked",), UNSUPPORTED_TRANSFER_CODING),
        (("Transfer-Encoding: gzip", "Transfer-Encoding: chunked"), UNSUPPORTED_TRANSFER_CODING),
        (("Transfer-Encoding:",), UNSUPPORTED_TRANSFER_CODING),
        (("Transfer-Encoding: gzip",), BAD_REQUEST),
        (("Transfer-Encoding: chunked, gzip",), BAD_REQUEST),
        (("Transfer-Encoding: chunked, chunked",), BAD_REQUEST),
    ],
)
def test_a_coding_is_501_where_it_is_unknown_and_400_where_the_end_is(
    fields: tuple[str, ...], refusal: HttpError
) -> None:
    assert read("POST / HTTP/1.1", "Host: x", *fields) == refusal


def test_chunks_belong_to_1_1() -> None:
    assert head("POST / HTTP/1.1", "Host: x", "Transfer-Encoding: CHUNKED").chunked
    assert read("POST / HTTP/1.0", "Transfer-Encoding: chunked") == BAD_REQUEST


@pytest.mark.parametrize(
    ("version", "fields", "close"),
    [
        ("1.1", (), False),
        ("1.1", ("Connection: close",), True),
        ("1.1", ("Connection: TE, Close",), True),
        ("1.1", ("Connection: keep-alive", "Connection: close"), True),
        ("1.1", ("Connection: closed",), False),
        ("1.0", (), True),
        ("1.0", ("Connection: Keep-Alive",), False),
        ("1.0", ("Connection: keep-alive, close",), True),
        ("1.0", ("Connection: keep-alive, TE",), True),
        ("1.0", ("Connection: keep-alive", "Connection: keep-alive"), True),
        ("1.0", ("Connection: TE", "Connection: keep-alive"), True),
    ],
)
def test_a_connection_closes_where_any_option_says_so(version: str, fields: tuple[str, ...], close: bool) -> None:
    assert head(f"GET / HTTP/{version}", "Host: x", *fields).close is close


@pytest.mark.parametrize(("version", "expected"), [("1.0", False), ("1.1", True), ("1.2", True)])
def test_to_continue_is_expected_from_1_1_on(version: str, expected: bool) -> None:
    assert head(f"POST / HTTP/{version}", "Host: x", "Expect: 100-Continue").continue_expected is expected


@pytest.mark.parametrize("value", ["", "tea", "100-continue, tea"])
def test_another_expectation_is_not_met(value: str) -> None:
    assert read("POST / HTTP/1.1", "Host: x", f"Expect: {value}") == EXPECTATION_FAILED


def test_limits_are_those_of_line_fields_and_field() -> None:
    limits = Limits()
    line = "GET /" + "a" * (limits.request_line_bytes_max - len("GET / HTTP/1.1")) + " HTTP/1.1"
    assert isinstance(read(line, "Host: x"), RequestHead)
    assert read(line.replace("a", "aa", 1), "Host: x") == URI_TOO_LONG
    field = "X: " + "a" * (limits.header_field_bytes_max - len("X: \r\n"))
    assert isinstance(read("GET / HTTP/1.1", "Host: x", field), RequestHead)
    assert read("GET / HTTP/1.1", "Host: x", field + "a") == HEADERS_TOO_LARGE
    many = ["X: 1"] * (limits.header_fields_max - 1)
    assert isinstance(read("GET / HTTP/1.1", "Host: x", *many), RequestHead)
    assert read("GET / HTTP/1.1", "Host: x", *many, "X: 1") == HEADERS_TOO_LARGE


@pytest.mark.parametrize(
    "data",
    [
        b"POST / HTTP/1.0\n\r\n\r\n",
        b"GET / HTTP/1.0\nHost: x\r\n\r\n",
        b"GET / HTTP/1.0\n\nGET / HTTP/1.0\r\n\r\n",
        b"GET / HTTP/1.0\r\r\n\r\n",
        b"\nGET / HTTP/1.0\r\n\r\n",
    ],
)
def test_no_line_of_a_head_ends_with_one_byte(data: bytes) -> None:
    assert read_head(data, Limits()) == BAD_REQUEST


def test_one_empty_line_may_come_first() -> None:
    data = b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"
    assert not isinstance(read_head(data, Limits()), HttpError)
    assert read_head(b"\r\n" + data, Limits()) == BAD_REQUEST
