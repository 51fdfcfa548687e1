"""Seal the hours that have closed: the edge between the schedule and the ledger.

Invariants:
- Oldest first; an hour that is not due yet waits, and every later one with it.
- The request is complete when its hour is sealed; nothing of it is decided later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from sidecar.billing.events import BillingEvents
from sidecar.ledger.ledger import Ledger
from sidecar.metering.hours import ONE_HOUR, Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Owed
from sidecar.metering.schedule import seal_due, send_at, too_late
from sidecar.metering.sealed_request import seal_request
from sidecar.metering.states import State
from sidecar.settings import Dimension, Settings

REACH: int = 6
"""Hours back that AWS may take still."""


class Sealer:
    """Seals the hours of one workload."""

    def __init__(self, settings: Settings, workload: str, accounts: BillingEvents) -> None:
        self._product, self._dimensions = settings.product_code, settings.dimensions
        self._workload, self._accounts = workload, accounts

    def closed(self, ledger: Ledger, now: datetime, *, at_once: bool = False) -> None:
        """Seal every closed hour whose second has come; `at_once`: every closed hour."""
        first, last = ledger.open_from(), Hour.at(now).previous
        if first > last:
            return
        hours = {hour for hour in ledger.open_hours() if hour <= last} | {last}
        if any(dimension.report_zero for dimension in self._dimensions):
            hours |= _in_reach(first, last, now)
        for hour in sorted(hours):
            if not (at_once or seal_due(hour, now, self._workload)):
                return
            self._say(hour, ledger.seal(hour, now, self._make(now)))

    def last(self, ledger: Ledger, now: datetime) -> None:
        """Seal the running hour, where it is not sealed already, and take no push from then on."""
        hour = Hour.at(now)
        if ledger.open_from() > hour:
            ledger.stop_pushes()
        else:
            self._say(hour, ledger.seal_last(hour, now, self._make(now)))

    def _make(self, now: datetime) -> Callable[[Dimension, Hour, Owed], UsageRecord]:
        """Return how a record is made of what is owed: request frozen, time to send it set."""
        workload, product = self._workload, self._product

        def make(dimension: Dimension, hour: Hour, owed: Owed) -> UsageRecord:
            return UsageRecord(
                hour=hour,
                dimension=dimension.name,
                state=State.SEALED,
                quantity=owed.quantity,
                request=seal_request(workload, product, dimension.name, dimension.decimals, hour, owed, now),
                retry_at=send_at(hour, now, workload),
            )

        return make

    def _say(self, hour: Hour, records: Sequence[UsageRecord]) -> None:
        if records:
            self._accounts.sealed(hour, records)


def _in_reach(first: Hour, last: Hour, now: datetime) -> set[Hour]:
    """Return every hour from `first` to `last` that AWS still takes."""
    count = (last.start - first.start) // ONE_HOUR + 1
    hours = (Hour(last.start - back * ONE_HOUR) for back in range(min(count, REACH)))
    return {hour for hour in hours if not too_late(hour, now)}
