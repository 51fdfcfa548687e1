"""Model what a disk holds when the power fails: of what was not synced any part, in any order, torn at its sectors.

Invariants:
- What fsync or fdatasync acknowledged is in every image; of the rest each image has a part, which chance chooses.
- Names are as durable as contents: a file that was created, renamed or removed is so for certain once its directory
  was synced. A rename happens whole or not at all.
- After a sync that failed, the kernel holds the pages as clean: no later sync writes them, until something changes them
  again.

Sources: fsync(2), including the note on directories; PostgreSQL wiki, "Fsync Errors"; SQLite, "Atomic Commit".
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Final

SECTOR: Final = 512
PAGE: Final = 4096
PARTS_MAX: Final = 10
"""Of so many sectors of one file that were not synced each subset is made; of more, some by chance."""


class Loss(Enum):
    """What becomes of that which was not synced."""

    DROPPED = "dropped"
    KEPT = "kept"
    PREFIX = "prefix"
    """What was written first, up to a sector."""
    REORDERED = "reordered"
    """Any of its sectors, in any order."""


Change = tuple[int, bytes | None]
"""Bytes written at a place, or (size, None)."""


class File:
    """One file: what is on the disk for certain, and what was changed since."""

    def __init__(self, content: bytes = b"") -> None:
        self.durable = bytearray(content)
        self.cache = bytearray(content)
        self.pending: list[Change] = []
        self._clean: set[int] = set()
        """Pages that the disk does not have and no sync will write."""

    def write(self, at: int, data: bytes) -> None:
        """Change the content in memory."""
        _apply(self.cache, (at, data))
        for page in range(at // PAGE, (at + len(data) - 1) // PAGE + 1):
            if page in self._clean:
                self._clean.remove(page)
                self.pending.append((page * PAGE, bytes(self.cache[page * PAGE : (page + 1) * PAGE])))
        self.pending.append((at, data))

    def resize(self, size: int) -> None:
        """Cut or extend the content in memory."""
        _apply(self.cache, (size, None))
        self.pending.append((size, None))

    def synced(self) -> None:
        """Make everything durable."""
        for change in self.pending:
            _apply(self.durable, change)
        self.pending.clear()

    def sync_failed(self, chance: random.Random) -> None:
        """Drop some sectors for good, and keep the others and the sizes."""
        for at, data in self.pending:
            if data is None:
                _apply(self.durable, (at, None))
                continue
            for part in sectors(at, data):
                if chance.random() < 0.5:
                    _apply(self.durable, part)
            self._clean.update(range(at // PAGE, (at + len(data) - 1) // PAGE + 1))
        self.pending.clear()

    def image(self, loss: Loss, chance: random.Random) -> bytes:
        """Return what the disk could hold now."""
        found = bytearray(self.durable)
        for change in _survivors(self.pending, loss, chance):
            _apply(found, change)
        if loss is Loss.REORDERED and len(found) < len(self.cache) and chance.random() < 0.3:
            _apply(found, (len(self.cache), None))  # the size reached the disk, and the blocks did not
        return bytes(found)

    def every_image(self) -> set[bytes] | None:
        """Return all that the disk could hold now; None where that is too much."""
        parts = _parts(self.pending)
        if len(parts) > PARTS_MAX:
            return None
        images = set()
        for kept in itertools.product([False, True], repeat=len(parts)):
            found = bytearray(self.durable)
            for part in itertools.compress(parts, kept):
                _apply(found, part)
            images |= {bytes(found), bytes(found).ljust(len(self.cache), b"\0")}  # the size may be there alone
        return images


class Directory:
    """The files of one directory, under the names that memory and the disk know."""

    def __init__(self, files: Mapping[str, bytes] | None = None) -> None:
        self.names = {name: File(content) for name, content in (files or {}).items()}
        self._durable = dict(self.names)
        self._pending: list[dict[str, File | None]] = []

    def create(self, name: str) -> File:
        """Return the file of this name, created where there is none."""
        if name not in self.names:
            self._change({name: File()})
        return self.names[name]

    def rename(self, name: str, to: str) -> None:
        """Give a file another name, in place of the file that has it."""
        self._change({name: None, to: self.names[name]})

    def unlink(self, name: str) -> None:
        """Remove a name."""
        self._change({name: None})

    def synced(self) -> None:
        """Make all names durable."""
        for change in self._pending:
            _name(self._durable, change)
        self._pending.clear()

    @property
    def unsynced(self) -> bool:
        """Whether a power failure now could lose something."""
        return bool(self._pending) or any(file.pending for file in self.names.values())

    def image(self, loss: Loss, chance: random.Random) -> dict[str, bytes]:
        """Return what the disk could hold now, by name."""
        names = dict(self._durable)
        for change in _names_kept(self._pending, loss, chance):
            _name(names, change)
        return {name: file.image(loss, chance) for name, file in sorted(names.items())}

    def every_image(self) -> Iterator[dict[str, bytes]]:
        """Yield all that the disk could hold now, by name; of a file with too many contents, its present one."""
        for count in range(len(self._pending) + 1):
            names = dict(self._durable)
            for change in self._pending[:count]:
                _name(names, change)
            contents = [file.every_image() or {bytes(file.cache)} for file in names.values()]
            for image in itertools.product(*contents):
                yield dict(zip(names, image, strict=True))

    @property
    def countable(self) -> bool:
        """Whether `every_image` leaves nothing out."""
        return all(len(_parts(file.pending)) <= PARTS_MAX for file in self._files())

    def _files(self) -> set[File]:
        pending = (file for change in self._pending for file in change.values() if file)
        return {*self.names.values(), *self._durable.values(), *pending}

    def _change(self, change: dict[str, File | None]) -> None:
        _name(self.names, change)
        self._pending.append(change)


def sectors(at: int, data: bytes) -> Iterable[tuple[int, bytes]]:
    """Yield what a disk writes whole."""
    start = 0
    while start < len(data):
        end = min(len(data), start + SECTOR - (at + start) % SECTOR)
        yield at + start, data[start:end]
        start = end


def _apply(content: bytearray, change: Change) -> None:
    at, data = change
    if data is None:
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    content.extend(bytes(max(0, at - len(content))))
    content[at : at + len(data)] = data


def _parts(pending: list[Change]) -> list[Change]:
    """Return changes as what a disk does whole."""
    parts: list[Change] = []
    for at, data in pending:
        parts += [(at, None)] if data is None else sectors(at, data)
    return parts


def _survivors(pending: list[Change], loss: Loss, chance: random.Random) -> list[Change]:
    """Return the changes that reached the disk, as sectors."""
    if loss is Loss.DROPPED:
        return []
    parts = _parts(pending)
    if loss is Loss.PREFIX:
        return parts[: chance.randint(0, len(parts))]
    if loss is Loss.REORDERED:
        share = chance.choice([0.1, 0.5, 0.9])
        return [part for part in parts if chance.random() < share]
    return parts


def _names_kept(
    pending: list[dict[str, File | None]], loss: Loss, chance: random.Random
) -> list[dict[str, File | None]]:
    """Return the changes of names that reached the disk: a part from the beginning, as a journal keeps them."""
    if loss in (Loss.DROPPED, Loss.KEPT):
        return pending if loss is Loss.KEPT else []
    return pending[: chance.randint(0, len(pending))]


def _name(names: dict[str, File], change: dict[str, File | None]) -> None:
    for name, file in change.items():
        if file is None:
            names.pop(name, None)
        else:
            names[name] = file
