"""Decide in which hour an event counts: its own while that is open, else the first open one.

Invariants:
- A sealed hour never takes more usage: AWS may already have its record, which cannot be changed.
- Late usage of a sum is rolled forward; a largest, last or unique value of a sealed hour
  cannot be added to another hour's, and is refused.
- The hour an event counts in is never before the first unsealed one, also where a clock was set back.

Sources: AWS Marketplace API Reference, MeterUsage (one record per hour); seller guide, "Configuring custom metering
with MeterUsage" (usage may be added to a following hour's record).
"""

from __future__ import annotations

from sidecar.metering.events import REASONS, PushRefused
from sidecar.metering.hours import Hour
from sidecar.settings.dimensions import Aggregation


def hour_for(
    event_hour: Hour, open_from: Hour, aggregation: Aggregation, index: int | None = None
) -> Hour | PushRefused:
    """Return the hour an event of `event_hour` counts in, where `open_from` is the first unsealed hour.

    A refusal names the event by `index`, from 0; None where there is one event only.
    """
    if event_hour >= open_from:
        return event_hour
    if aggregation is Aggregation.SUM:
        return open_from
    kind = aggregation.value
    rule = f"the hour {event_hour} is sealed, in which at lies, and a {kind} value cannot be added to a later hour."
    return PushRefused(
        status=REASONS["hour_sealed"],
        reason="hour_sealed",
        detail=rule[0].upper() + rule[1:] if index is None else f"Event {index}: {rule}",
        index=index,
    )
