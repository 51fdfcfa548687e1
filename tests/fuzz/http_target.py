"""Read bytes as the worker does, and compare with h11 and with gunicorn's stock worker.

Invariants:
- Each request that is accepted here, both others accept, with the same method, target and body; so they see its end and
  the beginning of the next one. Where one of them refuses, the bytes are a finding, but for this: empty lines before a
  request line are skipped, as RFC 9112, section 2.2, asks of a server and gunicorn does; h11 refuses them.
- Bytes that come in pieces mean what they mean in one.

Sources: RFC 9112; h11's `Connection`; gunicorn's `RequestParser` with the settings of a plain `gunicorn app:app`.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from itertools import pairwise, zip_longest
from typing import Final, NamedTuple

import h11
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from sidecar.api.reply import API
from sidecar.server import content_coding
from sidecar.server.http_error import HttpError
from sidecar.server.limits import Limits
from sidecar.server.request import Request, RequestReader
from sidecar.server.worker import gunicorn_settings

PEER: Final = ("127.0.0.1", 1)


class Read(NamedTuple):
    """A request, as one parser reads it. `body`: without chunks, but with its content coding."""

    method: str
    target: str
    body: bytes


Verdict = Read | str | None
"""A request, why it is refused, or None while more bytes must come."""
Reading = tuple[Verdict, ...]
"""The requests of a connection, and how they end: at a Read where the connection is closed then."""


class Disagreement(AssertionError):
    """Something is accepted here that another parser refuses, or reads otherwise."""


@cache
def _ours() -> Config:
    cfg = Config()
    for name, value in gunicorn_settings().items():
        cfg.set(name, value)
    return cfg


@cache
def _stock() -> Config:
    return Config()


def sidecar(data: bytes, cuts: Sequence[int] = ()) -> Reading:
    """Return what the worker reads; `cuts`: where the bytes come in pieces."""
    reader = RequestReader(_ours(), PEER, Limits(), API)
    found: list[Verdict] = []
    for start, end in pairwise((0, *cuts, len(data))):
        reader.buffer += data[start:end]
        while (taken := reader.take()) is not None:
            found.append(_verdict(taken))
            if not isinstance(found[-1], Read) or (isinstance(taken, Request) and taken.message.should_close()):
                return tuple(found)  # the worker reads no further
    return (*found, None)


def _verdict(taken: Request | HttpError) -> Verdict:
    if isinstance(taken, HttpError):
        return taken.reason
    body = taken._read_wire()  # without its content coding, which the others leave as it is
    if isinstance(body, HttpError):
        return body.reason
    if taken.coding is not None:
        with suppress(content_coding.TooLong, content_coding.Malformed):
            content_coding.inflate(body, taken.coding, taken.body_bytes)
    return Read(taken.message.method, taken.message.uri, body)


def gunicorn(data: bytes) -> Reading:
    """Return what gunicorn's stock worker reads."""
    parser, found = RequestParser(_stock(), iter([data]), PEER), list[Verdict]()
    try:
        for message in parser:
            found.append(Read(message.method, message.uri, message.body.read()))
    except Exception as error:
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
                read = Read(request.method.decode(), request.target.decode("latin-1"), bytes(body))
                return read, connection.trailing_data[0]
            else:
                return None, b""
    except h11.RemoteProtocolError as error:
        return str(error), b""


def run(data: bytes) -> None:
    """Raise Disagreement where something is accepted that another refuses, or where pieces mean something else."""
    mine = sidecar(data)
    if len(data) > 1:
        _compare_pieces(data, mine)
    accepted = [one for one in mine if isinstance(one, Read)]
    if not accepted:
        return
    for name, read in (("h11", other), ("gunicorn", gunicorn)):
        for number, (here, there) in enumerate(zip_longest(accepted, read(data)[: len(accepted)]), 1):
            if not isinstance(there, Read):
                raise Disagreement(f"request {number} is accepted here, but {name} says {there!r}")
            if here != there:
                raise Disagreement(f"request {number} is {here!r} here, {there!r} by {name}")


def _compare_pieces(data: bytes, whole: Reading) -> None:
    """Have the bytes come in two pieces, and now and then byte by byte."""
    mixed = zlib.crc32(data)
    cuts = range(1, len(data)) if mixed % 16 == 0 else (1 + mixed % (len(data) - 1),)
    pieces = sidecar(data, cuts)
    if [one for one in whole if isinstance(one, Read)] != [one for one in pieces if isinstance(one, Read)]:
        raise Disagreement(f"in one piece {whole!r}, in {len(cuts) + 1} {pieces!r}")
    if type(whole[-1]) is not type(pieces[-1]):
        raise Disagreement(f"ends with {whole[-1]!r} in one piece, with {pieces[-1]!r} in {len(cuts) + 1}")
