"""Decide how long the billing loop waits between two passes."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sidecar.billing.snapshot import Snapshot
from sidecar.metering.schedule import next_due

PASS_SECONDS: Final = 30.0
PASS_SECONDS_MIN: Final = 0.5
PASS_SECONDS_UNUSABLE: Final = 3.0
"""While there is no ledger, or it fails."""
PASS_SECONDS_FOLLOWING: Final = 0.2
"""Beside an emulator's clock, which may run fast or be set."""
LOOK_SECONDS: Final = 1.0
"""How often the locks of other ledgers in use are tried."""


def until_next(snapshot: Snapshot, now: datetime, workload: str) -> float:
    """Return the seconds until the next pass: until the next record is due, within limits."""
    until_due = next_due(snapshot.sealed, now, workload) - now
    return max(PASS_SECONDS_MIN, min(PASS_SECONDS, until_due.total_seconds()))
