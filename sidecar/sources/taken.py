"""Define what one reading of a source leads to: events for the ledger, and what is remembered of it."""

from __future__ import annotations

from datetime import timedelta

from sidecar.metering.events import UsageEvent
from sidecar.metering.readings import Reading
from sidecar.quick_dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What one reading of a source led to. Events and readings are kept together, or neither is."""

    events: tuple[UsageEvent, ...] = ()
    readings: tuple[Reading, ...] = ()
    """Those that differ from what is on disk."""
    series: int = 0
    """How many were read."""
    began: str = ""
    """With the first reading ever: `zero`, or `reading` where earlier values are not counted."""
    untagged: str = ""
    """A label's value that no tag can have; its usage is counted without the tag."""
    gap: timedelta = timedelta(0)
    """Time that was too long between two readings to be counted."""
