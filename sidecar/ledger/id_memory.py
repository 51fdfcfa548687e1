"""Say from memory which ids are new, and hold those that wait to be sorted in.

Invariants:
- Each id that the ledger knows has its bit set, in the bitmap of its generation. Several ids share a bit, so a bit that
  is set proves nothing: then the disk is asked. No rollback needs to clear one.
- The ids that wait are those of the log that were not sorted in. What a rollback took from the log is taken from here
  before anything is looked up (`follow`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from mmap import MAP_ANONYMOUS, MAP_PRIVATE, mmap
from typing import Final, NamedTuple

ID: Final = 14
ENTRY: Final = 22
"""Bytes of an id's digest that are kept, and of an entry: the id, and what is kept of its content's digest."""
SLICES: Final = 256
"""A slice is all ids with one first byte."""
BITS: Final = 1 << 23
"""A megabyte for each generation. Once a million ids are known, one new id in nine asks the disk in vain."""
HEAD: Final = struct.Struct(f">I{ENTRY - 4}x")
"""The first four bytes of an entry."""
MASKS: Final = tuple(1 << bit for bit in range(8))


class Place(NamedTuple):
    """Which state of the log memory agrees with.

    After a rollback other ids can lead to the same place, so `follow` is called before each insert.
    """

    turned_at: int
    """When the generation began, in epoch seconds."""
    taken: int
    """How many ids the log took since."""


NOWHERE: Final = Place(-1, -1)


class _Step(NamedTuple):
    """What one insert, or the begin of a generation, changed."""

    before: Place
    entries: Sequence[bytes]
    """What was added."""
    moved: dict[int, bytearray]
    """Slices that were sorted in, as they were."""
    turned: tuple[list[bytearray], mmap, mmap] | None = None
    """The slices and bitmaps of the generations before."""


class IdMemory:
    """What one connection to a ledger holds in memory about its ids."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._slices = [bytearray() for _ in range(SLICES)]
        self._bits, self._bits_before = _bitmap(), _bitmap()
        self._steps: list[_Step] = []

    def note(self, entries: bytes) -> list[int]:
        """Set the bits of these; return the positions of those that may be known, or may be here twice."""
        bits, before, masks, doubtful = self._bits, self._bits_before, MASKS, []
        for position, (head,) in enumerate(HEAD.iter_unpack(entries)):
            at, mask = head >> 12, masks[head >> 9 & 7]
            now = bits[at]
            if (now | before[at]) & mask:
                doubtful.append(position)
            bits[at] = now | mask
        return doubtful

    def turn(self, place: Place) -> None:
        """Begin a generation, of which nothing is known yet; the one before the last is forgotten."""
        turned = self._slices, self._bits, self._bits_before
        self._steps.append(_Step(self.place, (), {}, turned))
        self._slices = [bytearray() for _ in range(SLICES)]
        self._bits, self._bits_before, self.place = _bitmap(), self._bits, place

    def load(self, waiting: Iterable[bytes]) -> None:
        """Hold these entries, which wait to be sorted in."""
        slices = self._slices
        for entry in waiting:
            slices[entry[0]] += entry

    def waiting(self, part: int) -> list[bytes]:
        """Return the entries of one slice that wait to be sorted in, in order."""
        slice_ = bytes(self._slices[part])
        return sorted([slice_[at : at + ENTRY] for at in range(0, len(slice_), ENTRY)])

    def content_of(self, entry: bytes) -> bytes | None:
        """Return what is kept of the content that the id of this entry was first sent with, if that waits here."""
        slice_, wanted = self._slices[entry[0]], entry[:ID]
        at = slice_.find(wanted)
        while at % ENTRY and at >= 0:
            at = slice_.find(wanted, at + 1)
        return None if at < 0 else bytes(slice_[at + ID : at + ENTRY])

    def add(self, entries: Sequence[bytes], place: Place) -> None:
        """Hold the entries that the log has just taken; `place`: where the ledger is now."""
        before, self.place = self.place, NOWHERE  # where one of them cannot be held, memory is reloaded
        self.load(entries)
        self._steps.append(_Step(before, entries, {}))
        self.place = place

    def moved(self, part: int) -> None:
        """Drop a slice that was sorted in with the entries that were added last."""
        self._steps[-1].moved.setdefault(part, self._slices[part])
        self._slices[part] = bytearray()

    def follow(self, place: Place) -> bool:
        """Take back what a rollback took from the log. False where that does not lead to `place`: then reload."""
        if self.place == NOWHERE:
            return False
        while self._steps and self.place != place:
            self.place, entries, moved, turned = self._steps.pop()
            if turned is not None:
                self._slices, self._bits, self._bits_before = turned
            for part, slice_ in moved.items():
                self._slices[part] = slice_
            for entry in entries:
                del self._slices[entry[0]][-ENTRY:]
        return self.place == place

    def begin(self) -> None:
        """Begin a transaction: what was added before it stays."""
        self._steps.clear()


def _bitmap() -> mmap:
    return mmap(-1, BITS // 8, MAP_PRIVATE | MAP_ANONYMOUS)  # takes memory where it is written to
