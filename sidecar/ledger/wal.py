"""Read a ledger's write-ahead log before SQLite does, and tell a damaged one from one whose end is torn.

SQLite ends its recovery at the first frame whose checksum is wrong, without a word: right for the end of a log that a
crash cut off, and a silent loss where the disk changed a frame that was acknowledged.

Invariants:
- The log is damaged if commits with the same salt follow a frame that is not whole, and that frame was on disk before
  the last of them was begun. No commit follows what a kill or a full disk cut off.
- That is told by frames whose checksums fit one another, without a gap. What a rollback, or a commit that failed, left
  behind later commits does not fit them, and was there before: it tells nothing.
- After a power cut the blocks of the last commit, which was not acknowledged, may be on disk in any order. It looks as
  one does that was acknowledged and that the disk changed later: such a commit is in doubt. The log is used without
  it, and its reader must be told.
- A header that is not whole before whole frames is damage: SQLite would ignore the log. It names the byte order of the
  checksums, so that frames are then tried in both. It is none where the database has what the frames would put there:
  a full log is written into it before a new header is, and a disk may fail in the middle of those 32 bytes.
- Frames of an earlier use of the file have another salt, and do not count. No checksum covers the salt: a frame that
  has another one and fits otherwise was written here, and its salt was changed.
- After a sync that failed, the kernel takes pages as written that are not on disk: it shows them to the next opening,
  and no later sync writes them. `renew` writes the log again before commits follow on it.
- `inspect` writes nothing. What is left of a commit that is not used, behind a shorter one that was written over its
  start, would look like damage: `cut` takes it out of the log before anything is written.

The checksum is a linear recurrence over pairs of words. Word by word Python needs a quarter of a second for a full log,
so many frames are added up at once, each in 64 bits of one large integer.

Sources: sqlite.org/fileformat2.html (the write-ahead log, checksum algorithm); PostgreSQL wiki, "Fsync Errors".
"""

from __future__ import annotations

import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

MAGIC: Final = 0x377F0682
"""With its last bit set, the words in checksums are big-endian."""
HEADER: Final = struct.Struct(">IIII8sII")
"""Magic, format, bytes a page, checkpoints, salt, checksum."""
FRAME: Final = struct.Struct(">II8sII")
"""Page, pages after a commit (0: none), salt, checksum."""
PAGE_BYTES: Final = 4096
FRAME_BYTES: Final = FRAME.size + PAGE_BYTES
FRAMES: Final = 128
"""Frames that are read and added up at once."""
PAIRS: Final = (0, *range(FRAME.size // 8, FRAME_BYTES // 8))
"""Which 8 bytes of a frame its checksum covers: the first of its header, and its page."""
MASK: Final = 0xFFFFFFFF

Sum = tuple[int, int]


class Frame(NamedTuple):
    """One page as the log has it."""

    commits: bool
    salt: bytes
    stored: Sum
    """Its checksum as it is on disk."""
    own: Sum
    """What its content adds to the checksum before it."""

    def expected(self, before: Sum) -> Sum:
        """Return the checksum it must have behind one with the checksum `before`."""
        first, second = before
        (a, b), (c, d) = CARRIED
        return (a * first + b * second + self.own[0]) & MASK, (c * first + d * second + self.own[1]) & MASK


def _carried(pairs: int) -> tuple[Sum, Sum]:
    """Return how a checksum goes into the one that many pairs later, as the rows of a matrix."""
    columns = []
    for first, second in ((1, 0), (0, 1)):
        for _ in range(pairs):
            first = (first + second) & MASK
            second = (second + first) & MASK
        columns.append((first, second))
    return (columns[0][0], columns[1][0]), (columns[0][1], columns[1][1])


CARRIED: Final = _carried(len(PAIRS))


def path_of(path: Path) -> Path:
    """Return the log of the ledger at `path`."""
    return path.with_name(f"{path.name}-wal")


class Finding(NamedTuple):
    """What there is to know of a log before it is used."""

    damage: str | None = None
    """What is wrong with it; None for a good or a torn one."""
    torn: bool = False
    """Frames that SQLite does not read lie behind the last whole one: `cut` it before the next commit."""
    in_doubt: bool = False
    """The last commit is not whole: it was not acknowledged, or the disk changed it later."""


def inspect(path: Path) -> Finding:
    """Return what is to be known of the log of the ledger at `path`. Raises OSError."""
    try:
        handle = os.open(path_of(path), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return Finding()
    try:
        return _inspect(handle, path)
    finally:
        os.close(handle)


def cut(path: Path) -> None:
    """Overwrite what follows the last whole frame, so that it is neither used nor damage. Raises OSError.

    A damaged log is left as it is: what follows was acknowledged, and the next opening must find it. Only between two
    transactions of the one process that has the ledger open: SQLite writes over what is cut.
    """
    handle = os.open(path_of(path), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        log = _read(handle)
        if not log.good or log.whole == len(log.frames) or _behind(log).damage:
            return
        for number in range(log.whole, len(log.frames)):
            if log.frames[number].salt == log.salt:
                os.pwrite(handle, bytes(FRAME.size), HEADER.size + number * FRAME_BYTES)
    finally:
        os.close(handle)


def renew(path: Path) -> None:
    """Write the log of the ledger at `path` again, as it is, and sync it. Raises OSError."""
    try:
        handle = os.open(path_of(path), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        at = 0
        while chunk := os.pread(handle, FRAMES * FRAME_BYTES, at):
            at += os.pwrite(handle, chunk, at)
        os.fsync(handle)
    finally:
        os.close(handle)


class Log(NamedTuple):
    """A log, as it was read."""

    salt: bytes = b""
    stored: Sum = (0, 0)
    """The checksum of its header, as it is on disk."""
    computed: Sum = (0, 0)
    ours: bool = True
    """The header is a log's, and of pages as large as a ledger's."""
    swapped: bool = False
    """The words in its checksums are big-endian."""
    frames: tuple[Frame, ...] = ()
    whole: int = 0
    """How many of them SQLite reads."""

    @property
    def good(self) -> bool:
        """Return whether SQLite takes the header as a log's."""
        return self.ours and self.computed == self.stored


def _read(handle: int, swapped: bool | None = None) -> Log:
    """Return what is in a log, read in the byte order that its header names, or in this one."""
    raw = os.pread(handle, HEADER.size, 0)
    if len(raw) < HEADER.size:
        return Log()
    magic, _, page_bytes, _, salt, *stored = HEADER.unpack(raw)
    swapped = magic == MAGIC | 1 if swapped is None else swapped
    before = (stored[0], stored[1])
    computed = checksum(raw[: HEADER.size - 8], (0, 0), swapped)
    frames = tuple(_frames(handle, swapped))
    ours = magic == MAGIC | swapped and page_bytes == PAGE_BYTES
    log = Log(salt, before, computed, ours, swapped, frames)
    if not log.good:
        return log
    for number, frame in enumerate(frames):
        if frame.salt != salt or frame.stored != frame.expected(before):
            return log._replace(whole=number)
        before = frame.stored
    return log._replace(whole=len(frames))


def _inspect(handle: int, path: Path) -> Finding:
    log = _read(handle)
    if not log.frames or log.whole == len(log.frames):
        return Finding()
    if log.good:
        return _behind(log)
    both = (log, _read(handle, swapped=not log.swapped))
    lost = any(_has_commits(one) and not _in_database(one, handle, path) for one in both)
    return Finding("its header is not what was written" if lost else None)


def _has_commits(log: Log) -> bool:
    """Return whether frames behind this header, which is not whole, commit."""
    head = Frame(commits=False, salt=log.salt, stored=log.stored, own=(0, 0))
    return any(_commits(log.computed, (head, *log.frames), log.frames[0].salt))


def _in_database(log: Log, handle: int, path: Path) -> bool:
    """Return whether the database has the last page of each number that whole frames of one use of the log commit."""
    salt, whole = log.frames[0].salt, 1
    for before, frame in pairwise(log.frames):
        if frame.salt != salt or frame.stored != frame.expected(before.stored):
            break
        whole += 1
    if any(_commits(log.frames[whole - 1].stored, log.frames[whole - 1 :], salt)):
        return False
    end = max((number for number in range(whole) if log.frames[number].commits), default=-1) + 1
    newest = {_page_number(handle, number): number for number in range(end)}
    with path.open("rb") as database:
        return all(
            os.pread(handle, PAGE_BYTES, HEADER.size + number * FRAME_BYTES + FRAME.size)
            == os.pread(database.fileno(), PAGE_BYTES, (page - 1) * PAGE_BYTES)
            for page, number in newest.items()
        )


def _page_number(handle: int, number: int) -> int:
    page, *_ = FRAME.unpack(os.pread(handle, FRAME.size, HEADER.size + number * FRAME_BYTES))
    return int(page)


def _behind(log: Log) -> Finding:
    """Return what the first frame that is not whole, and those behind it, tell."""
    start = log.frames[log.whole - 1].stored if log.whole else log.stored
    frames = log.frames[log.whole :]
    bad, number = frames[0], log.whole + 1
    runs = list(_runs(bad.expected(start), frames, log.salt))
    any_commits = any(any(run) for _, run in runs)
    if bad.stored == bad.expected(start) and (bad.commits or any_commits):
        return Finding(f"the salt of frame {number} is not what was written")
    ends_earlier = bad.commits and bad.salt == log.salt  # the commit behind it is another one
    for first, run in runs:
        if any(run) and ((ends_earlier and first == 1) or sum(run) > 1 or not run[-1]):
            return Finding(f"frame {number} is not what was written, and others were committed behind it")
    return Finding(torn=any(frame.salt == log.salt for frame in frames), in_doubt=any_commits)


def _runs(computed: Sum, frames: Sequence[Frame], salt: bytes) -> Iterator[tuple[int, list[bool]]]:
    """Yield whole frames behind the first, as long as each fits the one before: where they begin, and which commit.

    `computed`: what the first one's checksum should be. The disk may have changed its page, or its checksum.
    """
    run: list[bool] = []
    for number, (before, frame) in enumerate(pairwise(frames), 1):
        if frame.salt == salt and frame.stored in (frame.expected(before.stored), frame.expected(computed)):
            run.append(frame.commits)
        elif run:
            yield number - len(run), run
            run = []
    if run:
        yield len(frames) - len(run), run


def _commits(computed: Sum, frames: Sequence[Frame], salt: bytes) -> Iterator[bool]:
    """Yield of each of those whether it commits."""
    for _, run in _runs(computed, frames, salt):
        yield from run


def _frames(handle: int, swapped: bool) -> Iterator[Frame]:
    at = HEADER.size
    while count := len(chunk := os.pread(handle, FRAMES * FRAME_BYTES, at)) // FRAME_BYTES:
        at += count * FRAME_BYTES
        chunk = chunk[: count * FRAME_BYTES]
        for number, own in enumerate(_sums(chunk, count, swapped)):
            _, pages, salt, *stored = FRAME.unpack_from(chunk, number * FRAME_BYTES)
            yield Frame(pages > 0, salt, (stored[0], stored[1]), own)


def _sums(chunk: bytes, count: int, swapped: bool) -> Iterator[Sum]:
    """Yield what each frame's content adds to a checksum; added up for all of them at once."""
    pairs = array("Q", _little_endian(chunk, swapped))
    low = int.from_bytes(b"\xff\xff\xff\xff\0\0\0\0" * count, "little")
    first = second = 0
    for pair in PAIRS:
        words = int.from_bytes(pairs[pair :: FRAME_BYTES // 8].tobytes(), "little")
        first = (first + (words & low) + second) & low
        second = (second + (words >> 32 & low) + first) & low
    lanes = struct.Struct(f"<{count}Q")
    return zip(*(lanes.unpack(one.to_bytes(lanes.size, "little")) for one in (first, second)), strict=True)


def checksum(data: bytes, start: Sum, swapped: bool) -> Sum:
    """Return SQLite's checksum of `data`, a multiple of 8 bytes, behind `start`."""
    first, second = start
    words = iter(struct.unpack(f"<{len(data) // 4}I", _little_endian(data, swapped)))
    for one, other in zip(words, words, strict=True):
        first = (first + one + second) & MASK
        second = (second + other + first) & MASK
    return first, second


def _little_endian(data: bytes, swapped: bool) -> bytes:
    if not swapped:
        return data
    words = array("I", data)
    words.byteswap()
    return words.tobytes()
