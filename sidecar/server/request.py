"""Find whole requests in the bytes of a connection. gunicorn's own parser reads them.

Invariants:
- Our code finds ends only: of the head (the first empty line) and of the body (its announced length, or the last
  chunk). gunicorn decides what the head says, including which framing holds.
- Nothing is parsed before its end is there, so bytes that trickle in cost a search of the new bytes.
- Two things are judged early, because their end may never come: a bare LF, and a head past a limit.
- A head that repeats on a connection, byte for byte, means what it meant: gunicorn is not asked twice.
- What HTTP requires and gunicorn does not check is checked here: HTTP/1.1 names a host; a body in chunks has no other
  transfer coding; an unknown minor version is read, and answered, as 1.1.
- A body of announced length is the bytes of that length; a chunked one is decoded by gunicorn too, and must end for it
  exactly where it ended for us.
- A compressed body is inflated only when it is read, which a thread of the pool does.
- No error repeats a byte the client sent, but for the name of a content coding.

Sources: RFC 9112 (HTTP/1.1), sections 2.2, 3.2, 6 and 7.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from gunicorn.http import errors
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.parser import RequestParser

from sidecar.api.reply import PROBE
from sidecar.server import content_coding
from sidecar.server.http_error import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    CODING_MALFORMED,
    HEADERS_TOO_LARGE,
    UNSUPPORTED_TRANSFER_CODING,
    HttpError,
    refusal_of,
    unsupported_coding,
)
from sidecar.server.limits import Limits

TRANSFER: Final = "TRANSFER-ENCODING"
HEAD_END: Final = b"\r\n\r\n"
BARE_LF: Final = re.compile(rb"(?<!\r)\n")
CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*|;[^\r\n]*)\r\n")
"""A size, then white space (some clients pad it) or an extension, not both: h11 refuses white space before one."""
CHUNK_LINE_BYTES_MAX: Final = 256
"""A size and a short extension: clients send no more."""
CHUNK_PIECE_BYTES: Final = 4096
"""gunicorn copies the rest of a piece for every chunk in it, so pieces are short."""

KNOWN_HEADS_MAX: Final = 4
"""Heads remembered for each connection: a client's differ in the length of the body."""
KNOWN_HEAD_BYTES_MAX: Final = 512


Judge = Callable[[Any], HttpError | None]
"""Takes gunicorn's message of a new head, and returns why the request is not served, or None."""


class _Source:
    """The bytes a parser may read now: the head first, the body once it is whole."""

    def __init__(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)

    def refill(self, parts: Iterable[bytes]) -> None:
        self._parts = iter(parts)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        return next(self._parts)


class Request:
    """A whole request: gunicorn's message, and its body as received."""

    __slots__ = ("_inflated_bytes_max", "_source", "_wire", "body_bytes", "body_chunks", "coding", "message")

    def __init__(
        self,
        message: Any,
        wire: bytes,
        chunks: int = 0,
        source: _Source | None = None,
        coding: str | None = None,
        inflated_bytes_max: int = 0,
    ) -> None:
        """`wire`: the body as sent; `source`: where gunicorn reads a chunked one from; `coding`: how it is compressed.

        `inflated_bytes_max`: its longest length without the coding.
        """
        self.message = message
        self.coding = coding if wire else None
        self.body_bytes = len(wire) if self.coding is None else inflated_bytes_max
        """The most that the body can come to."""
        self.body_chunks = chunks
        self._inflated_bytes_max = inflated_bytes_max
        self._wire = wire
        self._source = source

    def read_body(self) -> bytes | HttpError:
        """Return the decoded body, once, and release it. Belongs into the pool when the body is long."""
        body = self._read_wire()
        if self.coding is None or isinstance(body, HttpError):
            return body
        try:
            return content_coding.inflate(body, self.coding, self._inflated_bytes_max)
        except content_coding.TooLong:
            return BODY_TOO_LARGE
        except content_coding.Malformed:
            return CODING_MALFORMED

    def _read_wire(self) -> bytes | HttpError:
        wire, self._wire = self._wire, b""
        if self._source is None:
            return wire
        self._source.refill(wire[at : at + CHUNK_PIECE_BYTES] for at in range(0, len(wire), CHUNK_PIECE_BYTES))
        try:
            body = self.message.body.read()
        except Exception as error:
            return refusal_of(error)
        if self.message.unreader.take_buffered() or any(self._source):
            return BAD_REQUEST  # gunicorn saw another end than we did: trust neither
        assert isinstance(body, bytes)
        return body


class _ChunkScan:
    """Finds the end of a chunked body, one look at each byte. gunicorn judges what is in it."""

    def __init__(self, limits: Limits, listener: str) -> None:
        self._limits = limits
        self._body_bytes_max = limits.body_bytes_max(listener)
        self._chunks_max = limits.body_chunks_max(listener)
        self._at = 0
        self.chunks = 0
        self._trailer_from: int | None = None

    def end(self, buffer: bytearray) -> int | HttpError | None:
        """Return the body's length as sent, an error, or None while more must come."""
        while self._trailer_from is None:
            line = CHUNK_LINE.match(buffer, self._at)
            if line is None:
                return self._odd_line(buffer)
            size, self._at = int(line[1], 16), line.end()
            if size == 0:
                self._trailer_from = self._at
                break
            self.chunks += 1
            self._at += size + 2
            if self._at > self._body_bytes_max or self.chunks > self._chunks_max:
                return BODY_TOO_LARGE
        return self._trailer_end(buffer, self._trailer_from)

    def _odd_line(self, buffer: bytearray) -> HttpError | None:
        unread = len(buffer) - self._at
        finished = buffer.find(b"\n", self._at, self._at + CHUNK_LINE_BYTES_MAX) >= 0
        return BAD_REQUEST if finished or unread > CHUNK_LINE_BYTES_MAX else None

    def _trailer_end(self, buffer: bytearray, start: int) -> int | HttpError | None:
        if buffer.startswith(b"\r\n", start):
            return self._within_limit(start + 2)
        found = buffer.find(HEAD_END, max(start, self._at - 3))
        self._at = len(buffer)
        if found >= 0 and found + 4 - start <= self._limits.head_bytes_max:
            return self._within_limit(found + 4)
        return HEADERS_TOO_LARGE if len(buffer) - start > self._limits.head_bytes_max else None

    def _within_limit(self, end: int) -> int | HttpError:
        return end if end <= self._body_bytes_max else BODY_TOO_LARGE


class RequestReader:
    """The bytes of one connection, handed on one whole request at a time.

    An HttpError ends the connection: nothing may be read from it afterwards.
    """

    def __init__(
        self,
        cfg: Any,
        peer: tuple[str, int],
        limits: Limits,
        listener: str,
        judge: Judge | None = None,
    ) -> None:
        self.buffer = bytearray()
        self.head_only = False
        """The last head asks for a response without a body."""
        self._judge_head = judge
        self._cfg = cfg
        self._peer = peer
        self._limits = limits
        self._listener = listener
        self._body_bytes_max = limits.body_bytes_max(listener)
        self._known: dict[bytes, tuple[Any, str | None]] = {}
        """Head → gunicorn's message and the content coding, for heads that were accepted and announce a length."""
        self._next_request()

    def _next_request(self) -> None:
        self._scanned = 0
        self._line_judged = False
        self._message: Any = None
        self._coding: str | None = None
        self._source = _Source(())
        self._body_bytes = 0
        self._chunks: _ChunkScan | None = None
        self._may_ask_for_body = False

    def take(self) -> Request | HttpError | None:
        """Return the next whole request, an error, or None while more bytes must come."""
        if self._message is None:
            refusal = self._take_head()
            if refusal is not None or self._message is None:
                return refusal
        return self._take_body()

    def continue_due(self) -> bool:
        """Return True once for each request whose client waits for `100 Continue` before its body."""
        due = self._may_ask_for_body
        self._may_ask_for_body = False
        return due

    def _take_head(self) -> HttpError | None:
        end = self.buffer.find(HEAD_END, max(0, self._scanned - 3))
        if end < 0:
            return self._judge_unfinished_head()
        head = bytes(self.buffer[: end + 4])
        if len(head) > self._limits.head_bytes_max:
            return self._judge(head) or HEADERS_TOO_LARGE
        known = self._known.get(head)
        if known is not None:
            del self.buffer[: end + 4]
            self._message, self._coding = known
            self._body_bytes = self._message.body.reader.length
            return None
        self._source = _Source((head,))
        try:
            message = next(RequestParser(self._cfg, self._source, self._peer))
        except Exception as error:
            return refusal_of(error)
        del self.buffer[: end + 4]
        refusal = self._accept_head(message)
        if refusal is None and self._chunks is None and not self._may_ask_for_body and end < KNOWN_HEAD_BYTES_MAX:
            self._remember(head, message)
        return refusal

    def _remember(self, head: bytes, message: Any) -> None:
        if len(self._known) >= KNOWN_HEADS_MAX:
            del self._known[next(iter(self._known))]
        self._known[head] = message, self._coding

    def _accept_head(self, message: Any) -> HttpError | None:
        # An absolute target without a path names the root; a CONNECT names no path at all.
        message.path = message.path or "/"
        if not message.path.startswith("/") and message.uri != "*":
            return BAD_REQUEST
        if message.version >= (1, 1) and not any(name == "HOST" for name, _ in message.headers):
            return BAD_REQUEST
        self.head_only = message.method == "HEAD"
        refusal = self._judge_head(message) if self._judge_head else None
        if refusal is not None:
            return refusal
        if self._listener != PROBE:  # no probe reads a body
            try:
                self._coding = content_coding.coding_of(v for name, v in message.headers if name == "CONTENT-ENCODING")
            except content_coding.Unsupported as error:
                return unsupported_coding(str(error))
        # gunicorn would answer with the version of the request, and no server speaks HTTP/1.2 (RFC 9110, section 2.5).
        message.version = min(message.version, (1, 1))
        framing = message.body.reader
        if isinstance(framing, LengthReader):
            self._body_bytes = framing.length
            if self._body_bytes > self._body_bytes_max:
                return BODY_TOO_LARGE
        elif isinstance(framing, ChunkedReader):
            if not all(value.strip().lower() == "chunked" for name, value in message.headers if name == TRANSFER):
                return UNSUPPORTED_TRANSFER_CODING  # gunicorn would hand on `gzip, chunked` still compressed
            self._chunks = _ChunkScan(self._limits, self._listener)
        else:
            return BAD_REQUEST
        self._may_ask_for_body = bool(message._expected_100_continue)
        # Answered by us, or not needed any more: gunicorn must not send it a second time.
        message._expected_100_continue = False
        self._message = message
        return None

    def _judge_unfinished_head(self) -> HttpError | None:
        size = len(self.buffer)
        line_due = not self._line_judged and size > self._limits.request_line_bytes_max + 4
        odd = BARE_LF.search(self.buffer, self._scanned) is not None
        self._scanned = size
        self._line_judged = self._line_judged or line_due
        too_large = size > self._limits.head_bytes_max
        if not (odd or line_due or too_large):
            return None
        return self._judge(bytes(self.buffer)) or (HEADERS_TOO_LARGE if too_large else None)

    def _judge(self, head: bytes) -> HttpError | None:
        """Ask gunicorn about a head that is refused, or is incomplete."""
        try:
            next(RequestParser(self._cfg, _Source((head,)), self._peer))
        except (errors.NoMoreData, StopIteration):
            return None
        except Exception as error:
            return refusal_of(error)
        return None

    def _take_body(self) -> Request | HttpError | None:
        end: int | HttpError | None = self._body_bytes
        if self._chunks is not None:
            end = self._chunks.end(self.buffer)
        if isinstance(end, HttpError):
            return end
        if end is None or len(self.buffer) < end:
            return BODY_TOO_LARGE if len(self.buffer) > self._body_bytes_max else None
        wire = bytes(memoryview(self.buffer)[:end])
        del self.buffer[:end]
        if self._chunks is None:
            request = Request(self._message, wire, 0, None, self._coding, self._body_bytes_max)
        else:
            chunks = self._chunks.chunks
            request = Request(self._message, wire, chunks, self._source, self._coding, self._body_bytes_max)
        self._next_request()
        return request
