"""Compute since when nothing could be reported: the rule behind "metering is overdue".

Invariants:
- It counts from the instant the oldest record that waits was due, or from the last record that AWS accepted, whichever
  is later: while other dimensions are accepted, one that is refused is not overdue.
- What waits for a person (disputed, rejected) is not overdue: only a person may send it again.
- A record that expired and was rolled forward does not reset the count; only a record that AWS took does.
- Where usage cannot even become due (its ledger fails), it counts from the first pass that found it so, in time that
  passed: what a clock jumped over was no time to report in.

Sources: AWS Marketplace seller guide, "Custom metering for AMI products" (two hours before failing).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from sidecar.metering.records import UsageRecord
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True, slots=True)
class Reporting:
    """Since when reporting fails, by cause."""

    failing_since: datetime | None = None
    """Since when something was due and AWS took nothing; None where nothing waits."""
    blocked_since: datetime | None = None
    """Since when usage could not become due; None where it can."""

    def settled(self) -> Reporting:
        """Return the state after AWS took a record."""
        return Reporting()

    def after_pass(
        self, sealed: Iterable[UsageRecord], rolled: int, last_settled_at: datetime | None, now: datetime
    ) -> Reporting:
        """Return the state after a pass.

        `sealed`: records that are not settled; `rolled`: the number of amounts that wait for the next hour.
        """
        due = [record.hour.end for record in sealed if record.state is State.SEALED]
        if not due:
            return self if rolled else replace(self, failing_since=None)
        began = max(min(due), last_settled_at or min(due))
        return replace(self, failing_since=min(self.failing_since or began, now))

    def blocked(self, now: datetime) -> Reporting:
        """Return the state after a pass in which usage could not become due."""
        return replace(self, blocked_since=min(self.blocked_since or now, now))

    def unblocked(self) -> Reporting:
        """Return the state after a pass in which usage could become due."""
        return replace(self, blocked_since=None)

    def shifted(self, jump: timedelta) -> Reporting:
        """Return the state after the wall clock jumped, or stood still with its host."""
        return replace(self, blocked_since=self.blocked_since + jump) if self.blocked_since else self

    def overdue_since(self, now: datetime, allowed: timedelta) -> datetime | None:
        """Return since when nothing could be reported, once that is longer than allowed."""
        since = min((one for one in (self.failing_since, self.blocked_since) if one), default=None)
        return since if since and now - since >= allowed else None
