"""Count a quantity for each hour in which the workload is entitled. Pure.

Invariants:
- An hour counts whole, from the first moment of it in which the gate is open: AWS's own hourly prices count so too.
- Its event has an id of source, workload and hour: a restart that counts it once more is a duplicate.
- It is an hour of the clock, also where a workload has many records an hour (AgentCore Runtime).
- Hours in which this process did not run count nothing: it cannot know that the product did.

Sources: AWS Marketplace seller guide, "Container products pricing" (hourly pricing of pods and tasks).
"""

from __future__ import annotations

from sidecar.metering.events import UsageEvent
from sidecar.metering.quantities import to_micros
from sidecar.settings.pull_sources import PullSource


def beat(source: PullSource, workload: str, hour: int) -> UsageEvent:
    """Return the event of an hour. `hour`: `hours.clock_hour`."""
    micros = to_micros(source.quantity)
    return UsageEvent(source.dimension, micros, id=f"{source.key}/{workload}/{hour}")
