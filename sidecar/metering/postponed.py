"""Decide whether usage waits for an hour far in the future, which is billed only when that hour has come.

A clock that was ahead when a ledger began, or jumped ahead and was set back, leaves an open hour in the future. The
open hour never goes back: AWS may already have the records of it and of those before it.

Invariants:
- One hour ahead is normal: the running hour counts as sealed once its workload has ended, or where a ledger could not
  be read.
- What was sealed under the clock that was ahead waits like what it left open.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Final

from sidecar.metering.hours import Hour
from sidecar.metering.quantities import ZERO, exact_sum
from sidecar.metering.records import UsageRecord
from sidecar.metering.schedule import too_early
from sidecar.quick_dataclasses import dataclass

HINT: Final = (
    "The clock of this host was ahead, or is behind: usage counts in a future hour, and is billed only when"
    " that has come. Check the host's clock (Amazon Time Sync, chrony). If it is right, replace the pod or task by a"
    " new one on the same volume, which takes over what waits."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Postponed:
    """Usage that waits for a future hour."""

    open_hour: Hour
    quantities: Mapping[str, Decimal]
    """By dimension; never empty."""


def postponed(
    open_hour: Hour, unsealed: Mapping[str, Decimal], sealed: Iterable[UsageRecord], now: datetime
) -> Postponed | None:
    """Return what waits so at `now`.

    `unsealed`: amounts that are in no record yet, by dimension; `sealed`: records that wait for AWS.
    """
    if open_hour <= Hour.at(now).next:
        return None
    quantities = {name: amount for name, amount in unsealed.items() if amount}
    for record in sealed:
        if too_early(record, now) and record.quantity:
            quantities[record.dimension] = exact_sum((quantities.get(record.dimension, ZERO), record.quantity))
    return Postponed(open_hour=open_hour, quantities=quantities) if quantities else None
