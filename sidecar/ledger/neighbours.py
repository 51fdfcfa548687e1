"""Look after the other ledgers on this volume: take over those of the dead, and read the ids of those in use.

Invariants:
- The ids of a ledger in use are read once, before the first push: what its product repeats to ours counts once. What
  it keeps afterwards is learned when its lock is free.
- A ledger that was in use is known, so that its lock can be tried often.
- A ledger that is not in use is read once a day, unless its file changes.
- What our ledger claimed is taken by it alone: where it was damaged and begun again, the old one may have billed it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, Protocol, TypeVar

from sidecar.errors import DecisionRefused
from sidecar.ledger import adoption, gone_records, handover, opening, removal, seen_ids, volume, wal
from sidecar.ledger.adoption import AdoptionResult
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.gone_records import Resolved
from sidecar.ledger.handover import Successor, Transfer
from sidecar.ledger.opening import OnDoubt, Owner
from sidecar.metering.resolution import Resolution
from sidecar.quick_dataclasses import replace

T = TypeVar("T")
LOCKED: Final = "ledger_locked"
IDS_SECONDS: Final = 2 * seen_ids.GENERATION_SECONDS
"""After that long without a write, none of its ids would be a duplicate."""
LOOK_AGAIN: Final = timedelta(days=1)
"""One that has not changed is read again after this: it may have become old enough to be removed."""
State = tuple[int, int, int]
"""Which file it is, how long, and when it was written to."""


class Look(NamedTuple):
    """One look at a ledger that is not in use."""

    looked_at: datetime
    found: AdoptionResult
    state: State | None
    """How its file was afterwards."""


class Run(Protocol):
    """Runs work on our ledger in a transaction by itself. Raises LedgerError."""

    def __call__(self, work: Callable[[sqlite3.Connection], T], /) -> T: ...


class Neighbours:
    """The other ledgers on the volume of one ledger."""

    def __init__(self, path: Path, owner: Owner, dimensions: Sequence[str], run: Run) -> None:
        """`path` is our ledger's, `run` works on it."""
        self._path, self.owner, self._dimensions, self._run = path, owner, tuple(dimensions), run
        self.on_look: Callable[[], None] = lambda: None
        """Called before each look: many of them take long, and none of them hangs."""
        self._ours = ""
        self._in_use: set[Path] = set()
        self._read: set[Path] = set()
        """Those in use whose ids were read."""
        self._unchanged: dict[Path, Look] = {}
        """What was found in those that are not in use."""

    @property
    def in_use(self) -> bool:
        """Return whether one was in use when it was last looked at."""
        return bool(self._in_use)

    def freed(self) -> tuple[Path, ...]:
        """Return those that were in use when they were last looked at, and are not any more."""
        return tuple(sorted(path for path in self._in_use if os.path.exists(path) and volume.is_free(path)))

    def adopt_recent(self, now: datetime) -> tuple[AdoptionResult, ...]:
        """Do `adopt` for those that may know ids, which is all that the first push has to wait for."""
        others = volume.other_ledgers(self._path)
        return self.adopt(now, [path for path in others if volume.written_lately(path, IDS_SECONDS)])

    def adopt(self, now: datetime, only: Sequence[Path] | None = None) -> tuple[AdoptionResult, ...]:
        """Take over what may be billed of the others, or of `only` these, and learn the ids. Raises LedgerError.

        Of all of them, those that are not needed any more are removed.
        """
        ours = self._run(opening.ledger_name)
        if ours != self._ours:
            self._ours = ours
            self._read.clear()  # ours was begun again, and knows nothing
            self._unchanged.clear()
        if only is not None:
            return tuple(self._look_at(path, ours, now) for path in only)
        self._in_use.clear()
        found = [self._look_at(path, ours, now) for path in volume.other_ledgers(self._path)]
        if any(one.claimed for one in found):  # one of the others may be needed to tell what became of the claim
            return tuple(found)
        return tuple(self._remove(one, now) if one.removable else one for one in found)

    def _look_at(self, path: Path, ours: str, now: datetime) -> AdoptionResult:
        """Return what is found there, from memory where nothing has changed since the last look."""
        self.on_look()
        known, state = self._unchanged.pop(path, None), _state(path)
        lately = known is not None and abs(now - known.looked_at) < LOOK_AGAIN
        if known is None or not lately or state is None or state != known.state or not volume.is_free(path):
            known = Look(now, self._adopt(path, ours, now), _state(path))
        if not (known.found.skipped or known.found.claimed or known.found.unanswered):
            self._unchanged[path] = known._replace(found=replace(known.found, amounts=(), in_doubt=False))
        return known.found

    def _remove(self, found: AdoptionResult, now: datetime) -> AdoptionResult:
        def keep(rows: Sequence[removal.Row]) -> None:
            self._run(partial(removal.keep_totals, rows=rows))

        try:
            removed = removal.remove(found.path, self.owner, now, keep)
        except LedgerError:
            return found  # the next look tries again, or says why it cannot be read
        self._unchanged.pop(found.path, None)
        return replace(found, removed=removed)

    def resolve(self, resolution: Resolution, now: datetime, on_doubt: OnDoubt) -> tuple[Resolved, ...]:
        """Apply a person's decision to the records of a workload that is gone, in each of its ledgers.

        It has two where an older version found a newer one's. Any thread may call it.
        Raises as `gone_records.resolve` does, and DecisionRefused where no such workload has a ledger here.
        """
        stem = volume.ledger_path(self._path.parent, resolution.workload or "").stem
        paths = [path for path in volume.other_ledgers(self._path) if path.name.startswith(f"{stem}.")]
        if not paths:
            hint = f"No other workload {resolution.workload} has a ledger on this volume; `usage` names those that do."
            raise DecisionRefused(404, "workload_not_found", hint)
        successor = self._successor(self._run(opening.ledger_name), now)
        return tuple(gone_records.resolve(path, resolution, successor, on_doubt) for path in paths)

    def _successor(self, ours: str, now: datetime) -> Successor:
        return Successor(
            name=ours, owner=self.owner, dimensions=self._dimensions, now=now, take=self._take_at(now, ours)
        )

    def _take_at(self, now: datetime, ours: str) -> handover.Take:
        """Return the function that takes amounts which the ledger named `ours` claimed: one begun since may not."""

        def take_into(connection: sqlite3.Connection, ledger: str, transfers: tuple[Transfer, ...]) -> bool:
            if opening.ledger_name(connection) != ours:
                return False
            handover.take(connection, ledger, transfers, now)
            return True

        def take(ledger: str, transfers: tuple[Transfer, ...]) -> None:
            if not self._run(partial(take_into, ledger=ledger, transfers=transfers)):
                raise LedgerError("ledger_corrupt", f"{self._path.name} was begun again meanwhile.")

        return take

    def _adopt(self, path: Path, ours: str, now: datetime) -> AdoptionResult:
        found = adoption.adopt(path, self._successor(ours, now), self._remember)
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
            adoption.read_ids(path, self._path, self.owner, now, self._remember)
        except LedgerError as exc:
            if exc.reason != "ledger_of_another":
                return exc
        self._read.add(path)
        return None

    def _remember(self, entries: bytes) -> None:
        self._run(partial(seen_ids.remember, entries=entries))


def _state(path: Path) -> State | None:
    """Return the state of a ledger's file; None where it is gone, not known, or its log holds something."""
    try:
        found = path.stat()
        return None if wal.path_of(path).exists() else (found.st_ino, found.st_size, found.st_mtime_ns)
    except OSError:
        return None
