"""Does usage wait for an hour this clock is nowhere near? It is billed only when that hour has come.

A clock that was ahead when a ledger began, or leapt ahead and was set back, leaves an open hour that lies in the
future. The open hour never goes back: what it and those before it owe may be with AWS already.

Rules kept here:
- One hour ahead is as it should be: the running hour counts as sealed once its workload has ended, or where a
  ledger could not be read.
- What the clock that was ahead has sealed waits like what it left open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from sidecar.metering.hours import Hour
from sidecar.metering.quantities import ZERO, exact_sum
from sidecar.metering.records import UsageRecord
from sidecar.metering.schedule import too_early

HINT: Final = (
    "The clock of this host was ahead, or is behind: usage counts in an hour that lies ahead, and is billed only when"
    " that has come. Check the host's clock (Amazon Time Sync, chrony). If it is right, replace the pod or task by a"
    " new one on the same volume, which takes over what waits."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Postponed:
    """Usage that waits for an hour which lies ahead."""

    open_hour: Hour
    quantities: Mapping[str, Decimal]
    """By dimension; never empty."""


def postponed(
    open_hour: Hour, unsealed: Mapping[str, Decimal], sealed: Iterable[UsageRecord], now: datetime
) -> Postponed | None:
    """What waits so at `now`: of what is not sealed, by dimension, and of what is."""
    if open_hour <= Hour.at(now).next:
        return None
    quantities = {name: amount for name, amount in unsealed.items() if amount}
    for record in sealed:
        if too_early(record, now) and record.quantity:
            quantities[record.dimension] = exact_sum((quantities.get(record.dimension, ZERO), record.quantity))
    return Postponed(open_hour=open_hour, quantities=quantities) if quantities else None
