"""Send bytes to the worker, and compare what its application receives with h11 and with gunicorn's stock worker.

Invariants:
- Each request that the application receives, both others read, with the same method, target, path, header fields and
  body; so they see its end and the beginning of the next one. Where one of them refuses, the bytes are a finding, but
  for this: empty lines before a request line are skipped, as RFC 9112, section 2.2, asks of a server and gunicorn does;
  h11 refuses them.
- Each request of HTTP/1.1 or later that it receives names one host, as RFC 9112, section 3.2, asks; gunicorn does not.
- Bytes that come in pieces through a socket (`http_socket`) mean to the event loop what they mean in one piece to its
  reader of requests; bytes that come one by one mean the same to the reader.

Sources: RFC 9112; RFC 3986, appendix B; h11's `Connection`; gunicorn's `RequestParser` with the settings of a plain
`gunicorn app:app`.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Sequence
from functools import cache, partial
from itertools import islice, pairwise, zip_longest
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import h11
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser
from gunicorn.util import unquote_to_wsgi_str

from sidecar.api.reply import API, PROBE
from sidecar.server.http_error import HttpError
from sidecar.server.limits import Limits
from sidecar.server.request import Judge, Request, RequestReader
from sidecar.server.wsgi import unquoted

from . import http_socket
from .http_socket import ADMISSION, CLOSED, LIMITS, Read, fields_of

PEER: Final = ("127.0.0.1", 1)
URI: Final = re.compile(r"(?:[^:/?#]+:)?(?://[^/?#]*)?([^?#]*)")
"""RFC 3986, appendix B, with the path as its group."""
CUTS_MAX: Final = 3

Verdict = Read | str | None
"""A request, why it is refused, or None while more bytes must come."""
Reading = tuple[Verdict, ...]
"""The requests of a connection, and how they end: at a Read where the connection is closed then."""
JUDGES: Final[dict[str | None, Judge | None]] = {
    None: None,
    API: partial(ADMISSION.refusal, "localhost"),
    PROBE: ADMISSION.probe_refusal,
}
"""What judges the heads on each listener; None: whatever is HTTP is served."""


class Disagreement(AssertionError):
    """Something is received here that another parser refuses, or reads otherwise."""


@cache
def _stock() -> Config:
    return Config()


def sidecar(data: bytes, cuts: Sequence[int] = (), listener: str | None = None) -> Reading:
    """Return what the worker's reader reads; `cuts`: where the bytes come in pieces."""
    reader = RequestReader(LIMITS, listener or API, JUDGES[listener])
    found: list[Verdict] = []
    for start, end in pairwise((0, *cuts, len(data))):
        reader.buffer += data[start:end]
        while (taken := reader.take()) is not None:
            found.append(_verdict(taken))
            if not isinstance(found[-1], Read) or (isinstance(taken, Request) and taken.head.close):
                return tuple(found)  # the worker reads no further
    return (*found, None)


def _verdict(taken: Request | HttpError) -> Verdict:
    body = taken if isinstance(taken, HttpError) else taken.read_body()
    if isinstance(body, HttpError):
        return body.reason
    assert isinstance(taken, Request)
    head = taken.head
    return Read(head.method, unquoted(head.path), body, head.target, _cgi(head.headers))


def _of_gunicorn(message: Any, body: bytes) -> Read:
    path = unquote_to_wsgi_str(message.path) or "/"
    return Read(message.method, path, body, message.uri, _cgi(message.headers))


def _cgi(headers: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    """Return header fields under their CGI names. Names with an underscore are left out, as gunicorn does."""
    found: dict[str, str] = {}
    for name, value in headers:
        key = "HTTP_" + name.upper().replace("-", "_")
        if key == "HTTP_CONTENT_TYPE":
            found["CONTENT_TYPE"] = value  # of several, gunicorn takes the last
        elif key != "HTTP_CONTENT_LENGTH" and "_" not in name:
            found[key] = f"{found[key]},{value}" if key in found else value
    return fields_of(found.items())


def gunicorn(data: bytes) -> Reading:
    """Return what gunicorn's stock worker reads."""
    parser, found = RequestParser(_stock(), iter([data]), PEER), list[Verdict]()
    try:
        for message in parser:
            found.append(_of_gunicorn(message, message.body.read()))
    except Exception as error:  # whatever it raises refuses the bytes
        return (*found, type(error).__name__)
    return (*found, None)


def other(data: bytes) -> Reading:
    """Return what h11 reads. Each request has a connection of its own, so that h11 need not answer the one before."""
    found: list[Verdict] = []
    while True:
        while data.startswith(b"\r\n"):
            data = data[2:]
        verdict, data = _first_of_h11(data)
        found.append(verdict)
        if not isinstance(verdict, Read):
            return tuple(found)


def _first_of_h11(data: bytes) -> tuple[Verdict, bytes]:
    """Return the first request, and the bytes after it."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=Limits().head_bytes_max)
    connection.receive_data(data)
    request, body = None, bytearray()
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert request is not None
                return _of_h11(request, bytes(body)), connection.trailing_data[0]
            else:
                return None, b""
    except h11.RemoteProtocolError as error:
        return str(error), b""


def _of_h11(request: h11.Request, body: bytes) -> Read:
    target = request.target.decode("latin-1")
    path = re.split("[?#]", target, maxsplit=1)[0] if target.startswith("/") else _matched(URI, target)
    fields = _cgi((name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers)
    return Read(request.method.decode(), unquote_to_bytes(path).decode("latin-1") or "/", body, target, fields)


def _matched(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.match(text)
    assert found is not None
    return found[1]


def run(data: bytes) -> None:
    """Check the bytes on one of the two listeners, in pieces: both come from the bytes."""
    mixed = zlib.crc32(data)
    listener = PROBE if mixed % 4 == 0 else API
    count = mixed // 256 % (CUTS_MAX + 1) if len(data) > 1 else 0
    cuts = {1 + (mixed >> 10 + 6 * number) % (len(data) - 1) for number in range(count)}
    check(data, sorted(cuts), listener, one_by_one=mixed // 4 % 64 == 0)


def check(data: bytes, cuts: Sequence[int], listener: str, *, one_by_one: bool = False) -> None:
    """Raise Disagreement where something is received that another refuses, or where pieces mean something else."""
    whole = sidecar(data, (), listener)
    if one_by_one:
        _compare(whole, sidecar(data, range(1, len(data)), listener), "one by one")
    heard = http_socket.exchange(data, cuts, listener)
    _compare(whole, (*heard.requests,) if heard.end == CLOSED else (*heard.requests, heard.end), f"cut at {cuts}")
    if not heard.requests:
        return
    _check_hosts(data, len(heard.requests))
    for name, read in (("h11", other), ("gunicorn", gunicorn)):
        for number, (here, there) in enumerate(zip_longest(heard.requests, read(data)[: len(heard.requests)]), 1):
            if not isinstance(there, Read):
                raise Disagreement(f"request {number} is received here, but {name} says {there!r}")
            wanted = _told(there if listener == PROBE else there._replace(body=_decoded(there)), here)
            if here != wanted:
                raise Disagreement(f"request {number} is {here!r} here, {wanted!r} by {name}")


def _check_hosts(data: bytes, count: int) -> None:
    """Raise Disagreement where one of the first requests does not name one host, by gunicorn's reading."""
    try:
        for number, message in enumerate(islice(RequestParser(_stock(), iter([data]), PEER), count), 1):
            message.body.read()
            hosts = [name for name, _ in message.headers if name == "HOST"]
            if message.version >= (1, 1) and len(hosts) != 1:
                raise Disagreement(f"request {number} is received here with {len(hosts)} hosts")
    except Disagreement:
        raise
    except Exception:  # that gunicorn refuses it is found next
        return


def _told(read: Read, here: Read) -> Read:
    """Return what the application is told of a request."""
    return read._replace(target=None, fields=None) if here.target is None else read


def _decoded(read: Read) -> bytes:
    """Return the body without its content coding, by Python's own modules."""
    codings = dict(read.fields or ()).get("HTTP_CONTENT_ENCODING", "").lower().split(",")
    body = read.body
    for coding in filter(None, map(str.strip, codings)):
        if coding == "identity" or not body:
            continue
        try:
            body = gzip.decompress(body) if coding in ("gzip", "x-gzip") else _inflated(body)
        except (OSError, EOFError, zlib.error) as error:
            raise Disagreement(f"a body is received that is not {coding}: {error}") from error
    return body


def _inflated(body: bytes) -> bytes:
    try:
        return zlib.decompress(body)
    except zlib.error:
        return zlib.decompress(body, -zlib.MAX_WBITS)


def _compare(whole: Reading, pieces: Reading, how: str) -> None:
    """Compare two readings. Two reasons of a refusal may differ: a bare LF is judged before the head is whole."""
    for one, two in zip_longest(whole, pieces, fillvalue=CLOSED):
        wanted = _told(one, two) if isinstance(one, Read) and isinstance(two, Read) else one
        if wanted != two and not (_is_refusal(one) and _is_refusal(two)):
            raise Disagreement(f"in one piece {whole!r}, {how} {pieces!r}")


def _is_refusal(verdict: Verdict) -> bool:
    return isinstance(verdict, str) and verdict != CLOSED
