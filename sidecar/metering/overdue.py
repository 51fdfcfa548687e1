"""Since when could nothing be reported? The rule behind "metering is overdue".

Rules kept here:
- It counts from the instant the oldest record that waits was due, or from AWS's last yes, whichever is
  later: one dimension that is refused is not "nothing".
- What waits for a person (disputed, rejected) is not overdue: sending it again is not ours to decide.
- A record that expired and was rolled forward does not set the count back; only a yes does.

Source: AWS Marketplace seller guide, "Custom metering for AMI products" (two hours before failing).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sidecar.metering.records import State, UsageRecord


@dataclass(frozen=True, kw_only=True, slots=True)
class Reporting:
    """How reporting goes."""

    failing_since: datetime | None = None
    """Since when something was due and AWS said no yes; None: nothing waits."""

    def settled(self) -> Reporting:
        """AWS took a record."""
        return replace(self, failing_since=None)

    def seen(
        self, waiting: Iterable[UsageRecord], rolled: int, last_settled_at: datetime | None, now: datetime
    ) -> Reporting:
        """After a pass: the records that are sealed still, and how many amounts wait for the next hour."""
        due = [record.hour.end for record in waiting if record.state is State.SEALED]
        if not due:
            return self if rolled else Reporting()
        began = max(min(due), last_settled_at or min(due))
        return replace(self, failing_since=min(self.failing_since or began, now))

    def overdue_since(self, now: datetime, allowed: timedelta) -> datetime | None:
        """Since when nothing could be reported, once that is longer than allowed."""
        return self.failing_since if self.failing_since and now - self.failing_since >= allowed else None
