"""Remember when AWS had room for this workload in the hour before.

A fleet that is larger than AWS's quota allows in eight minutes is throttled in its first hour, until each workload has
found a moment of its own. That moment is kept: in the next hour each calls once.

Invariants:
- A workload that was not throttled sends when `metering.schedule` says, to the second.
- A moment is never earlier than the scheduled one, and within three quarters of an hour. Each hour it is a twentieth
  earlier, so that a fleet that has shrunk comes back to the schedule.
- It is kept in memory: after a restart the workload finds another.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sidecar.metering import schedule
from sidecar.metering.decide import THROTTLED
from sidecar.metering.dispositions import classify
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord

LATEST: Final = timedelta(minutes=45)
"""After an hour's end. Later ones would run into the next hour's."""
KEPT: Final = 0.95
"""The share of it that the next hour keeps."""


class HourSlot:
    """One workload's moment in the hour."""

    def __init__(self) -> None:
        self._after_hour = timedelta(0)
        self._hour: Hour | None = None

    def send_at(self, hour: Hour, sealed_at: datetime, workload: str) -> datetime:
        """Return when a record that is sealed at `sealed_at` is sent for the first time."""
        planned = schedule.send_at(hour, sealed_at, workload)
        return max(planned, hour.end + self._after_hour) if planned > sealed_at else planned

    def settled(self, record: UsageRecord, now: datetime) -> None:
        """Learn from a record that AWS has just taken; `record` as it was before."""
        if self._hour is not None and record.hour < self._hour:
            return
        if record.hour != self._hour:
            self._hour, self._after_hour = record.hour, self._after_hour * KEPT
        taken = now - record.hour.end
        if taken <= LATEST and classify(record.last_error or "").reason in THROTTLED:
            self._after_hour = max(self._after_hour, taken)
