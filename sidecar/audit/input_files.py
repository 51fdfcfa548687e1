"""Read input files a piece at a time, plain or gzip, and collect what is wrong with them.

Invariants:
- A file is gzip if it begins as one (RFC 1952, section 2.3.1), whatever its name is; `-` is stdin.
- Nothing that should have been a record is skipped silently: a line that cannot be read is a fault, and the comparison
  does not take place. Only a last line without a line break, as in a copy of a log that is still written, is ignored
  and counted.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from typing import IO, Final

from sidecar.audit.rows import Row, day_of
from sidecar.printable import one_line
from sidecar.quick_dataclasses import dataclass, field

STDIN: Final = "-"
GZIP: Final = b"\x1f\x8b"
LINE_MAX: Final = 64 * 1024 * 1024
"""Bytes. A record with the most allocations and tags that AWS takes, sealed four times, is below 20 MB."""
CHUNK: Final = 1024 * 1024
FAULTS_MAX: Final = 20
"""Faults that are named; reading ends behind them."""
SHOWN_MAX: Final = 120

TRUNCATED: Final = "truncated_last_line"
OUTSIDE: Final = "outside_period"

Advance = Callable[[str, int, int], None]
"""Is told a file's name, the bytes read of it, and its size (0: unknown)."""


class Unreadable(ValueError):
    """A line, an event or a cell breaks a rule. The text names value, rule and fix."""


class TooManyFaults(Exception):
    """So many faults that reading on would only name more of the same."""


@dataclass(kw_only=True)
class Reading:
    """What was read of one sort of file."""

    files: list[str] = field(default_factory=list)
    lines: int = 0
    """Lines, or events."""
    rows: int = 0
    """Of these, what is compared."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Reason → lines."""
    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def fault(self, place: str, exc: Exception) -> None:
        """Keep a fault. Raises TooManyFaults."""
        self.faults.append(f"{place}: {one_line(str(exc))}")
        if len(self.faults) >= FAULTS_MAX:
            raise TooManyFaults


@dataclass(frozen=True, kw_only=True, slots=True)
class Period:
    """The UTC days that are compared, both included; None is open."""

    first: date | None = None
    last: date | None = None

    def has_day(self, day: str) -> bool:
        """Return whether a day, as `2026-11-20`, is in it."""
        return (self.first is None or str(self.first) <= day) and (self.last is None or day <= str(self.last))

    def has(self, row: Row) -> bool:
        """Return whether a row's hour is in it."""
        return (self.first is None and self.last is None) or self.has_day(day_of(row.hour))


@contextmanager
def opened(name: str, reading: Reading) -> Iterator[tuple[IO[bytes], IO[bytes]]]:
    """Open a file; what cannot be opened or read to its end becomes a fault.

    Gives the content, and the file itself, whose position says how far it is read.
    """
    reading.files.append(name)
    try:
        raw = _stdin() if name == STDIN else open(name, "rb")  # noqa: SIM115 - closed below
    except OSError as exc:
        reading.fault(name, ValueError(f"cannot be opened: {exc.strerror or exc}. Name a file that can be read."))
        empty = io.BytesIO()
        yield empty, empty
        return
    try:
        packed = raw.peek(2)[:2] == GZIP
        yield (io.BufferedReader(gzip.GzipFile(fileobj=raw)) if packed else raw), raw
    except (OSError, EOFError, zlib.error) as exc:
        words = "its gzip data end early" if isinstance(exc, EOFError) else str(exc)
        reading.fault(name, ValueError(f"cannot be read to its end: {words}. Fetch the file again."))
    finally:
        raw.close()


def _stdin() -> io.BufferedReader:
    if sys.stdin is None:
        raise OSError(errno.EBADF, "stdin is closed")
    return open(sys.stdin.fileno(), "rb", closefd=False)


def lines(name: str, reading: Reading, advance: Advance) -> Iterator[tuple[int, bytes]]:
    """Yield each line with its number, without its line break; empty ones are skipped."""
    with opened(name, reading) as (content, raw):
        size = size_of(raw)
        number = 0
        while line := content.readline(LINE_MAX):
            number += 1
            if number % 4096 == 0:
                advance(name, _position(raw), size)
            if line.strip():
                yield number, line
        advance(name, size, size)


def parsed(
    name: str, reading: Reading, advance: Advance, parse: Callable[[bytes, str], Iterator[Row | str]]
) -> Iterator[Row]:
    """Yield the rows that `parse` makes of the lines of a file; a text it gives instead is why a line is ignored.

    Raises TooManyFaults.
    """
    for number, line in lines(name, reading, advance):
        reading.lines += 1
        place = f"{name}, line {number}"
        try:
            found = list(parse(line, f"{name}:{number}"))
        except Unreadable as exc:
            if line.endswith(b"\n"):
                reading.fault(place, exc)
            else:
                reading.ignored[TRUNCATED] += 1
                reading.notes.append(f"{place}: the last line is incomplete and was ignored.")
            continue
        for one in found:
            if isinstance(one, str):
                reading.ignored[one] += 1
            else:
                yield one


def size_of(raw: IO[bytes]) -> int:
    """Return the size of a file in bytes; 0 for a pipe."""
    try:
        return os.fstat(raw.fileno()).st_size
    except OSError:
        return 0


def _position(raw: IO[bytes]) -> int:
    try:
        return raw.tell()
    except OSError:
        return 0
