"""Read bytes as the worker does, and compare with h11 and with gunicorn's stock worker.

Invariants:
- What is accepted here, both others accept, with the same method, target and body. Where one of them refuses, the
  bytes are a finding, but for this: empty lines before a request line are skipped, as RFC 9112, section 2.2, asks of a
  server and gunicorn does; h11 refuses them.
- Bytes that come in two pieces mean what they mean in one.

Sources: RFC 9112; h11's `Connection`; gunicorn's `RequestParser` with the settings of a plain `gunicorn app:app`.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final, NamedTuple

import h11
from gunicorn.config import Config
from gunicorn.http.parser import RequestParser

from sidecar.api.reply import API
from sidecar.server.http_error import HttpError
from sidecar.server.limits import Limits
from sidecar.server.request import Request, RequestReader
from sidecar.server.worker import gunicorn_settings

PEER: Final = ("127.0.0.1", 1)


class Read(NamedTuple):
    """The first request in some bytes, as one parser reads it."""

    method: str
    target: str
    body: bytes


Verdict = Read | str | None
"""A request, why it is refused, or None while more bytes must come."""


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


def sidecar(data: bytes, cut: int | None = None) -> Verdict:
    """Return what the worker reads; `cut`: where the bytes come in two pieces."""
    reader = RequestReader(_ours(), PEER, Limits(), API)
    taken: Any = None
    for part in (data,) if cut is None else (data[:cut], data[cut:]):
        reader.buffer += part
        taken = reader.take()
        if taken is not None:
            break
    if isinstance(taken, Request):
        body = taken.read_body() if taken.coding is None else b""
        return body.reason if isinstance(body, HttpError) else Read(taken.message.method, taken.message.uri, body)
    return taken.reason if isinstance(taken, HttpError) else None


def gunicorn(data: bytes) -> Verdict:
    """Return what gunicorn's stock worker reads."""
    try:
        message = next(RequestParser(_stock(), iter([data]), PEER))
        return Read(message.method, message.uri, message.body.read())
    except StopIteration:
        return None
    except Exception as error:
        return type(error).__name__


def other(data: bytes) -> Verdict:
    """Return what h11 reads."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=Limits().head_bytes_max)
    while data.startswith(b"\r\n"):
        data = data[2:]
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
                return Read(request.method.decode(), request.target.decode("latin-1"), bytes(body))
            else:
                return None
    except h11.RemoteProtocolError as error:
        return str(error)


def run(data: bytes) -> None:
    """Raise Disagreement where something is accepted that another refuses."""
    mine = sidecar(data)
    if len(data) < 2048 and (cut := len(data) // 2):
        pieces = sidecar(data, cut)
        if isinstance(mine, Read) and pieces != mine:
            raise Disagreement(f"in one piece {mine!r}, in two {pieces!r}")
    if not isinstance(mine, Read):
        return
    coded = b"content-encoding" in data.lower()
    for name, read in (("h11", other), ("gunicorn", gunicorn)):
        found = read(data)
        if not isinstance(found, Read):
            raise Disagreement(f"accepted here, but {name} says {found!r}")
        if mine[:2] != found[:2] or (mine.body != found.body and not coded):
            raise Disagreement(f"{mine!r} here, {found!r} by {name}")
