"""Put aside what the billing loop cannot digest, name it, and let the rest of the work go on.

Invariants:
- One boundary: data errors (`errors.DATA_ERRORS`), and a failure of the ledger that is not the disk's. Anything else is
  an error of ours and ends the loop.
- What is put aside is not lost: it stays in the ledger as it was, counts as waiting, and is tried again after a pause.
- It is logged when it is put aside and when its error changes, and shown until it works again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sidecar import log
from sidecar.clock import iso
from sidecar.errors import DATA_ERRORS
from sidecar.ledger.errors import LedgerError
from sidecar.quick_dataclasses import dataclass

PAUSE: Final = timedelta(minutes=5)
"""Before a record is tried again."""
TEXT_MAX: Final = 200
"""Characters of an error's text that are shown."""
HINT: Final = (
    "The sidecar could not process this. It stays in the ledger and everything else goes on. Keep the"
    " ledger's file and this log for the seller's support."
)

STEP: Final = "step"
"""The kind of a step of the pass: while one fails, usage is not reported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quarantined:
    """One thing that was put aside."""

    kind: str
    """`step`, `maintenance`, `dimension` or `record`."""
    name: str
    error: str
    since: datetime
    tried_at: datetime

    def as_json(self) -> dict[str, object]:
        """Return it as the status shows it."""
        return {"kind": self.kind, "what": self.name, "error": self.error, "since": iso(self.since)}


class Quarantine:
    """What one workload's billing loop has put aside."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        """Start with nothing in it."""
        self._now = now
        self._items: dict[tuple[str, str], Quarantined] = {}

    def __iter__(self) -> Iterator[Quarantined]:
        """Yield what is put aside now. Any thread may ask."""
        return iter(tuple(self._items.values()))

    def __len__(self) -> int:
        """Return how much is put aside now."""
        return len(self._items)

    def run(self, kind: str, name: str, work: Callable[[], object]) -> bool:
        """Return whether `work` could be done. Raises what is no data error."""
        try:
            work()
        except (OSError, *DATA_ERRORS) as exc:
            self.add(kind, name, exc)
            return False
        except LedgerError as exc:
            if exc.reason != "ledger_failed":
                raise
            self.add(kind, name, exc)
            return False
        self.remove(kind, name)
        return True

    def add(self, kind: str, name: str, error: Exception) -> None:
        """Put something aside, and log it where that is new."""
        now, before = self._now(), self._items.get((kind, name))
        text = f"{type(error).__name__}: {error}"[:TEXT_MAX]
        since = before.since if before else now
        self._items[kind, name] = Quarantined(kind=kind, name=name, error=text, since=since, tried_at=now)
        if before is None or before.error != text:
            log.error("usage.quarantined", kind=kind, what=name, error=text, where=_where(error), hint=HINT)

    def remove(self, kind: str, name: str) -> None:
        """Take something out, since it works now."""
        self._items.pop((kind, name), None)

    def waits(self, kind: str, name: str) -> bool:
        """Return whether something is put aside, and its pause is not over."""
        one = self._items.get((kind, name))
        return one is not None and abs(self._now() - one.tried_at) < PAUSE

    def count(self, kind: str) -> int:
        """Return how much of a kind is put aside."""
        return sum(one.kind == kind for one in self)


def _where(error: Exception) -> str | None:
    """Return file and line at which an error arose."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else None
