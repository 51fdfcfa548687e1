"""Compare any number of exports with what AWS billed: read, sort, compare, add up.

Invariants:
- Nothing is compared where a line could not be read.
- Memory does not grow with the input: rows go to disk (`spill`) and come back one hour and dimension at a time; sums
  are kept by day, Region and dimension.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

from sidecar.audit import days
from sidecar.audit.cloudtrail import BilledRows
from sidecar.audit.compare import compare_hour
from sidecar.audit.daily_usage import FeedRows
from sidecar.audit.exports import OurRows
from sidecar.audit.input_files import Advance, Period, Reading, TooManyFaults
from sidecar.audit.outcome import OURS, Outcome
from sidecar.audit.overbilled import overbilled_by_day, overbilled_by_hour
from sidecar.audit.rows import BILLED, Difference, Kind, Row, Source, hour_difference, hour_text, units
from sidecar.audit.spill import Spill
from sidecar.quick_dataclasses import dataclass, field

NOTHING: Final = (
    "Nothing was compared with AWS: give --cloudtrail, --daily-usage or both. Only the exports were compared with each"
    " other."
)
NO_REGION: Final = (
    "{} settled records name no Region, and so fit no line of the feed. Export again with this version, or add the log."
)
EMPTY: Final = "No record is in what was read and compared. Are the files, the days and the product those you mean?"
PRODUCTS: Final = "The feed has more than one product: {}. Give --product-id, or what they share by name is added up."
ALWAYS: Final = Period()


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What is compared."""

    exports: Sequence[str]
    """Files; `-` is stdin."""
    cloudtrail: Sequence[str] = ()
    daily_usage: Sequence[str] = ()
    period: Period = ALWAYS
    product_codes: frozenset[str] = frozenset()
    """Product codes of CloudTrail events that are compared; none means those in the exports."""
    product_id: str = ""
    """The only product of the feed that is compared; "" means all."""
    account: str = ""
    """The only hashed account of the feed that is compared; "" means all."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Columns of the feed that have another name than AWS's."""

    @property
    def compared(self) -> tuple[Source, ...]:
        """Return what the exports are compared with."""
        given = ((Source.CLOUDTRAIL, self.cloudtrail), (Source.DAILY_USAGE, self.daily_usage))
        return tuple(source for source, files in given if files)


def reconcile(inputs: Inputs, spill: Spill, advance: Advance) -> Outcome:
    """Read everything, then compare it; differences are in `spill`. Where there are faults, nothing was compared."""
    outcome = Outcome(compared=inputs.compared)
    with suppress(TooManyFaults):
        _read(inputs, spill, outcome, advance)
    if outcome.faults:
        return outcome
    advance("comparing", 0, 0)
    used = _compare_hours(inputs, spill, outcome)
    _name_several(spill, outcome)
    if inputs.daily_usage:
        _compare_days(spill, outcome, used)
    if not inputs.compared:
        outcome.notes.append(NOTHING)
    if not any(reading.rows for reading in outcome.readings.values()):
        outcome.notes.append(EMPTY)
    return outcome


def _read(inputs: Inputs, spill: Spill, outcome: Outcome, advance: Advance) -> None:
    readings = outcome.readings
    readings[Source.EXPORTS.value] = Reading()
    ours = OurRows(readings[Source.EXPORTS.value], inputs.period, advance)
    for name in inputs.exports:
        spill.add(ours.read(name))
    if inputs.cloudtrail:
        readings[Source.CLOUDTRAIL.value] = Reading()
        products = inputs.product_codes or ours.products
        billed = BilledRows(readings[Source.CLOUDTRAIL.value], inputs.period, products, advance)
        for name in inputs.cloudtrail:
            spill.add(billed.read(name))
    if inputs.daily_usage:
        readings[Source.DAILY_USAGE.value] = Reading()
        feed = FeedRows(
            readings[Source.DAILY_USAGE.value],
            inputs.period,
            advance,
            inputs.columns,
            inputs.product_id,
            inputs.account,
        )
        for name in inputs.daily_usage:
            spill.add_feed(feed.read(name))
        if len(feed.products) > 1:
            outcome.notes.append(PRODUCTS.format(", ".join(sorted(feed.products)[:5])))


def _compare_hours(inputs: Inputs, spill: Spill, outcome: Outcome) -> days.Used:
    """Compare hour by hour, and return our usage by day."""
    used: days.Used = {}
    against, placeless = bool(inputs.cloudtrail), 0
    spill.find_several()
    for rows in spill.hours():
        result = compare_hour(rows, against_billed=against)
        outcome.add(OURS, result.settled)
        outcome.add(Source.CLOUDTRAIL.value, result.billed)
        for row in result.settled:
            days.add_used(used, row)
            placeless += not row.region
        if result.differences:
            spill.add_differences(outcome.count(result.differences))
            if not inputs.daily_usage:  # the feed has prices and agreements; two lists would credit twice
                spill.add_overbilled(map(overbilled_by_hour, result.differences))
        if result.waiting and inputs.compared:
            spill.add_differences(outcome.count(result.waiting))
    if placeless and inputs.daily_usage:
        outcome.notes.append(NO_REGION.format(placeless))
    return used


def _name_several(spill: Spill, outcome: Outcome) -> None:
    """Name metering record ids that stand in several hours or dimensions."""
    for rows in spill.several():
        spill.add_differences(outcome.count([_several(rows)]))


def _several(rows: Sequence[Row]) -> Difference:
    places = "; ".join(f"{hour_text(row.hour)} {row.dimension}: {units(row.quantity)} {row.state}" for row in rows)
    ours = next((row.quantity for row in rows if row.state != BILLED), None)
    billed = next((row.quantity for row in rows if row.state == BILLED), None)
    return hour_difference(
        Kind.CONTRADICTION,
        rows[0],
        f"One metering record stands in several hours or dimensions: {places}.",
        source=Source.EXPORTS if billed is None else Source.CLOUDTRAIL,
        ours=ours,
        billed=billed,
        origins=tuple(row.origin for row in rows),
    )


def _compare_days(spill: Spill, outcome: Outcome, used: days.Used) -> None:
    spill.add_newest(days.newest(spill.feed_by_usage()))
    seen = set()
    for billed in days.by_day(spill.newest_by_day()):
        seen.add(billed.key)
        outcome.add_sum(Source.DAILY_USAGE.value, billed.key.dimension, billed.key.day, billed.micros)
        if difference := days.compare_day(billed, used.get(billed.key)):
            spill.add_differences(outcome.count([difference]))
            spill.add_overbilled([overbilled_by_day(difference, billed)])
    spill.add_differences(outcome.count(days.missing(used, seen)))
