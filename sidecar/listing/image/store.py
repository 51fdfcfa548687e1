"""Open the files of an image on this machine: an OCI layout in a directory, or an archive of `save`.

Invariants:
- Nothing is unpacked: an archive is read where it lies.
- A file is opened by a name below the layout; a name that leads out of it, a link or a device is refused.
- A document is read up to JSON_MAX, and must be JSON.

Sources: OCI image specification, image-layout.md (oci-layout, index.json, blobs); registries limit a manifest to 4 MiB.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
from pathlib import Path
from typing import IO, Any, Final, Protocol

from sidecar.listing.image.tar_stream import BadArchive, Entry, TarStream

JSON_MAX: Final = 4 << 20
"""Bytes of an index, a manifest or a configuration."""
FILES_MAX: Final = 20_000
"""Files of one archive: layers and documents."""
ARCHIVE_MAX: Final = 256 << 30
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")

Json = dict[str, Any]


class Unreadable(ValueError):
    """An image that cannot be read. The text says what is wrong with which file, and how to mend it."""


class Store(Protocol):
    """The files of one image."""

    def has(self, name: str) -> bool:
        """Return whether there is a file of this name."""

    def open(self, name: str) -> IO[bytes]:
        """Open a file. Raises Unreadable."""


class Directory:
    """An OCI layout in a directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def has(self, name: str) -> bool:
        return (self._path / name).is_file()

    def open(self, name: str) -> IO[bytes]:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise Unreadable(f"{name!r} leads out of the image. Build it again.")
        try:
            handle = os.open(self._path / name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            file = os.fdopen(handle, "rb")
        except OSError as exc:
            raise Unreadable(f"{name} cannot be read: {exc.strerror}. Save the image again.") from exc
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            file.close()
            raise Unreadable(f"{name} is no regular file. Save the image again.")
        return file


class Archive:
    """A tar archive, as `podman save`, `docker save` and `docker buildx build --output type=oci` write it."""

    def __init__(self, path: Path) -> None:
        """Raises Unreadable, BadArchive and OSError."""
        self._path = path
        self._entries: dict[str, Entry] = {}
        with path.open("rb") as file:
            if file.read(2) == b"\x1f\x8b":
                raise Unreadable("it is compressed as a whole. Unpack it with `gunzip` first.")
            file.seek(0)
            for entry in TarStream(file, ARCHIVE_MAX, file.seek).entries():
                if entry.is_file:
                    self._entries[entry.path] = entry
                if len(self._entries) > FILES_MAX:
                    raise Unreadable(f"it has more than {FILES_MAX} files, which no image has.")

    def has(self, name: str) -> bool:
        return name in self._entries

    def open(self, name: str) -> IO[bytes]:
        entry = self._entries.get(name)
        if entry is None:
            raise Unreadable(f"{name} is not in the archive. Save the image again.")
        return io.BufferedReader(_Part(self._path, entry.offset, entry.size))


class _Part(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self._file = path.open("rb")
        self._file.seek(offset)
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)[: self._left]
        count = self._file.readinto(view)
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def opened(name: str) -> Store:
    """Return the store in a directory or archive. Raises Unreadable."""
    path = Path(name)
    try:
        if path.is_dir():
            return Directory(path)
        if not path.is_file():
            raise Unreadable("it is no file. Save the image to a file first.")
        return Archive(path)
    except BadArchive as exc:
        raise Unreadable(f"it {exc}. Give an archive of `podman save` or `docker save`, or an OCI layout.") from exc
    except OSError as exc:
        raise Unreadable(f"it cannot be read: {exc.strerror}.") from exc


def document(store: Store, name: str, digest: str = "") -> Any:
    """Return the JSON in a file. `digest`: what its SHA-256 must be. Raises Unreadable."""
    with store.open(name) as file:
        content = file.read(JSON_MAX + 1)
    if len(content) > JSON_MAX:
        raise Unreadable(f"{name} has more than {JSON_MAX} bytes, which no registry takes.")
    if digest and f"sha256:{hashlib.sha256(content).hexdigest()}" != digest:
        raise Unreadable(f"{name} does not have the content of its digest. Save the image again.")
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as exc:
        raise Unreadable(f"{name} is not JSON: {exc}. Build the image again.") from exc


def blob(digest: object) -> str:
    """Return the name of a blob's file. Raises Unreadable."""
    if not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise Unreadable(f"{str(digest)[:80]!r} is not a digest: sha256: and 64 hexadecimal digits.")
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"
