"""What `server.head` and `server.chunks` leave to h11: a version that does otherwise must not come in by itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import h11
import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
FIELD = "Host: x"


def first_event(*lines: str, after: bytes = b"") -> tuple[h11.Event, h11.Connection]:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data("".join(f"{line}\r\n" for line in (*lines, "")).encode("latin-1") + after)
    found = connection.next_event()
    assert not isinstance(found, type), found
    return found, connection


def refusal(*lines: str) -> int:
    """The status that it hints at."""
    with pytest.raises(h11.RemoteProtocolError) as refused:
        first_event(*lines)
    return refused.value.error_status_hint


def test_one_minor_version_is_allowed_and_it_is_the_one_that_is_tested() -> None:
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (wanted,) = [one for one in map(Requirement, named) if one.name == "h11"]
    version = h11.__version__
    major, minor, _ = version.split(".")
    assert version in wanted.specifier
    assert f"{major}.{int(minor) + 1}.0" not in wanted.specifier
    assert f"{major}.{int(minor) - 1}.99" not in wanted.specifier


@pytest.mark.parametrize(
    "lines",
    [
        ("GET / HTTP/1.1",),
        ("GET / HTTP/1.1", FIELD, FIELD),
        ("GET / HTTP/1.0", FIELD, "Host: y"),
        ("GET  / HTTP/1.1", FIELD),
        ("GET / HTTP/1.1 ", FIELD),
        ("G(T / HTTP/1.1", FIELD),
        ("GET / HTTP/11", FIELD),
        ("GET /\x7f HTTP/1.1", FIELD),
        ("GET / HTTP/1.1", FIELD, "X : y"),
        ("GET / HTTP/1.1", FIELD, " X: y", "x"),
        ("GET / HTTP/1.1", FIELD, "X(: y"),
        ("GET / HTTP/1.1", FIELD, ": y"),
        ("GET / HTTP/1.1", FIELD, "X: \x00"),
        ("GET / HTTP/1.1", FIELD, "no colon"),
        ("POST / HTTP/1.1", FIELD, "Content-Length: +1"),
        ("POST / HTTP/1.1", FIELD, "Content-Length: 1 1"),
        ("POST / HTTP/1.1", FIELD, "Content-Length:"),
        ("POST / HTTP/1.1", FIELD, "Content-Length: 1", "Content-Length: 2"),
        ("POST / HTTP/1.1", FIELD, "Content-Length: " + "1" * 21),
    ],
)
def test_it_refuses_what_our_code_does_not_look_at(lines: tuple[str, ...]) -> None:
    assert refusal(*lines) == 400


@pytest.mark.parametrize("value", ["gzip", "gzip, chunked", "", "xchunked", "chunked, chunked"])
def test_it_reads_no_other_coding_and_says_so_by_501(value: str) -> None:
    assert refusal("POST / HTTP/1.1", FIELD, f"Transfer-Encoding: {value}") == 501
    assert refusal("POST / HTTP/1.1", FIELD, "Transfer-Encoding: chunked", f"Transfer-Encoding: {value}") == 501


def test_names_are_in_small_letters_and_values_without_white_space_around() -> None:
    request, _ = first_event("GET /a?b HTTP/1.1", FIELD, "X-A: \t b\tc \t", "x-a: \xe9")
    assert isinstance(request, h11.Request)
    assert (request.method, request.target, request.http_version) == (b"GET", b"/a?b", b"1.1")
    assert list(request.headers) == [(b"host", b"x"), (b"x-a", b"b\tc"), (b"x-a", b"\xe9")]


def test_a_folded_line_and_a_repeated_length_leave_fewer_fields_than_lines() -> None:
    """By this `head` tells them, and refuses both."""
    for lines in (("X: a", " b"), ("Content-Length: 1", "Content-Length: 1")):
        request, _ = first_event("POST / HTTP/1.1", FIELD, *lines)
        assert isinstance(request, h11.Request)
        assert len(request.headers) == 2


CHUNKED = ("POST / HTTP/1.1", FIELD, "Transfer-Encoding: chunked")


def read_chunks(body: bytes) -> tuple[bytes, h11.EndOfMessage, bytes]:
    """The body, its end, and what follows."""
    _, connection = first_event(*CHUNKED, after=body)
    found = b""
    while isinstance(event := connection.next_event(), h11.Data):
        found += event.data
    assert isinstance(event, h11.EndOfMessage), event
    return found, event, connection.trailing_data[0]


def test_chunks_are_joined_the_trailer_is_told_and_what_follows_is_left() -> None:
    found, end, rest = read_chunks(b"2\r\nbo\r\n2;x=y\r\ndy\r\n0\r\nX-Sum: 1\r\n\r\nGET /")
    assert (found, list(end.headers), rest) == (b"body", [(b"x-sum", b"1")], b"GET /")


@pytest.mark.parametrize("body", [b"1\r\nxy\r\n0\r\n\r\n", b"1\r\nx\n0\r\n\r\n", b"0\r\nno colon\r\n\r\n"])
def test_a_chunk_that_is_longer_than_its_size_and_a_bad_trailer_are_refused(body: bytes) -> None:
    with pytest.raises(h11.RemoteProtocolError):
        read_chunks(body)


def test_the_lock_files_have_the_version_that_is_tested() -> None:
    for name in ("requirements.lock", "requirements-saas.lock"):
        assert re.findall(r"^h11==(\S+)", (ROOT / name).read_text(), re.MULTILINE) == [h11.__version__], name
