"""Look after the other ledgers on this volume: take over those of the dead, and read the ids of those in use.

Invariants:
- The ids of a ledger in use are read once, before the first push: what its product repeats to ours counts once. What
  it keeps afterwards is learned when its lock is free.
- A ledger that was in use is known, so that its lock can be tried often.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from sidecar.ledger import adoption, opening, seen_ids, volume
from sidecar.ledger.adoption import AdoptionResult, Transfer
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.opening import Owner

T = TypeVar("T")
LOCKED = "ledger_locked"


class Run(Protocol):
    """Runs work on our ledger in a transaction by itself. Raises LedgerError."""

    def __call__(self, work: Callable[[sqlite3.Connection], T], /) -> T: ...


class Neighbours:
    """The other ledgers on the volume of one ledger."""

    def __init__(self, path: Path, owner: Owner, dimensions: Sequence[str], run: Run) -> None:
        """`path` is our ledger's, `run` works on it."""
        self._path, self._owner, self._dimensions, self._run = path, owner, tuple(dimensions), run
        self._ours = ""
        self._in_use: set[Path] = set()
        self._read: set[Path] = set()
        """Those in use whose ids were read."""

    @property
    def in_use(self) -> bool:
        """Return whether one was in use when it was last looked at."""
        return bool(self._in_use)

    def freed(self) -> tuple[Path, ...]:
        """Return those that were in use when they were last looked at, and are not any more."""
        return tuple(sorted(path for path in self._in_use if path.exists() and volume.is_free(path)))

    def adopt(self, now: datetime, only: Sequence[Path] | None = None) -> tuple[AdoptionResult, ...]:
        """Take over what may be billed of the others, or of `only` these, and learn the ids. Raises LedgerError."""
        ours = self._run(opening.ledger_name)
        if ours != self._ours:
            self._ours = ours
            self._read.clear()  # ours was begun again, and knows nothing
        if only is None:
            self._in_use.clear()
            only = tuple(volume.other_ledgers(self._path))
        return tuple(self._adopt(path, ours, now) for path in only)

    def _adopt(self, path: Path, ours: str, now: datetime) -> AdoptionResult:
        def take(ledger: str, transfers: tuple[Transfer, ...]) -> None:
            self._run(lambda connection: adoption.take(connection, ledger, transfers, now))

        found = adoption.adopt(path, self._owner, self._dimensions, ours, now, take, self._remember)
        if found.skipped != LOCKED:
            self._in_use.discard(path)
            self._read.discard(path)  # the next process that uses it keeps other ids
            return found
        self._in_use.add(path)
        return replace(found, ids_unread=self._read_ids(path, now))

    def _read_ids(self, path: Path, now: datetime) -> LedgerError | None:
        """Read the ids of a ledger in use; return why that could not be done."""
        if path in self._read:
            return None
        try:
            adoption.read_ids(path, self._path, self._owner, now, self._remember)
        except LedgerError as exc:
            if exc.reason != "ledger_of_another":
                return exc
        self._read.add(path)
        return None

    def _remember(self, entries: bytes) -> None:
        self._run(partial(seen_ids.remember, entries=entries))
