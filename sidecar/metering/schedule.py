"""Compute when an hour is sealed, when a record is sent, and when it is too late.

Invariants:
- Sealed within a minute of the hour's end, sent within ten; each workload has its second for both, so that a fleet does
  not call AWS at the same instant, nor a restart move it. Short periods are sealed and sent at their end.
- What was sealed late (an outage, a restart) or early (the workload ends) is sent at once.
- Held records are sent again with exponential backoff and full jitter, oldest hour first.
- A record that AWS throttled waits 10 to 40 % of the time since its hour ended, at most ten minutes: the quota is the
  account's, and other workloads wait for it too (`python -m tests.fleet` compares rules).
- Lateness is counted from the hour's start, the strictest reading: AWS rounds the timestamp down to the hour, and does
  not say which of the two it compares.

Sources: AWS Marketplace API Reference, MeterUsage (up to six hours in the past).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from sidecar.backoff import full_jitter_seconds, proportional_seconds
from sidecar.digests import blake2b
from sidecar.metering.hours import ONE_HOUR, Hour, period
from sidecar.metering.records import UsageRecord, drawn

LATENESS: Final = timedelta(hours=6)
MARGIN: Final = timedelta(minutes=15)

SEAL_AFTER_MAX: Final = timedelta(seconds=25)
"""With a pass at least every 30 seconds, within the minute."""
SEND_AFTER: Final = timedelta(seconds=60)
SEND_AFTER_MAX: Final = timedelta(minutes=8)
"""Leaves room for a second attempt within ten minutes."""

RETRY_SECONDS: Final = 2.0
RETRY_SECONDS_MAX: Final = 300.0
SLOW_RETRY_SECONDS: Final = 30.0
SLOW_RETRY_SECONDS_MAX: Final = 600.0
"""For what a person must change: IAM takes a while to spread."""

THROTTLED_SHARES: Final = (0.1, 0.4)
THROTTLED_SECONDS_MAX: Final = 600.0


def seal_at(hour: Hour, workload: str) -> datetime:
    """Return when this workload seals an hour that has closed."""
    return hour.end + SEAL_AFTER_MAX * _spread(workload, b"seal") if period() == ONE_HOUR else hour.end


def seal_due(hour: Hour, now: datetime, workload: str) -> bool:
    """Return whether this workload seals an hour now."""
    return now >= seal_at(hour, workload)


def send_at(hour: Hour, sealed_at: datetime, workload: str) -> datetime:
    """Return when a record is sent for the first time."""
    if period() != ONE_HOUR:
        return sealed_at
    planned = hour.end + SEND_AFTER + (SEND_AFTER_MAX - SEND_AFTER) * _spread(workload, b"send")
    return planned if hour.end <= sealed_at < planned else sealed_at


def backoff(attempt: int, chance: float, slow: bool = False, floor_seconds: float | None = None) -> timedelta:
    """Return how long a held record waits. `attempt` counts from 1, `chance` is uniform in [0, 1).

    `floor_seconds` is what AWS asked for; `slow` is for mistakes that a person must fix.
    """
    first, most = (SLOW_RETRY_SECONDS, SLOW_RETRY_SECONDS_MAX) if slow else (RETRY_SECONDS, RETRY_SECONDS_MAX)
    floor = max(floor_seconds or 0.0, RETRY_SECONDS / 2)
    return timedelta(seconds=full_jitter_seconds(max(attempt - 1, 0), chance, first=first, most=most, floor=floor))


def throttled_backoff(hour: Hour, now: datetime, chance: float, floor_seconds: float | None = None) -> timedelta:
    """Return how long a record of an hour waits that AWS throttled: at most half of what is left of its time.

    `floor_seconds` is what AWS asked for. `chance` is uniform in [0, 1).
    """
    waited, floor = (now - hour.end).total_seconds(), max(floor_seconds or 0.0, RETRY_SECONDS / 2)
    most = max(min(THROTTLED_SECONDS_MAX, (deadline(hour) - now).total_seconds() / 2), 0.0)
    shares = THROTTLED_SHARES
    return timedelta(seconds=proportional_seconds(waited, chance, shares=shares, most=most, floor=floor))


def deadline(hour: Hour) -> datetime:
    """Return the instant from which a record of the hour is not sent any more."""
    return hour.start + LATENESS - MARGIN


def too_late(hour: Hour, now: datetime) -> bool:
    """Return whether a record of the hour is not sent any more."""
    return now >= deadline(hour)


def unsendable(record: UsageRecord, now: datetime) -> bool:
    """Return whether a record is not sent any more: it is too late for MeterUsage.

    License Manager has no such limit. A drawdown whose sending was interrupted is not repeated: it might draw twice.
    """
    return record.interrupted if drawn(record) else too_late(record.hour, now)


def too_early(record: UsageRecord, now: datetime) -> bool:
    """Return whether a record's timestamp is in the future: the clock that sealed it was ahead, and was set back."""
    return record.request is not None and record.request.timestamp > now.timestamp()


def next_due(sealed: Iterable[UsageRecord], now: datetime, workload: str) -> datetime:
    """Return when there is something to do: a sealed record to be sent, or the running hour to be sealed."""
    retries = (record.retry_at for record in sealed if record.retry_at)
    return min((seal_at(Hour.at(now), workload), *retries))


def oldest_first(records: Iterable[UsageRecord]) -> list[UsageRecord]:
    """Return records by hour, then dimension."""
    return sorted(records, key=lambda record: (record.hour, record.dimension))


def _spread(workload: str, purpose: bytes) -> float:
    """Return a number in [0, 1), the same for a workload and purpose every time."""
    return int.from_bytes(blake2b(workload.encode(), digest_size=4, person=purpose).digest(), "big") / 2**32
