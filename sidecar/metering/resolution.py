"""Define what a person decided about records that wait: the act, and which records it is for."""

from __future__ import annotations

from decimal import Decimal

from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import Action
from sidecar.quick_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Resolution:
    """One decision."""

    action: Action = Action.RETRY
    hour: Hour | None = None
    """None for every hour."""
    dimension: str | None = None
    """None for every dimension."""
    record_id: str | None = None
    """AWS's receipt, for `Action.CONFIRM`."""
    quantity: Decimal | None = None
    """What AWS billed, for `Action.ACCEPT_AWS`."""
    workload: str | None = None
    """Whose records; None for this workload's."""

    @property
    def names_one(self) -> bool:
        """Return whether it is about one record, which it names by hour and dimension."""
        return self.action in (Action.CONFIRM, Action.ACCEPT_AWS)

    def covers(self, record: UsageRecord) -> bool:
        """Return whether it is for this record of that workload."""
        return self.hour in (None, record.hour) and self.dimension in (None, record.dimension)
