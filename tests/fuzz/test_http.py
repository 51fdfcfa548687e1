"""What the application receives through a socket is compared, and each mistake of the server's code is found.

Two of the mistakes are h11's: it reads for the sidecar, so it is no independent witness of what it reads.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from typing import Any

import h11
import pytest
from h11 import _headers as h11_headers

from sidecar.api.reply import API, PROBE
from sidecar.server import chunks, head
from sidecar.server.chunks import ChunkedBody
from sidecar.server.connection import Connection
from sidecar.server.dispatcher import RequestDispatcher
from sidecar.server.event_loop import EventLoop
from sidecar.server.request import RequestReader
from sidecar.server.response import HttpExchange

from . import http_socket, http_target
from .__main__ import CORPUS
from .broken import with_mistake
from .http_socket import CLOSED, Read, WrongResponse
from .http_target import Disagreement

PLAIN = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n0\r\n\r\n"
CLOSING = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
PUSH = b"POST /v1/usage HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nbo"
BAD_TRAILER = CHUNKED[:-2] + b"no: trailer\0\r\n\r\n"
HOST = ("HTTP_HOST", "x")
GET = Read("GET", "/", b"", "/", (HOST,))
POST = Read("POST", "/", b"bo", "/", (HOST, ("HTTP_TRANSFER_ENCODING", "chunked")))
PUSHED = Read("POST", "/v1/usage", b"bo", None, None)


@pytest.fixture(autouse=True)
def server() -> Iterator[None]:
    """A server of each test's own: a mistake may leave a connection behind."""
    http_socket.server.cache_clear()
    yield
    http_socket.server.cache_clear()


def test_all_three_read_each_request_of_a_connection() -> None:
    data = PLAIN + CHUNKED + b"\r\n" + PLAIN
    readings = [read(data) for read in (http_target.sidecar, http_target.other, http_target.gunicorn)]
    assert readings == [(GET, POST, GET, None)] * 3
    http_target.run(data)


@pytest.mark.parametrize("listener", [API, PROBE])
@pytest.mark.parametrize("cuts", [(), (7,), (20, 21, 60), range(1, len(PLAIN + CHUNKED))])
def test_the_application_receives_each_request_in_order(listener: str, cuts: tuple[int, ...]) -> None:
    assert http_socket.exchange(PLAIN + CHUNKED, cuts, listener) == ((GET, POST), None)


def test_of_a_push_the_application_receives_the_body() -> None:
    assert http_socket.exchange(PUSH + PLAIN + PUSH, (), API) == ((PUSHED, GET, PUSHED), None)


def test_nothing_is_received_after_a_request_that_closes() -> None:
    assert http_target.sidecar(CLOSING + PLAIN) == (GET._replace(fields=(("HTTP_CONNECTION", "close"), HOST)),)
    assert len(http_socket.exchange(CLOSING + PLAIN, (), API).requests) == 1
    assert http_socket.exchange(CLOSING + PLAIN, (len(CLOSING),), API).end == CLOSED


def test_nothing_is_received_after_a_body_that_is_refused() -> None:
    assert http_target.sidecar(BAD_TRAILER + PLAIN) == ("bad_request",)
    assert http_socket.exchange(BAD_TRAILER + PLAIN, (), API) == ((), "bad_request")


def test_a_foreign_host_is_refused_on_the_products_listener_alone() -> None:
    foreign = PLAIN.replace(b"x", b"foreign.example")
    assert http_socket.exchange(foreign, (), API) == ((), "host_refused")
    assert len(http_socket.exchange(foreign, (), PROBE).requests) == 1


def test_inputs_go_to_both_listeners_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, bool]] = []

    def note(data: bytes, cuts: list[int], listener: str, *, one_by_one: bool) -> None:
        del data
        seen.append((listener, len(cuts), one_by_one))

    monkeypatch.setattr(http_target, "check", note)
    for number in range(500):
        http_target.run(b"GET /%d HTTP/1.1\r\n" % number)
    listeners, pieces, one_by_one = zip(*seen, strict=True)
    assert set(listeners) == {API, PROBE}
    assert set(pieces) == {0, 1, 2, 3}
    assert 1 < sum(one_by_one) < 30


@pytest.mark.parametrize("name", ["other", "gunicorn"])
def test_what_another_parser_refuses_is_a_finding(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(http_target, name, lambda data: ("no",))
    with pytest.raises(Disagreement, match=r"request 1 is received here, but .* says 'no'"):
        http_target.run(PLAIN)


@pytest.mark.parametrize("name", ["other", "gunicorn"])
@pytest.mark.parametrize(
    "other",
    [
        {"method": "PUT"},
        {"path": "/other", "target": "/other"},
        {"target": "/?"},
        {"body": b"x"},
        {"fields": (HOST, ("HTTP_X", "1"))},
    ],
)
def test_another_second_request_is_a_finding(monkeypatch: pytest.MonkeyPatch, name: str, other: dict[str, Any]) -> None:
    monkeypatch.setattr(http_target, name, lambda data: (GET, GET._replace(**other)))
    http_target.run(PLAIN)
    with pytest.raises(Disagreement, match="request 2"):
        http_target.run(PLAIN + PLAIN)


def test_a_request_that_another_parser_does_not_see_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_target, "other", lambda data: (GET, None))
    with pytest.raises(Disagreement, match="request 2 is received here, but h11 says None"):
        http_target.run(PLAIN + PLAIN)


def test_a_request_that_single_bytes_change_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = http_target.sidecar
    monkeypatch.setattr(
        http_target, "sidecar", lambda data, cuts, listener: whole(data[1:] if cuts else data, cuts, listener)
    )
    http_target.check(PLAIN, (), API)
    with pytest.raises(Disagreement, match="one by one"):
        http_target.check(PLAIN, (), API, one_by_one=True)


Mistake = tuple[Callable[..., Any], str, str, type[AssertionError], str]
MISTAKES: dict[str, Mistake] = {
    "a body is read again, as the next request": (
        RequestReader._take_body,
        "        del self.buffer[:end]\n",
        "",
        Disagreement,
        "request 2 is received here, but h11 says None",
    ),
    "a chunk's line is not checked": (
        chunks._chunk_line,
        "CHUNK_LINE.match(data, at, at + CHUNK_LINE_BYTES_MAX)",
        r're.compile(rb"([0-9A-Fa-f]{1,16})[^\r\n]*\r\n").match(data, at)',
        Disagreement,
        "request 1 is received here, but gunicorn says",
    ),
    "the end of a chunk is not looked at": (
        chunks._joined,
        'if wire[at - 2 : at] != b"\\r\\n":',
        "if False:",
        Disagreement,
        "request 1 is received here, but h11 says",
    ),
    "a trailer is not checked": (
        ChunkedBody._trailer_refusal,
        "return BAD_REQUEST if odd else None",
        "return None",
        Disagreement,
        "request 1 is received here, but gunicorn says",
    ),
    "a line feed ends a line, and a value has control characters": (
        head.read_head,
        "FORBIDDEN.search(data)",
        "None",
        Disagreement,
        "request 1 is received here, but gunicorn says",
    ),
    "a method in small letters is read": (
        head.read_head,
        "METHOD.fullmatch(request.method)",
        "True",
        Disagreement,
        "request 1 is received here, but gunicorn says",
    ),
    "a length in a list is read": (
        head._take_fields,
        'if b"," in line:',
        "if False:",
        Disagreement,
        "request 1 is received here, but gunicorn says",
    ),
    "chunks and a length are read": (
        head._take_fields,
        'b"content-length" in names',
        "False",
        Disagreement,
        "request 1 is received here, but gunicorn says",
    ),
    "chunks are read in 1.0": (
        head._take_fields,
        "or head.version < NEWEST):",
        "or False):",
        Disagreement,
        "request 1 is received here, but gunicorn says",
    ),
    "one of several fields keeps a connection of 1.0": (
        head._take_fields,
        'connections == ["keep-alive"]',
        '"keep-alive" in connections',
        Disagreement,
        "request 2 is received here, but gunicorn says None",
    ),
    "no host is asked for": (
        head._take_fields,
        'b"host" not in names:  # h11',
        "False:  # h11",
        Disagreement,
        "request 1 is received here with 0 hosts",
    ),
    "h11 takes two hosts": (
        h11.Request.__init__,
        "if host_count > 1:",
        "if False:",
        Disagreement,
        "request 1 is received here, but gunicorn says 'InvalidHeader'",
    ),
    "no other transfer coding is refused": (
        h11_headers.normalize_and_validate,
        'value = value.lower()\n            if value != b"chunked":',
        'value = b"chunked"\n            if False:',
        Disagreement,
        "request 1 is received here, but gunicorn says|request 1 is .* by gunicorn",
    ),
    "an expectation is overlooked": (
        head._take_fields,
        "return EXPECTATION_FAILED",
        "pass",
        Disagreement,
        "request 1 is received here, but gunicorn says",
    ),
    "a name with an underscore is read as one with a hyphen": (
        head._take_fields,
        'if b"_" not in name:',
        "if True:",
        Disagreement,
        "in one piece .* cut at",
    ),
    "a head means what the one before meant": (
        RequestReader._take_head,
        "self._known.get(raw)",
        "next(iter(self._known.values()), None)",
        Disagreement,
        "request 2 is",
    ),
    "a path is changed": (
        head._split_target,
        "head.query = parts.query",
        "head.path, head.query = head.path.lower(), parts.query",
        Disagreement,
        "request [0-9] is .* by h11",
    ),
    "a byte between two pieces is lost": (
        Connection.receive,
        "memoryview(scratch)[:count]",
        "memoryview(scratch)[bool(self.reader.buffer) : count]",
        Disagreement,
        "in one piece .* cut at",
    ),
    "bytes after a response that closes are read": (
        EventLoop._flush,
        "connection.sock.shutdown(socket.SHUT_WR)\n            listener.move(connection, LINGERING, self.now)",
        "connection.close_after = False; listener.move(connection, READING, self.now)",
        WrongResponse,
        "after its last response the client receives",
    ),
    "a request that was sent ahead waits for ever": (
        EventLoop._flush,
        "self._pipelined[connection] = None",
        "pass",
        Disagreement,
        "in one piece .* cut at",
    ),
    "a response is never sent": (
        EventLoop.respond,
        "connection.close_after = response.close\n        self._flush(connection)",
        "connection.outbox.clear()",
        WrongResponse,
        "receives b'' for a response",
    ),
    "a response is sent twice": (
        EventLoop.respond,
        "connection.put(response.parts)",
        "connection.put(response.parts * 2)",
        WrongResponse,
        "comes 200",
    ),
    "a deferred reply is never given": (
        RequestDispatcher._defer,
        "self._commit_due = True",
        "pass",
        WrongResponse,
        "receives b'' for a response",
    ),
    "a deferred reply is given to nothing": (
        EventLoop.respond_later,
        "connection.phase is BUSY",
        "connection.phase is CLOSED",
        WrongResponse,
        "receives b'' for a response",
    ),
    "a body comes without its last byte": (
        HttpExchange.run,
        "io.BytesIO(body)",
        "io.BytesIO(body[:-1])",
        WrongResponse,
        "comes 500",
    ),
    "the client's end is not noticed": (
        EventLoop._read,
        "if count == 0:\n            self._close(connection)",
        "if count == 0:\n            pass",
        WrongResponse,
        "after 100 turns the connection is open",
    ),
    "a connection is closed after each response": (
        EventLoop._flush,
        "if self._finishing:",
        "if True:",
        WrongResponse,
        "the connection breaks",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_found_by_the_kept_inputs(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    function, right, wrong, kind, words = MISTAKES[name]
    made: Any = with_mistake(sys.modules[function.__module__], right, wrong)
    for part in function.__qualname__.split("."):
        made = getattr(made, part)
    monkeypatch.setattr(function, "__code__", made.__code__)
    assert any(re.match(f"{kind.__name__}: .*{words}", one, re.DOTALL) for one in findings())


def findings() -> Iterator[str]:
    """Yield what is found with the kept inputs, each on a server of its own."""
    for file in sorted((CORPUS / "http").iterdir()):
        try:
            http_target.run(file.read_bytes())
        except AssertionError as found:
            yield f"{type(found).__name__}: {found}"
            http_socket.server.cache_clear()


def test_without_a_mistake_nothing_is_found() -> None:
    assert list(findings()) == []
