"""Look into a ledger that another process may have open, and change nothing of it.

Invariants:
- The ledger is copied with its log, and the copy is opened: no lock is taken, and the original's log is not recovered.
- The copy passes every check that an opening of the ledger would make.
- A copy of a ledger in use may end within a commit; that commit is in the original, and no damage.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from sidecar.errors import DATA_ERRORS
from sidecar.ledger import balance, live_copy, opening, volume, wal
from sidecar.ledger.balance import Balance, LedgerSummary
from sidecar.ledger.errors import FAILURES, as_ledger_error
from sidecar.ledger.opening import Owner
from sidecar.ledger.statements import sql
from sidecar.quick_dataclasses import dataclass

COPY: Final = "ledger.sqlite3"


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What is in one ledger."""

    path: Path
    bytes: int
    """Size of the file and its log."""
    holder: str
    """The process that has it open; empty where none is seen."""
    owner: Owner | None = None
    """None: nothing was ever kept in it."""
    summary: LedgerSummary | None = None
    balances: tuple[Balance, ...] = ()
    in_doubt: bool = False
    """Its last commit is not whole: it was not acknowledged, or the disk changed it later."""


def inspect(path: Path, directory: Path, now: datetime) -> Inspection:
    """Return what is in the ledger at `path`; `directory` is where the copy may be. Raises LedgerError."""
    doubts: list[Path] = []
    holder = volume.holder(path)
    with live_copy.copied_to(path, directory / COPY) as copy:
        size = sum(part.stat().st_size for part in (copy, wal.path_of(copy)) if part.exists())
        found = Inspection(path=path, bytes=size, holder=holder)
        if not size:
            return found
        connection = opening.open_copy(copy, now, doubts.append)
        try:
            row = connection.execute(sql("meta")).fetchone()
            if row is None:
                return found
            opening.check_periods(row, path)
            owner = Owner(workload=row["workload"], product_code=row["product_code"], region=row["region"])
            return Inspection(
                path=path,
                bytes=size,
                holder=holder,
                owner=owner,
                summary=balance.summary(connection, size),
                balances=balance.balances(connection, {}),
                in_doubt=bool(doubts) and not holder,
            )
        except (*FAILURES, *DATA_ERRORS) as exc:
            raise as_ledger_error(exc, path) from exc
        finally:
            connection.close()
