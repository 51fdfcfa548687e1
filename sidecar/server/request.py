"""Find whole requests in the bytes of a connection. h11 reads them.

Invariants:
- Our code finds ends only: of the head (the first empty line) and of the body (its announced length, or the last
  chunk). h11 decides what the head says (`head`), including which framing holds, and reads trailers (`chunks`).
- Nothing is parsed before its end is there, so bytes that trickle in cost a search of the new bytes.
- Two things are judged early, because their end may never come: a byte that stands in no head, and a head past a limit.
- A head that repeats, byte for byte, means what it meant: most are not parsed again (`known_heads`). On a connection
  where it was accepted, it is not judged again either.
- A body of announced length is the bytes of that length; a chunked one must end for h11 exactly where it ended for us.
- A compressed body is inflated only when it is read, which another thread than the poller's does.
- No error repeats a byte the client sent, but for the name of a content coding.

Sources: RFC 9112 (HTTP/1.1), sections 2.2, 6 and 7.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import h11

from sidecar.api.reply import PROBE
from sidecar.server import content_coding
from sidecar.server.chunks import ChunkedBody, ChunkScan
from sidecar.server.head import FORBIDDEN, RequestHead
from sidecar.server.http_error import (
    BAD_REQUEST,
    BODY_TOO_LARGE,
    CODING_MALFORMED,
    HEADERS_TOO_LARGE,
    URI_TOO_LONG,
    HttpError,
    unsupported_coding,
)
from sidecar.server.known_heads import HEAD_BYTES_MAX, KnownHeads
from sidecar.server.limits import Limits

HEAD_END: Final = b"\r\n\r\n"

KNOWN_HEADS_MAX: Final = 4
"""Heads remembered as accepted, for each connection: a client's differ in the length of the body."""


Judge = Callable[[RequestHead], HttpError | None]
"""Takes a new head, and returns why the request is not served, or None."""


class Request:
    """A whole request: its head, and its body as received."""

    __slots__ = ("_chunked", "_inflated_bytes_max", "_wire", "body_bytes", "body_chunks", "coding", "head")

    def __init__(
        self,
        head: RequestHead,
        wire: bytes,
        chunks: int = 0,
        chunked: ChunkedBody | None = None,
        coding: str | None = None,
        inflated_bytes_max: int = 0,
    ) -> None:
        """`wire`: the body as sent; `chunked`: what decodes one in chunks; `coding`: how it is compressed.

        `inflated_bytes_max`: its longest length without the coding.
        """
        self.head = head
        self.coding = coding if wire else None
        self.body_bytes = len(wire) if self.coding is None else inflated_bytes_max
        """The most that the body can come to."""
        self.body_chunks = chunks
        self._inflated_bytes_max = inflated_bytes_max
        self._wire = wire
        self._chunked = chunked

    def read_body(self) -> bytes | HttpError:
        """Return the decoded body, once, and release it. A long one is not for the poller's thread."""
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
        return wire if self._chunked is None else self._chunked.decode(wire)


class RequestReader:
    """The bytes of one connection, handed on one whole request at a time.

    An HttpError ends the connection: nothing may be read from it afterwards.
    """

    def __init__(
        self, limits: Limits, listener: str, judge: Judge | None = None, heads: KnownHeads | None = None
    ) -> None:
        """`judge`: of this connection; `heads`: those that the listener knows."""
        self.buffer = bytearray()
        self._heads = heads or KnownHeads(limits)
        self._judge_head = judge
        self._limits = limits
        self._listener = listener
        self._body_bytes_max = limits.body_bytes_max(listener)
        self._known: dict[bytes, tuple[RequestHead, str | None]] = {}
        """Head → what it says and the content coding, for heads that were accepted and announce a length."""
        self._next_request()

    def _next_request(self) -> None:
        self.head_only = False
        """The head that is there asks for a response without a body."""
        self._scanned = 0
        self._head: RequestHead | None = None
        self._coding: str | None = None
        self._body_bytes = 0
        self._scan: ChunkScan | None = None
        self._decoder: h11.Connection | None = None
        self._may_ask_for_body = False

    def take(self) -> Request | HttpError | None:
        """Return the next whole request, an error, or None while more bytes must come."""
        if self._head is None:
            request = self._take_known() if self._scanned == 0 else None
            if request is not None:
                return request
            refusal = self._take_head()
            if refusal is not None or self._head is None:
                return refusal
        return self._take_body(self._head)

    def _take_known(self) -> Request | None:
        """Return a request that came whole at once, under a head that came before, as most do; None for any other."""
        buffer = self.buffer
        begin = buffer.find(HEAD_END) + len(HEAD_END)
        known = self._known.get(bytes(buffer[:begin]))
        if known is None:
            return None
        head, coding = known
        end = begin + head.length
        if len(buffer) < end:
            return None
        wire = bytes(memoryview(buffer)[begin:end])
        del buffer[:end]
        return Request(head, wire, coding=coding, inflated_bytes_max=self._body_bytes_max)

    def continue_due(self) -> bool:
        """Return True once for each request whose client waits for `100 Continue` before its body."""
        due = self._may_ask_for_body
        self._may_ask_for_body = False
        return due

    def _take_head(self) -> HttpError | None:
        end = self.buffer.find(HEAD_END, max(0, self._scanned - 3))
        if end < 0 or end + 4 > self._limits.head_bytes_max:
            return self._judge_unfinished_head()
        raw = bytes(self.buffer[: end + 4])
        known = self._known.get(raw)
        if known is not None:
            del self.buffer[: end + 4]
            self._head, self._coding = known
            self.head_only = self._head.method == "HEAD"
            self._body_bytes = self._head.length
            return None
        found = self._heads.read(raw)
        if isinstance(found, HttpError):
            return found
        del self.buffer[: end + 4]
        refusal = self._accept_head(*found)
        if refusal is None and self._scan is None and not self._may_ask_for_body and end < HEAD_BYTES_MAX:
            self._remember(raw, found[0])
        return refusal

    def _remember(self, raw: bytes, head: RequestHead) -> None:
        if len(self._known) >= KNOWN_HEADS_MAX:
            del self._known[next(iter(self._known))]
        self._known[raw] = head, self._coding

    def _accept_head(self, head: RequestHead, decoder: h11.Connection | None) -> HttpError | None:
        self.head_only = head.method == "HEAD"
        refusal = self._judge_head(head) if self._judge_head else None
        if refusal is not None:
            return refusal
        if self._listener != PROBE:  # no probe reads a body
            try:
                self._coding = content_coding.coding_of(v for name, v in head.headers if name == "CONTENT-ENCODING")
            except content_coding.Unsupported as error:
                return unsupported_coding(str(error))
        self._body_bytes = head.length
        if self._body_bytes > self._body_bytes_max:
            return BODY_TOO_LARGE
        if head.chunked:
            self._scan, self._decoder = ChunkScan(self._limits, self._listener), decoder
        self._may_ask_for_body = head.continue_expected
        self._head = head
        return None

    def _judge_unfinished_head(self) -> HttpError | None:
        """Refuse a head that cannot become one, or is past a limit."""
        buffer, limits = self.buffer, self._limits
        if FORBIDDEN.search(buffer, max(0, self._scanned - 1)):
            return BAD_REQUEST
        self._scanned = len(buffer)
        start = 2 if buffer.startswith(b"\r\n") else 0
        if buffer.find(b"\r\n", start, start + limits.request_line_bytes_max + 2) < 0:
            long = len(buffer) - start >= limits.request_line_bytes_max + 2
            return URI_TOO_LONG if long else None
        return HEADERS_TOO_LARGE if len(buffer) > limits.head_bytes_max else None

    def _take_body(self, head: RequestHead) -> Request | HttpError | None:
        end: int | HttpError | None = self._body_bytes
        if self._scan is not None:
            end = self._scan.end(self.buffer)
        if isinstance(end, HttpError):
            return end
        if end is None or len(self.buffer) < end:
            return BODY_TOO_LARGE if len(self.buffer) > self._body_bytes_max else None
        wire = bytes(memoryview(self.buffer)[:end])
        del self.buffer[:end]
        chunked, chunks = None, 0
        if self._scan is not None and self._decoder is not None and self._scan.trailer_at is not None:
            chunked = ChunkedBody(self._decoder, self._scan.trailer_at, self._limits)
            chunks = self._scan.chunks
        request = Request(head, wire, chunks, chunked, self._coding, self._body_bytes_max)
        self._next_request()
        return request
