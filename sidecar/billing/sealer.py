"""Seal the hours that have closed: the edge between the schedule and the ledger.

Invariants:
- Everything that is due is sealed in one transaction, oldest first; an hour that is not due yet waits.
- Usage that cannot be digested stays in the ledger and is named; every other dimension is sealed.
- The request is complete when its hour is sealed; nothing of it is decided later.

Sources: AWS Marketplace API Reference, MeterUsage (up to six hours in the past).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from typing import Final, Protocol

from sidecar.billing.drawdowns import drawdowns
from sidecar.billing.events import BillingEvents
from sidecar.billing.hour_slot import HourSlot
from sidecar.billing.quantity_kinds import QuantityKinds
from sidecar.billing.quarantine import Quarantine
from sidecar.ledger.ledger import Ledger
from sidecar.ledger.sealing import MakeRecord, Skipped
from sidecar.metering.hours import ONE_HOUR, Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Owed
from sidecar.metering.schedule import seal_due, too_late
from sidecar.metering.sealed_request import SealedRequest, seal_drawdown, seal_request
from sidecar.metering.states import State
from sidecar.settings import Dimension, Settings

ACCEPTED_HOURS: Final = 6
"""Hours back that AWS may still take."""


DIMENSION: Final = "dimension"
"""The kind of what is put aside here."""


class Seal(Protocol):
    """`Ledger.seal` or `Ledger.seal_last`."""

    def __call__(
        self, hour: Hour, now: datetime, make: MakeRecord, *, also: Iterable[Hour], skipped: list[Skipped]
    ) -> tuple[UsageRecord, ...]: ...


class Sealer:
    """Seals the hours of one workload."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Settings,
        events: BillingEvents,
        quarantine: Quarantine,
        kinds: QuantityKinds,
        slot: HourSlot,
    ) -> None:
        """Seal in `ledger`, for the workload that `events` names; what cannot be sealed goes to `quarantine`."""
        self._slot = slot
        self._ledger, self._events, self._quarantine, self._kinds = ledger, events, quarantine, kinds
        self._product, self._drawdowns = settings.product_code, drawdowns(settings)
        self._reports_zero = any(dimension.report_zero for dimension in settings.dimensions)

    def seal_closed(self, now: datetime, *, at_once: bool = False) -> None:
        """Seal every closed hour whose second has come; `at_once`: every closed hour. Raises LedgerError."""
        hour = Hour.at(now).previous
        if not (at_once or seal_due(hour, now, self._events.workload)):
            hour = hour.previous  # its second has come, since each hour has the same one
        self._seal(self._ledger.seal, hour, now)

    def seal_running(self, now: datetime) -> None:
        """Seal everything up to the running hour, and take no push from then on. Raises LedgerError."""
        self._seal(self._ledger.seal_last, Hour.at(now), now)

    def _seal(self, seal: Seal, hour: Hour, now: datetime) -> None:
        skipped: list[Skipped] = []
        also = _accepted(hour, now) if self._reports_zero else ()
        records = seal(hour, now, self._recorder(now), also=also, skipped=skipped)
        for sealed, found in groupby(records, key=lambda record: record.hour):
            self._events.sealed(sealed, tuple(found))
        for record in records:
            self._quarantine.remove(DIMENSION, record.dimension)
        for one in skipped:
            self._quarantine.add(DIMENSION, one.dimension, one.error)

    def _recorder(self, now: datetime) -> MakeRecord:
        """Return what makes a record of what is owed: its request frozen, the time to send it set."""
        workload = self._events.workload

        def record(dimension: Dimension, hour: Hour, owed: Owed) -> UsageRecord:
            return UsageRecord(
                hour=hour,
                dimension=dimension.name,
                state=State.SEALED,
                quantity=owed.quantity,
                request=self._request(dimension, hour, owed, now),
                retry_at=self._slot.send_at(hour, now, workload),
            )

        return record

    def _request(self, dimension: Dimension, hour: Hour, owed: Owed, now: datetime) -> SealedRequest:
        if pool := self._drawdowns.get(dimension.name):
            return seal_drawdown(self._product, dimension.name, pool, hour, owed, now, os.urandom(16).hex())
        kind, workload = self._kinds.choose(owed), self._events.workload
        return seal_request(workload, self._product, dimension.name, dimension.decimals, hour, owed, now, kind)


def _accepted(last: Hour, now: datetime) -> list[Hour]:
    """Return the hours up to `last` that AWS still takes."""
    hours = (Hour(last.start - back * ONE_HOUR) for back in range(ACCEPTED_HOURS))
    return [hour for hour in hours if not too_late(hour, now)]
