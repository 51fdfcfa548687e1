"""Turn a page of metrics into usage: what a counter grew by, or what a gauge stands at. Pure.

Invariants:
- The series that match are added up, by the tags that their labels give. Each series has its own last reading: one that
  restarts, vanishes or comes back changes nothing about the others.
- A counter that was never read is counted from zero where it is known to have begun with this workload: `begin` says
  so; an earlier reading of the page did not have it, but had metrics; or nothing listened at the pod's own address
  when it was read first. Otherwise it is counted from its first reading: what it counted before may be billed already.
- What is noted of the source as a whole is a reading without a series: since when it is read, and with what result.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sidecar.metering.events import Tags, UsageEvent
from sidecar.metering.quantities import ZERO, Micros, QuantityOutOfRange, exact_sum
from sidecar.metering.readings import Reading, counter_increase, level_micros
from sidecar.settings.dimensions import TAG_CHARACTERS, TAG_VALUE_MAX
from sidecar.settings.pull_sources import PullSource, SourceBegin, SourceTake
from sidecar.sources.fault import SourceFault
from sidecar.sources.page import SERIES_MAX, Page, Sample, matching, too_many
from sidecar.sources.scrape import is_own
from sidecar.sources.taken import Taken

WHOLE: Final = ""
"""The series of what is noted of the source as a whole."""
READ: Final = "read"
ABSENT: Final = "absent"
"""When the source was read first, nothing listened, or the page had other metrics alone."""
TYPES: Final[Mapping[SourceTake, tuple[str, ...]]] = {
    SourceTake.INCREASE: ("counter", "histogram", "summary"),
    SourceTake.MAXIMUM: ("gauge",),
}
UNKNOWN: Final = ("", "untyped", "unknown")
"""Types that say nothing."""


class MetricMissing(SourceFault):
    """The page has nothing of the metric."""


def nobody_listened(source: PullSource, before: Mapping[str, Reading], now: datetime) -> Taken:
    """Return what to remember where nothing listens at the address: that what will listen there has yet to begin."""
    if WHOLE in before or not is_own(source.url):
        return Taken()
    return Taken(readings=(Reading(series=WHOLE, value=ZERO, at=now, note=ABSENT),))


def metric_missing(source: PullSource, page: Page, before: Mapping[str, Reading], now: datetime) -> Taken:
    """Return what to remember where a page of other metrics lacks this one: that its counter has yet to begin."""
    whole = before.get(WHOLE)
    if source.take is not SourceTake.INCREASE or not page.typed or (whole and whole.note in (READ, ABSENT)):
        return Taken()
    return Taken(readings=(Reading(series=WHOLE, value=ZERO, at=now, note=ABSENT),))


def take(source: PullSource, page: Page, before: Mapping[str, Reading], now: datetime) -> Taken:
    """Return what the page leads to, given what was read before. Raises SourceFault."""
    _check(source, page)
    samples = list(matching(page, source.labels))
    if source.take is SourceTake.MAXIMUM:
        return _maximum(source, samples)
    return _increase(source, page, samples, before, now)


def _check(source: PullSource, page: Page) -> None:
    if page.type not in (*UNKNOWN, *TYPES[source.take]):
        fix = f"{source.take.value} takes {' or '.join(TYPES[source.take][:1])}. Correct metric or take of the source."
        raise SourceFault("metric_type", f"{source.metric} is a {page.type}, by the page. {fix}")
    if not page.samples and not page.type:
        rule = "The name is that of the samples, with `_total` where they have it. Correct metric or url of the source."
        raise MetricMissing("metric_missing", f"The page has no {source.metric}. {rule}")


def _maximum(source: PullSource, samples: list[Sample]) -> Taken:
    if not samples:
        return Taken()
    value = exact_sum(sample.value for sample in samples)
    try:
        event = UsageEvent(source.dimension, level_micros(value))
    except QuantityOutOfRange as exc:
        raise SourceFault("value_unusable", f"{source.metric}: {exc}") from exc
    return Taken(events=(event,), series=len(samples))


def _increase(
    source: PullSource, page: Page, samples: list[Sample], before: Mapping[str, Reading], now: datetime
) -> Taken:
    whole = before.get(WHOLE)
    totals: dict[Tags, int] = {}
    readings: list[Reading] = []
    untagged = ""
    for sample in samples:
        series, created = sample.series, page.created.get(sample.series)
        note = "" if created is None else f"{created:f}"
        reading = Reading(series=series, value=sample.value, at=now, note=note)
        micros, kept = counter_increase(before.get(series), reading, from_zero=_from_zero(source, whole))
        tags, bad = _tags(source, sample)
        untagged = untagged or bad
        totals[tags] = totals.get(tags, 0) + micros
        if _differs(before.get(series), kept):
            readings.append(kept)
    if len(before.keys() | {sample.series for sample in samples}) > SERIES_MAX + 1:
        raise too_many(source.metric)
    first = whole is None or whole.note != READ
    if first:
        readings.append(Reading(series=WHOLE, value=ZERO, at=whole.at if whole else now, note=READ))
    return Taken(
        events=tuple(UsageEvent(source.dimension, Micros(n), tags=tags) for tags, n in sorted(totals.items()) if n),
        readings=tuple(readings),
        series=len(samples),
        began="" if not first else "zero" if _from_zero(source, whole) else "reading",
        untagged=untagged,
    )


def _from_zero(source: PullSource, whole: Reading | None) -> bool:
    return source.begin is SourceBegin.ZERO or (whole is not None and whole.note in (READ, ABSENT))


def _differs(before: Reading | None, kept: Reading) -> bool:
    return before is None or (before.value, before.rest, before.note) != (kept.value, kept.rest, kept.note)


def _tags(source: PullSource, sample: Sample) -> tuple[Tags, str]:
    """Return the tags of a series, and a value that no tag can have."""
    found: dict[str, str] = {}
    bad = ""
    for tag, label in source.tags:
        value = sample.labels.get(label, "")
        if value and len(value) <= TAG_VALUE_MAX and TAG_CHARACTERS.fullmatch(value):
            found[tag] = value
        elif value:
            bad = bad or value
    return tuple(sorted(found.items())), bad
