"""Find the end of a body in chunks, and decode it.

Invariants:
- Our code finds the end, one look at each byte, and joins the chunks: by h11, that takes six times as long, while
  the poller waits. h11 reads the last chunk and the trailer, and must see the end where we saw it.
- A chunk extension and a trailer are read and dropped; they must be well-formed all the same.
- A trailer changes nothing that the head has said: fields for framing, routing and authentication are refused there.

Sources: RFC 9112, section 7.1; RFC 9110, sections 5.6 and 6.5.1.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

import h11

from sidecar.server.head import FORBIDDEN, field_lines
from sidecar.server.http_error import BAD_REQUEST, BODY_TOO_LARGE, HEADERS_TOO_LARGE, HttpError
from sidecar.server.limits import Limits

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
QUOTED: Final = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
EXTENSION: Final = rb";[ \t]*" + TOKEN + rb"(?:[ \t]*=[ \t]*(?:" + TOKEN + rb"|" + QUOTED + rb"))?"
CHUNK_LINE: Final = re.compile(
    rb"([0-9A-Fa-f]{1,16})(?:" + EXTENSION + rb"(?:[ \t]*" + EXTENSION + rb")*)?\r\n",
)
"""A size and extensions. No white space before the first one, as h11 has it, and none after the last, as gunicorn."""
CHUNK_LINE_BYTES_MAX: Final = 256
"""A size and a short extension: clients send no more."""
NOT_IN_TRAILER: Final = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"trailer", b"authorization", b"te")
)


class ChunkScan:
    """Finds the end of a body in chunks. Where each chunk ends is looked at when it is decoded."""

    def __init__(self, limits: Limits, listener: str) -> None:
        self._limits = limits
        self._body_bytes_max = limits.body_bytes_max(listener)
        self._chunks_max = limits.body_chunks_max(listener)
        self._at = 0
        self.chunks = 0
        self.trailer_at: int | None = None
        """Where the trailer begins, once that is known."""

    def end(self, buffer: bytearray) -> int | HttpError | None:
        """Return the body's length as sent, an error, or None while more must come."""
        while self.trailer_at is None:
            line = _chunk_line(buffer, self._at)
            if line is None:
                return self._odd_line(buffer)
            size, self._at = int(line[1], 16), line.end()
            if size == 0:
                self.trailer_at = self._at
                break
            self.chunks += 1
            self._at += size + 2
            if self._at > self._body_bytes_max or self.chunks > self._chunks_max:
                return BODY_TOO_LARGE
        return self._trailer_end(buffer, self.trailer_at)

    def _odd_line(self, buffer: bytearray) -> HttpError | None:
        unread = len(buffer) - self._at
        finished = buffer.find(b"\n", self._at, self._at + CHUNK_LINE_BYTES_MAX) >= 0
        return BAD_REQUEST if finished or unread >= CHUNK_LINE_BYTES_MAX else None

    def _trailer_end(self, buffer: bytearray, start: int) -> int | HttpError | None:
        if buffer.startswith(b"\r\n", start):
            return self._within_limit(start + 2)
        found = buffer.find(b"\r\n\r\n", max(start, self._at - 3))
        self._at = len(buffer)
        if found >= 0 and found + 4 - start <= self._limits.head_bytes_max:
            return self._within_limit(found + 4)
        return HEADERS_TOO_LARGE if len(buffer) - start > self._limits.head_bytes_max else None

    def _within_limit(self, end: int) -> int | HttpError:
        return end if end <= self._body_bytes_max else BODY_TOO_LARGE


class ChunkedBody:
    """A whole body in chunks, and what reads its trailer: the h11 connection that has read its head."""

    def __init__(self, connection: h11.Connection, trailer_at: int, limits: Limits) -> None:
        self._connection, self._trailer_at, self._limits = connection, trailer_at, limits

    def decode(self, wire: bytes) -> bytes | HttpError:
        """Return the body, once. `wire`: as it was sent."""
        joined = _joined(wire)
        if joined is None:
            return BAD_REQUEST
        body, last = joined
        connection = self._connection
        connection.receive_data(wire[last:])
        try:
            event = connection.next_event()
        except h11.RemoteProtocolError:
            return BAD_REQUEST
        if not isinstance(event, h11.EndOfMessage) or connection.trailing_data[0]:
            return BAD_REQUEST  # h11 saw another end than we did: trust neither
        return self._trailer_refusal(wire, event.headers) or body

    def _trailer_refusal(self, wire: bytes, fields: Sequence[tuple[bytes, bytes]]) -> HttpError | None:
        trailer = wire[self._trailer_at :]
        if FORBIDDEN.search(trailer):
            return BAD_REQUEST
        lines = field_lines(trailer, self._limits)
        if isinstance(lines, HttpError):
            return lines
        names = [name for name, _ in fields]
        odd = len(names) != len(lines) or names.count(b"content-type") > 1 or not NOT_IN_TRAILER.isdisjoint(names)
        return BAD_REQUEST if odd else None


def _chunk_line(data: bytes | bytearray, at: int) -> re.Match[bytes] | None:
    return CHUNK_LINE.match(data, at, at + CHUNK_LINE_BYTES_MAX)


def _joined(wire: bytes) -> tuple[bytes, int] | None:
    """Return what is in the chunks, and where the last one begins; None where one is longer than its size."""
    parts, at = list[bytes](), 0
    while line := _chunk_line(wire, at):
        size, start = int(line[1], 16), line.end()
        if size == 0:
            return b"".join(parts), at
        at = start + size + 2
        parts.append(wire[start : at - 2])
        if wire[at - 2 : at] != b"\r\n":
            return None
    return None
