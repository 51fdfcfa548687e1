"""Turn what a source is read to be into usage: the increase of a counter, the time integral of a level.

Invariants:
- Everything follows from the last reading that is on disk and from the present one: nothing else is remembered, so a
  process that ends in between loses nothing and counts nothing twice.
- Values are exact decimals. What is below a quantity's precision, or above its maximum, waits in `rest` and is counted
  by a later reading.
- A counter only falls where what counts began again at zero.
- Time between two readings is counted with the level of the earlier one, and not at all where it is longer than
  `GAP_MAX`: what was in use meanwhile is not known.

Sources: prometheus.io, "Metric types" (counter); OpenMetrics 1.0, "Counter" (`_created`: when it was last reset).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sidecar.metering.quantities import (
    DECIMAL_MAX,
    EXACT,
    ZERO,
    Micros,
    exact_difference,
    exact_product,
    exact_sum,
    floor_to,
    to_micros,
)
from sidecar.quick_dataclasses import dataclass
from sidecar.settings.dimensions import PLACES

GAP_MAX: Final = timedelta(minutes=10)
"""Between two readings of a level."""
HOUR_SECONDS: Final = 3600
MICROS_MAX: Final = to_micros(DECIMAL_MAX)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What one series of a source was last read to be."""

    series: str
    """Its labels, in one spelling; empty for what is noted of the source as a whole."""
    value: Decimal
    at: datetime
    rest: Decimal = ZERO
    """Seen and not counted yet: units of a counter, units times microseconds of a level."""
    note: str = ""
    """When a counter was created, as the page says it."""


def counter_increase(before: Reading | None, now: Reading, *, from_zero: bool) -> tuple[Micros, Reading]:
    """Return what is to be counted, and the reading to keep. `now.rest` is ignored.

    Without a reading before, everything counts where `from_zero`, else nothing: how much of it is from before this
    workload is not known.
    """
    if before is None:
        grown, rest = now.value if from_zero else ZERO, ZERO
    elif now.value < before.value or _created_since(before, now):
        grown, rest = now.value, before.rest
    else:
        grown, rest = exact_difference(now.value, before.value), before.rest
    micros, rest = _countable(exact_sum((grown, rest)))
    return micros, Reading(series=now.series, value=now.value, at=now.at, rest=rest, note=now.note)


def _created_since(before: Reading, now: Reading) -> bool:
    return bool(before.note and now.note) and Decimal(now.note) > Decimal(before.note)


def level_integral(before: Reading | None, now: Reading) -> tuple[Micros, Reading, timedelta]:
    """Return unit-hours to be counted, the reading to keep, and the time that was too long to be counted."""
    passed = now.at - before.at if before else timedelta(0)
    gap = passed if passed > GAP_MAX else timedelta(0)
    counted = timedelta(0) if gap else max(passed, timedelta(0))
    rest = before.rest if before else ZERO
    if before:
        rest = exact_sum((exact_product(before.value, Decimal(counted // timedelta(microseconds=1))), rest))
    whole = EXACT.divide_int(rest, Decimal(HOUR_SECONDS))  # unit·µs / 3600 s = µunit·h
    micros = Micros(min(int(whole), MICROS_MAX))
    rest = exact_difference(rest, Decimal(micros * HOUR_SECONDS))
    return micros, Reading(series=now.series, value=now.value, at=now.at, rest=rest), gap


def level_micros(value: Decimal) -> Micros:
    """Return a level as a quantity, without what is below its precision. Raises QuantityOutOfRange."""
    return to_micros(floor_to(value, PLACES))


def _countable(amount: Decimal) -> tuple[Micros, Decimal]:
    """Return how much of an amount one event can carry, and the rest."""
    counted = floor_to(min(amount, DECIMAL_MAX), PLACES)
    return to_micros(counted), exact_difference(amount, counted)
