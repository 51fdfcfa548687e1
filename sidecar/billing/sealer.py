"""Seal the hours that have closed: the edge between the schedule and the ledger.

Invariants:
- Oldest first; an hour that is not due yet waits, and every later one with it.
- The request is complete when its hour is sealed; nothing of it is decided later.

Sources: AWS Marketplace API Reference, MeterUsage (up to six hours in the past).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final

from sidecar.billing.events import BillingEvents
from sidecar.ledger.ledger import Ledger
from sidecar.metering.hours import ONE_HOUR, Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Owed
from sidecar.metering.schedule import seal_due, send_at, too_late
from sidecar.metering.sealed_request import seal_request
from sidecar.metering.states import State
from sidecar.settings import Dimension, Settings

ACCEPTED_HOURS: Final = 6
"""Hours back that AWS may still take."""


class Sealer:
    """Seals the hours of one workload."""

    def __init__(self, ledger: Ledger, settings: Settings, events: BillingEvents) -> None:
        """Seal in `ledger`, for the workload that `events` names."""
        self._ledger, self._events = ledger, events
        self._product, self._dimensions = settings.product_code, settings.dimensions

    def seal_closed(self, now: datetime, *, at_once: bool = False) -> None:
        """Seal every closed hour whose second has come; `at_once`: every closed hour. Raises LedgerError."""
        first, last = self._ledger.open_from(), Hour.at(now).previous
        if first > last:
            return
        hours = {hour for hour in self._ledger.open_hours() if hour <= last} | {last}
        if any(dimension.report_zero for dimension in self._dimensions):
            hours |= _accepted(first, last, now)
        for hour in sorted(hours):
            if not (at_once or seal_due(hour, now, self._events.workload)):
                return
            self._events.sealed(hour, self._ledger.seal(hour, now, self._recorder(now)))

    def seal_running(self, now: datetime) -> None:
        """Seal the running hour, where it is not sealed already, and take no push from then on. Raises LedgerError."""
        hour = Hour.at(now)
        if self._ledger.open_from() > hour:
            self._ledger.stop_pushes()
        else:
            self._events.sealed(hour, self._ledger.seal_last(hour, now, self._recorder(now)))

    def _recorder(self, now: datetime) -> Callable[[Dimension, Hour, Owed], UsageRecord]:
        """Return what makes a record of what is owed: its request frozen, the time to send it set."""
        workload, product = self._events.workload, self._product

        def record(dimension: Dimension, hour: Hour, owed: Owed) -> UsageRecord:
            return UsageRecord(
                hour=hour,
                dimension=dimension.name,
                state=State.SEALED,
                quantity=owed.quantity,
                request=seal_request(workload, product, dimension.name, dimension.decimals, hour, owed, now),
                retry_at=send_at(hour, now, workload),
            )

        return record


def _accepted(first: Hour, last: Hour, now: datetime) -> set[Hour]:
    """Return every hour from `first` to `last` that AWS still takes."""
    count = (last.start - first.start) // ONE_HOUR + 1
    hours = (Hour(last.start - back * ONE_HOUR) for back in range(min(count, ACCEPTED_HOURS)))
    return {hour for hour in hours if not too_late(hour, now)}
