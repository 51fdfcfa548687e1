"""Inflate the body of a request that is sent compressed.

Invariants:
- The inflated body may not exceed the limit for plain bodies: inflation stops there, so a bomb costs no more than that.
- A body that is cut short, damaged or followed by something else is refused whole.
- Several gzip members are one body, up to a small number: each costs a copy of what follows it.

Sources: RFC 9110, sections 8.4.1 (codings) and 15.5.16 (415); RFC 1952, section 2.2 (members); RFC 1950 and 1951.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

CODINGS: Final = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
"""Content-Encoding, as it is written → coding. `x-gzip` is another name of gzip (RFC 9110, section 8.4.1.3)."""
NAME: Final = re.compile(r"[a-z0-9-]{1,24}")
"""What may stand in a message: no name of a coding in IANA's registry is longer."""
MEMBERS_MAX: Final = 16
GZIP_BITS: Final = 31
ZLIB_BITS: Final = 15
RAW_BITS: Final = -15
"""`wbits` of zlib: with the header of gzip, with that of zlib, without one."""


class Unsupported(Exception):
    """A coding that is not read here. The text is its name, where that can stand in a message."""


class TooLong(Exception):
    """The inflated body is longer than a plain one may be."""


class Malformed(Exception):
    """The body is not what its coding says."""


def coding_of(values: Iterable[str]) -> str | None:
    """Return the one coding that these Content-Encoding fields name, None where there is none. Raises Unsupported."""
    names = [name.strip().lower() for value in values for name in value.split(",")]
    names = [name for name in names if name and name != "identity"]
    if not names:
        return None
    for name in names:
        if name not in CODINGS:
            raise Unsupported(name if NAME.fullmatch(name) else "")
    if len(names) > 1:
        raise Unsupported("several codings at once")
    return CODINGS[names[0]]


def inflate(body: bytes, coding: str, bytes_max: int) -> bytes:
    """Return the body without its coding. Raises TooLong and Malformed."""
    if coding == "gzip":
        return _members(body, bytes_max)
    try:
        return _stream(body, ZLIB_BITS, bytes_max)
    except Malformed:  # many clients send `deflate` without the header that RFC 9110, section 8.4.1.2, names
        return _stream(body, RAW_BITS, bytes_max)


def _members(body: bytes, bytes_max: int) -> bytes:
    found = b""
    for _ in range(MEMBERS_MAX):
        part, body = _inflated(body, GZIP_BITS, bytes_max - len(found))
        found += part
        if not body:
            return found
    raise Malformed


def _stream(body: bytes, bits: int, bytes_max: int) -> bytes:
    found, rest = _inflated(body, bits, bytes_max)
    if rest:
        raise Malformed
    return found


def _inflated(body: bytes, bits: int, bytes_max: int) -> tuple[bytes, bytes]:
    """Return the first stream in `body`, inflated, and what follows it."""
    import zlib  # most products never send a compressed body

    stream = zlib.decompressobj(bits)
    try:
        found = stream.decompress(body, bytes_max + 1)
    except zlib.error:
        raise Malformed from None
    if len(found) > bytes_max:
        raise TooLong
    if not stream.eof:
        raise Malformed
    return found, stream.unused_data
