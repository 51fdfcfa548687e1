"""Send bytes through a socket to the worker's event loop, and return what the application and the client receive.

Invariants:
- Event loop, connections and dispatcher are the product's, with its two listeners. The application is a stand-in that
  notes each request and replies with its number; it defers the replies to pushes, as the product does.
- The bytes come in pieces: the loop has handled one before the next is sent.
- The client receives one response for each request, in order, and after them one refusal or nothing. The connection
  stays open until the client closes it, or a response has said that it closes.

Nothing goes to another thread here: what a thread does next is not the input's choice.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from itertools import pairwise
from typing import Any, Final, NamedTuple

from sidecar.api.reply import API, PROBE, Reply, send
from sidecar.server.admission import Admission
from sidecar.server.dispatcher import RequestDispatcher
from sidecar.server.event_loop import CONTINUE, EventLoop
from sidecar.server.limits import REFUSAL_STATUSES, Counters, Limits

PUSH: Final = ("POST", "/v1/usage")
LIMITS: Final = Limits(quick_body_bytes_max=Limits().api_body_bytes_max, quick_chunks_max=Limits().chunks_max)
"""The product's, but that no body is left to another thread: neither one in many chunks nor a compressed one."""
ADMISSION: Final = Admission(("a", "b", "x"))
"""With the hosts that the inputs name most."""
TURNS_MAX: Final = 100
RECEIVED_BYTES_MAX: Final = 1 << 16
HEAD: Final = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")


class WrongResponse(AssertionError):
    """The client receives something else than it should, or nothing."""


class Read(NamedTuple):
    """A request as the application receives it, or as a parser reads it."""

    method: str
    path: str
    body: bytes
    target: str | None
    """None where the application is not told: of a push it receives the body alone."""
    fields: tuple[tuple[str, str], ...] | None
    """The header fields under their CGI names, but for Content-Length; None like `target`."""


def fields_of(environ: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return the header fields among these variables, sorted. h11 has transfer codings in lower case, so all have."""
    return tuple(
        sorted(
            (name, value.lower() if name == "HTTP_TRANSFER_ENCODING" else value)
            for name, value in environ
            if name.startswith("HTTP_") or name == "CONTENT_TYPE"
        )
    )


class Heard(NamedTuple):
    """What came of the bytes of one connection."""

    requests: tuple[Read, ...]
    end: str | None
    """How they end: the reason of a refusal (its status where a response to HEAD has no body), CLOSED, or None."""


CLOSED: Final = "closed"
"""The last response said that the connection closes."""


class Application:
    """Notes each request, and replies with its number."""

    def __init__(self) -> None:
        self.requests: list[Read] = []
        self._promised: list[Callable[[], None]] = []

    def quick_handler(self, method: str, path: str) -> None:
        """Return None: each request goes through WSGI."""

    def is_nonblocking(self, environ: dict[str, Any]) -> bool:
        """Return True: no request is for the thread pool."""
        del environ
        return True

    def deferred_handler(self, listener: str, method: str, path: str) -> Callable[[bytes, Any], None] | None:
        """Return what takes the body of a push."""
        return self._take if listener == API and (method, path) == PUSH else None

    def commit_pending(self) -> None:
        """Give the replies that are owed."""
        promised, self._promised = self._promised, []
        for reply in promised:
            reply()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read()
        assert not body or environ["CONTENT_LENGTH"] == str(len(body))
        method, path, target = environ["REQUEST_METHOD"], environ["PATH_INFO"], environ["RAW_URI"]
        return send(self._note(Read(method, path, body, target, fields_of(environ.items()))), start_response)

    def _take(self, body: bytes, promise: Callable[[Reply], None]) -> None:
        self._promised.append(partial(promise, self._note(Read(*PUSH, body, None, None))))

    def _note(self, request: Read) -> Reply:
        self.requests.append(request)
        return Reply(status=200, body=b"%d" % len(self.requests))


class Server:
    """The event loop of this process, and where it listens: at names that are in no directory."""

    def __init__(self) -> None:
        self.counters = Counters.of((PROBE, API))
        self.loop = EventLoop(LIMITS, self.counters, (PROBE, API), ADMISSION)
        self.application = Application()
        self.loop.dispatcher = RequestDispatcher(self.application, self.loop)
        self._sockets = {name: self._listen(name) for name in (PROBE, API)}

    def _listen(self, name: str) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind("")
        listening.listen()
        self.loop.listen(listening, name)
        return listening

    def connect(self, client: socket.socket, listener: str) -> None:
        """Connect this client to a listener."""
        client.connect(self._sockets[listener].getsockname())
        client.setblocking(False)

    def handle(self) -> None:
        """Handle what has arrived: until a turn brings the application nothing, and no reply waits for the next."""
        before = -1
        while before != len(self.application.requests) or self.loop.dispatcher.waiting():
            before = len(self.application.requests)
            self.loop.turn(0.0)


@cache
def server() -> Server:
    """Return the server of this process."""
    return Server()


def exchange(data: bytes, cuts: Sequence[int], listener: str) -> Heard:
    """Send the bytes, cut into pieces, to this listener. Raises WrongResponse."""
    there = server()
    there.application.requests.clear()
    failed = there.counters.unexpected
    with socket.socket(socket.AF_UNIX) as client:
        there.connect(client, listener)
        try:
            for start, end in pairwise((0, *cuts, len(data))):
                client.sendall(data[start:end])
                there.handle()
            received, closed = _received(client)
            found = _judge(received, closed, there.application.requests)
            if not closed:
                client.shutdown(socket.SHUT_WR)
                _await_end(there, client)
        except OSError as error:
            raise WrongResponse(f"the connection breaks: {error}") from error
    if closed:
        there.handle()  # it has waited for the client's end
    if there.counters.unexpected != failed:
        raise WrongResponse("the event loop raised an error")
    if there.counters.open[listener]:
        raise WrongResponse("the connection stays open after the client has closed it")
    return Heard(tuple(there.application.requests), found)


def _received(client: socket.socket) -> tuple[bytes, bool]:
    """Return what is there for the client, and whether the server has closed its side."""
    received = b""
    try:
        while piece := client.recv(RECEIVED_BYTES_MAX):
            received += piece
    except BlockingIOError:
        return received, False
    return received, True


def _await_end(there: Server, client: socket.socket) -> None:
    """Wait until the server has closed too, without a byte more. Raises WrongResponse."""
    for _ in range(TURNS_MAX):
        there.loop.turn(0.0)
        received, closed = _received(client)
        if received:
            raise WrongResponse(f"after the client has closed, it receives {received!r}")
        if closed:
            return
    raise WrongResponse(f"after {TURNS_MAX} turns the connection is open")


def _judge(received: bytes, closed: bool, requests: Sequence[Read]) -> str | None:
    """Return how the connection ends, by what the client received. Raises WrongResponse."""
    closing = False
    for number, request in enumerate(requests, 1):
        if closing:
            raise WrongResponse(f"request {number} is served after a response that closes the connection")
        status, closing, body, received = _first(received, without_body=request.method == "HEAD")
        if status != 200 or body != (b"" if request.method == "HEAD" else b"%d" % number):
            raise WrongResponse(f"request {number} gets {status} {body!r}")
    end: str | None = CLOSED if closing else None
    while not closing and received.startswith(CONTINUE):
        received = received.removeprefix(CONTINUE)
    if received and not closing:
        status, closing, body, received = _first(received, without_body=False)
        if status not in REFUSAL_STATUSES or not closing:
            raise WrongResponse(f"after {len(requests)} requests comes {status} {body!r}")
        end = json.loads(body)["reason"] if body else str(status)
    if received:
        raise WrongResponse(f"after its last response the client receives {received!r}")
    if closed is not closing:
        raise WrongResponse("the connection " + ("is closed" if closed else "stays open") + ", which no response said")
    return end


def _first(received: bytes, *, without_body: bool) -> tuple[int, bool, bytes, bytes]:
    """Return status, whether it closes the connection, and body of the first response, and what follows it."""
    while received.startswith(CONTINUE):
        received = received.removeprefix(CONTINUE)
    head = HEAD.match(received)
    if head is None:
        raise WrongResponse(f"the client receives {received!r} for a response")
    fields = dict(line.lower().split(b": ", 1) for line in head[2].splitlines())
    rest = received[head.end() :]
    length = 0 if without_body or not rest else int(fields[b"content-length"])
    if len(rest) < length:
        raise WrongResponse(f"the client receives {rest!r} of {length} bytes")
    return int(head[1]), fields[b"connection"] == b"close", rest[:length], rest[length:]
