"""Read the files of an image's layers, the lowest layer first, each as a stream.

Invariants:
- Nothing is unpacked to disk, and no more than CONTENT_MAX of a file is held.
- All layers together are at most UNPACKED_MAX: a small archive that unpacks to more is refused, not followed.
- Where a layer's digest is known, its bytes are compared with it.

Sources: OCI image specification, layer.md; RFC 1952 (gzip), RFC 8878 (zstd); Amazon ECS developer guide, "Fargate task
ephemeral storage" (20 GiB by default, images included).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Callable, Generator, Iterator
from typing import IO, Final

from sidecar.listing.image.manifests import LAYERS, Image, Layer
from sidecar.listing.image.store import Store, Unreadable
from sidecar.listing.image.tar_stream import CHUNK, ENTRIES_MAX, BadArchive, Entry, TarStream
from sidecar.quick_dataclasses import dataclass

UNPACKED_MAX: Final = 20 << 30
CONTENT_MAX: Final = 1 << 20
"""Bytes of one file that are held."""
GZIP: Final = b"\x1f\x8b"
ZSTD: Final = b"\x28\xb5\x2f\xfd"


class CannotUnpack(ValueError):
    """A layer in a form that this Python does not read."""


@dataclass(frozen=True, kw_only=True)
class LayerFile:
    """One entry of a layer."""

    layer: int
    """From 1, the lowest."""
    entry: Entry
    content: Callable[[int], bytes]
    """Return at most so many bytes of it, before the next entry."""


class _Counting:
    """What is read of a blob, with its digest."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int = -1, /) -> bytes:
        found = self._file.read(CHUNK if size < 0 else min(size, CHUNK))
        self.digest.update(found)
        return found

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Refuse: a blob is read once, to its end."""
        raise io.UnsupportedOperation(f"seek to {offset} from {whence}")

    def drain(self) -> str:
        """Read to the end, and return the digest."""
        while self.read(CHUNK):
            pass
        return f"sha256:{self.digest.hexdigest()}"


def files(store: Store, image: Image, unpacked_max: int = UNPACKED_MAX) -> Iterator[LayerFile]:
    """Yield every entry of every layer. Raises Unreadable and CannotUnpack. Only tests give another bound."""
    for count, one in enumerate(_of_layers(store, image, unpacked_max)):
        if count >= ENTRIES_MAX:
            raise Unreadable(f"it has more than {ENTRIES_MAX} files, which no image has.")
        yield one


def _of_layers(store: Store, image: Image, left: int) -> Iterator[LayerFile]:
    for number, layer in enumerate(image.layers, start=1):
        if layer.media_type and layer.media_type not in LAYERS:  # a finding of `platforms`
            continue
        try:
            left = yield from _layer(store, layer, number, left)
        except BadArchive as exc:
            raise Unreadable(f"layer {number} {exc}. Build the image again.") from exc
        except (OSError, EOFError, zlib.error) as exc:
            raise Unreadable(f"layer {number} cannot be unpacked: {exc}. Build the image again.") from exc


def _layer(store: Store, layer: Layer, number: int, left: int) -> Generator[LayerFile, None, int]:
    """Yield the entries of one layer. Returns how much the layers after it may have."""
    with store.open(layer.file) as file:
        begin = file.peek(4)[:4] if hasattr(file, "peek") else b""
        if begin == ZSTD:
            raise CannotUnpack(f"layer {number} is compressed with zstd")
        source = _Counting(file)
        unpacked = gzip.GzipFile(fileobj=source, mode="rb") if begin[:2] == GZIP else source
        stream = TarStream(unpacked, left)
        for entry in stream.entries():
            yield LayerFile(layer=number, entry=entry, content=stream.content)
        if layer.digest and source.drain() != layer.digest:
            raise Unreadable(f"layer {number} does not have the content of its digest. Save the image again.")
        return left - stream.size
