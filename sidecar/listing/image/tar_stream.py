"""Read a tar archive as a stream: each entry with its path, kind and size, and its content in pieces.

`tarfile` reads extended headers whole, however large they say they are; here nothing that an archive says makes this
process take more memory than HEADER_MAX.

Invariants:
- A path comes without `./` and without a leading `/`, as it stands in the image; what leads out of it is named by
  `leaves`.
- What breaks the format, or a bound, is BadArchive with the place.

Sources: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; GNU tar manual, "Basic Tar Format" (L and
K); OCI image specification, layer.md.
"""

from __future__ import annotations

import os
import posixpath
import tarfile
from collections.abc import Callable, Iterator
from typing import Final, Protocol

from sidecar.quick_dataclasses import dataclass

BLOCK: Final = 512
HEADER_MAX: Final = 1 << 20
"""Bytes of an extended header. A path has at most 4096, and extended attributes at most 64 KiB each."""
ENTRIES_MAX: Final = 2_000_000
"""Entries of one archive. Large images have some hundred thousand."""
CHUNK: Final = 1 << 18
PAX: Final = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
LONG: Final = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class BadArchive(ValueError):
    """An archive that breaks its format or a bound. The text says what and where."""


class Readable(Protocol):
    """What can be read in pieces."""

    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry. Its content is read with `TarStream.content`, before the next entry."""

    path: str
    size: int
    """Bytes of content; 0 for all but regular files."""
    is_file: bool
    is_dir: bool
    leaves: bool
    """The path leads out of the image, as `../etc/passwd` does."""
    offset: int
    """Of the content, in the archive."""


class TarStream:
    """The entries of one archive, in their order."""

    def __init__(self, source: Readable, bytes_max: int, seek: Callable[[int, int], int] | None = None) -> None:
        """`bytes_max`: of the whole archive, unpacked. `seek`: of a source that can pass over what is not read."""
        self._source = source
        self._seek = seek
        self._bytes_max = bytes_max
        self._at = 0
        self._left = 0
        """Content of the present entry that is not read, with its padding."""
        self._padding = 0

    @property
    def size(self) -> int:
        """Return how many bytes have been read, unpacked."""
        return self._at

    def entries(self) -> Iterator[Entry]:
        """Yield each entry. Raises BadArchive, and what the source raises."""
        for _ in range(ENTRIES_MAX):
            found = self._next()
            if found is None:
                return
            yield found
        raise BadArchive(f"has more than {ENTRIES_MAX} entries")

    def content(self, size_max: int) -> bytes:
        """Return what is left of the present entry's content, at most so many bytes of it."""
        pieces = []
        while size_max > 0 and self._left > self._padding:
            piece = self._read(min(CHUNK, size_max, self._left - self._padding))
            self._left -= len(piece)
            size_max -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def _next(self) -> Entry | None:
        name = size = None
        while True:
            self._skip()
            header = self._header()
            if header is None:
                return None
            self._left = self._padded(header.size) if _has_content(header) else 0
            self._padding = self._left - header.size if self._left else 0
            if header.type in PAX:
                fields = _pax(self._extended(header))
                name, size = fields.get("path", name), fields.get("size", size)
            elif header.type in LONG:
                text = self._extended(header).rstrip(b"\0").decode("utf-8", "surrogateescape")
                name = text if header.type == tarfile.GNUTYPE_LONGNAME else name
            elif header.type == tarfile.XGLTYPE:
                self._extended(header)
            elif header.type == tarfile.GNUTYPE_SPARSE:
                raise BadArchive(f"has a sparse file at byte {self._at}, which no layer has")
            else:
                return self._entry(header, name, size)

    def _entry(self, header: tarfile.TarInfo, name: str | None, size: str | None) -> Entry:
        if size is not None:
            header.size = _number(size)
            self._left = self._padded(header.size) if _has_content(header) else 0
            self._padding = self._left - header.size if self._left else 0
        path = posixpath.normpath((header.name if name is None else name).lstrip("/") or ".")
        return Entry(
            path=path,
            size=header.size if _is_file(header) else 0,
            is_file=_is_file(header),
            is_dir=header.isdir(),
            leaves=path == ".." or path.startswith("../"),
            offset=self._at,
        )

    def _header(self) -> tarfile.TarInfo | None:
        block = self._read(BLOCK, at_end=True)
        if not block.strip(b"\0"):
            return None
        try:
            found = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as exc:
            raise BadArchive(f"has no tar header at byte {self._at - BLOCK}: {exc}") from exc
        if found.size < 0:
            raise BadArchive(f"has an entry of {found.size} bytes")
        return found

    def _extended(self, header: tarfile.TarInfo) -> bytes:
        if header.size > HEADER_MAX:
            raise BadArchive(f"has an extended header of {header.size} bytes, more than {HEADER_MAX}")
        return self.content(HEADER_MAX)

    def _padded(self, size: int) -> int:
        return (size + BLOCK - 1) // BLOCK * BLOCK

    def _skip(self) -> None:
        if self._seek is not None:
            self._count(self._left)
            self._seek(self._left, os.SEEK_CUR)
            self._left = 0
        while self._left:
            self._left -= len(self._read(min(CHUNK, self._left)))

    def _read(self, size: int, *, at_end: bool = False) -> bytes:
        """Return exactly so many bytes; none where the archive may end here, and does."""
        found = b""
        while len(found) < size:
            piece = self._source.read(size - len(found))
            if not piece:
                if at_end and not found:
                    return b""
                raise BadArchive(f"ends early, at byte {self._at + len(found)}")
            found += piece
        self._count(size)
        return found

    def _count(self, size: int) -> None:
        self._at += size
        if self._at > self._bytes_max:
            raise BadArchive(f"has more than {self._bytes_max} bytes when it is unpacked")


def _is_file(header: tarfile.TarInfo) -> bool:
    return header.isreg() or header.type not in tarfile.SUPPORTED_TYPES


def _has_content(header: tarfile.TarInfo) -> bool:
    extended = (*PAX, *LONG, tarfile.XGLTYPE, tarfile.GNUTYPE_SPARSE)
    return _is_file(header) or header.type in extended


def _pax(content: bytes) -> dict[str, str]:
    """Return the fields of a pax header: `LENGTH KEY=VALUE\\n`, each."""
    fields = {}
    while content.strip(b"\0"):
        length, _, _ = content.partition(b" ")
        size = _number(length.decode("ascii", "replace"))
        record, content = content[:size], content[size:]
        key, equals, value = record[len(length) + 1 : -1].partition(b"=")
        if not equals or not record.endswith(b"\n"):
            raise BadArchive("has a pax header that is none")
        fields[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
    return fields


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < len(text) < 20 and int(text) >= 0):
        raise BadArchive(f"has {text[:20]!r} where a size should be")
    return int(text)
