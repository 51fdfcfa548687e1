"""The environ, and the response that an application gives. Compared with gunicorn's, where both have one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import wsgi as gunicorn_wsgi
from gunicorn.http.parser import RequestParser

from sidecar.api.reply import LISTENER
from sidecar.server import wsgi
from sidecar.server.head import RequestHead, read_head
from sidecar.server.http_error import HttpError
from sidecar.server.limits import Limits
from sidecar.server.wsgi import AnswerTooLarge, InvalidAnswer, Response, ShortAnswer, environ_of

CLIENT, SERVER = ("10.0.0.1", 1234), ("10.0.0.2", 8485)
HEADS = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET //a/%C3%A4%2Fb;c?d=%20e&f#g HTTP/1.1\r\nHost: x:1\r\nX-A: 1\r\nx-a: 2\r\nX-A: 3\r\n\r\n",
    b"POST http://y/z?q HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\nContent-Length: 0\r\nX_B: c\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 1.1.1.1\r\nX-Forwarded-Proto: https\r\n\r\n",
    b"HEAD / HTTP/1.0\r\nScript-Name: /x\r\nX-Latin: \xe9\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n",
]


def head_of(data: bytes) -> RequestHead:
    found = read_head(data, Limits())
    assert not isinstance(found, HttpError), found
    return found[0]


class Sent:
    """What gunicorn takes for a socket."""

    def __init__(self) -> None:
        self.data = b""

    def sendall(self, data: bytes) -> None:
        self.data += data

    def send(self, data: bytes) -> int:
        self.sendall(data)
        return len(data)


def by_gunicorn(data: bytes, sock: Sent) -> tuple[Any, dict[str, Any]]:
    message = next(RequestParser(Config(), iter([data]), CLIENT))
    message._expected_100_continue = False
    message.path = message.path or "/"
    found: tuple[Any, dict[str, Any]] = gunicorn_wsgi.create(message, sock, CLIENT, SERVER, Config())
    return found


@pytest.mark.parametrize("data", HEADS)
def test_the_environ_is_gunicorns(data: bytes) -> None:
    theirs = {name: value for name, value in by_gunicorn(data, Sent())[1].items() if isinstance(value, str)}
    ours = environ_of(head_of(data), "api", CLIENT, SERVER)
    assert ours[LISTENER] == "api"
    assert theirs.pop("SERVER_SOFTWARE").startswith("gunicorn")
    assert {name: value for name, value in ours.items() if isinstance(value, str) and name != LISTENER} == theirs


def test_the_environ_has_what_pep_3333_wants() -> None:
    found = environ_of(head_of(HEADS[0]), "probe", CLIENT, SERVER)
    assert found["wsgi.version"] == (1, 0)
    assert (found["wsgi.multithread"], found["wsgi.multiprocess"], found["wsgi.run_once"]) == (True, False, False)
    assert found["wsgi.input"].read() == b""
    found["wsgi.errors"].write("")


def app_of(
    status: str, headers: list[tuple[str, str]], *parts: bytes
) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start(status, headers)
        return parts

    return app


def answered(app: Any, data: bytes = HEADS[0], *, close: bool = False, bytes_max: int = 1 << 20) -> bytes:
    response = Response(head_of(data), bytes_max)
    response.run(app, {})
    return b"".join(response.finished(close=close))


def undated(data: bytes) -> bytes:
    found, count = re.subn(rb"Date: [A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT\r\n", b"", data)
    assert count == 1, data
    return found


@pytest.mark.parametrize("data", HEADS[:-1])
@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK", [("Content-Length", "4"), ("X-A", " b ")]),
        ("404 Not Found", [("content-length", "4"), ("Set-Cookie", "a"), ("Set-Cookie", "b")]),
        ("200 OK", [("Content-Length", "4"), ("Connection", "close"), ("Keep-Alive", "9"), ("Date", "now")]),
        ("204 No Content", [("Content-Length", "4"), ("X-A", "b")]),
        ("304 Not Modified", [("Content-Length", "4"), ("ETag", '"a"')]),
    ],
)
def test_the_response_is_gunicorns_without_the_name_of_the_server(
    data: bytes, status: str, headers: list[tuple[str, str]]
) -> None:
    sock = Sent()
    response, _ = by_gunicorn(data, sock)
    response.start_response(status, headers)
    response.write(b"bo")
    response.write(b"dy and more")
    theirs = re.sub(rb"Server: [^\r]*\r\n", b"", undated(sock.data))
    ours = answered(app_of(status, headers, b"bo", b"dy and more"), data, close=response.should_close())
    assert undated(ours) == theirs


def test_a_length_that_is_not_announced_is() -> None:
    assert answered(app_of("200 OK", [], b"a", b"", b"bc")).endswith(b"\r\nContent-Length: 3\r\n\r\nabc")
    assert answered(app_of("200 OK", [])).endswith(b"\r\nContent-Length: 0\r\n\r\n")
    assert b"Content-Length" not in answered(app_of("200 OK", []), HEADS[4])
    assert b"Content-Length" not in answered(app_of("204 No Content", []))


def test_what_is_written_counts_as_well_as_what_is_returned() -> None:
    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("200 OK", [])(b"first ")
        return [b"then"]

    assert answered(app).endswith(b"Content-Length: 10\r\n\r\nfirst then")


def test_what_is_started_again_with_an_exception_replaces_what_was_started() -> None:
    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("200 OK", [("X-A", "b"), ("Content-Length", "9")])
        start("500 Internal Server Error", [("X-C", "d")], (None, None, None))
        return [b"sorry"]

    data = answered(app)
    assert data.startswith(b"HTTP/1.1 500 ")
    assert b"X-A" not in data
    assert data.endswith(b"X-C: d\r\nContent-Length: 5\r\n\r\nsorry")


def test_what_was_written_before_it_is_started_again_is_not_sent() -> None:
    """PEP 3333: it raises where headers were sent. Here none are, before the application has ended."""

    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("200 OK", [("Content-Length", "90")])(b"x" * 90)
        write = start("500 Internal Server Error", [], (None, None, None))
        write(b"very ")
        return [b"sorry"]

    head, _, body = answered(app, bytes_max=200).partition(b"\r\n\r\n")
    assert body == b"very sorry"
    assert b"Content-Length: 10" in head


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("5000 Error", []),
        ("500 Error", [("X-C", "d"), ("X", "a\r\nb")]),
        ("500 Error", [("Content-Length", "1"), ("Content-Length", "1")]),
    ],
)
def test_what_is_refused_replaces_nothing(status: str, headers: list[tuple[str, str]]) -> None:
    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        start("200 OK", [("X-A", "b"), ("Content-Length", "8")])(b"writ")
        with pytest.raises(InvalidAnswer):
            start(status, headers, (None, None, None))
        return [b"ten"]

    data = answered(lambda environ, start: [*app(environ, start), b"!"])
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert data.endswith(b"X-A: b\r\nContent-Length: 8\r\n\r\nwritten!")


@pytest.mark.parametrize(("status", "headers"), [("20 OK", []), ("200 OK", [("X", "a\r\nb")])])
def test_what_is_refused_starts_nothing(status: str, headers: list[tuple[str, str]]) -> None:
    def app(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        with pytest.raises(InvalidAnswer):
            start(status, headers)
        start("404 Not Found", [])
        return [b"none"]

    assert answered(app).endswith(b"\r\nContent-Length: 4\r\n\r\nnone")


def started_twice(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
    start("200 OK", [])
    start("200 OK", [])
    return []


@pytest.mark.parametrize(
    ("app", "error"),
    [
        (started_twice, InvalidAnswer),
        (lambda environ, start: [], ShortAnswer),
        (lambda environ, start: [b"x"], ShortAnswer),
        (app_of("200 OK", [("Content-Length", "9")], b"short"), ShortAnswer),
        (app_of("20 OK", []), InvalidAnswer),
        (app_of("200 OK\r\nX: y", []), InvalidAnswer),
        (app_of("200 OK", [("X", "a\r\nb")]), InvalidAnswer),
        (app_of("200 OK", [("X", "a\x00")]), InvalidAnswer),
        (app_of("200 OK", [("X:", "a")]), InvalidAnswer),
        (app_of("200 OK", [("", "a")]), InvalidAnswer),
        (app_of("200 OK", [("Content-Length", "x")]), InvalidAnswer),
        (app_of("200 OK", [("Content-Length", "1_0")], b"x" * 10), InvalidAnswer),
        (app_of("200 OK", [("Content-Length", "+1")], b"x"), InvalidAnswer),
        (app_of("200 OK", [("Content-Length", "1"), ("content-length", "2")], b"xx"), InvalidAnswer),
        (app_of("200 OK", [("Content-Length", "1"), ("Content-Length", "1")], b"x"), InvalidAnswer),
        (app_of("204 No Content", [("Content-Length", "0"), ("Content-Length", "0")]), InvalidAnswer),
        (app_of("200 OK", [], "text"), InvalidAnswer),  # type: ignore[arg-type]
        (app_of("200 OK", [], b"x" * 101), AnswerTooLarge),
        (app_of("200 OK", [], b"x" * 90), AnswerTooLarge),  # with its head
    ],
)
def test_what_cannot_be_a_response_is_none(app: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        answered(app, bytes_max=100)


def test_an_iterable_is_closed_also_where_it_raises() -> None:
    class Parts:
        closed = 0

        def __iter__(self) -> Any:
            yield b"x"
            raise KeyError

        def close(self) -> None:
            self.closed += 1

    parts = Parts()

    def app(environ: dict[str, Any], start: Any) -> Any:
        start("200 OK", [])
        return parts

    with pytest.raises(KeyError):
        answered(app)
    assert parts.closed == 1


def test_a_path_is_unquoted_to_bytes() -> None:
    assert wsgi.unquoted("/%C3%A4%2f+") == "/\xc3\xa4/+"
