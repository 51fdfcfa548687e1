"""Compare our usage of a day, Region and dimension with the Daily Usage feed. Pure.

Invariants:
- The feed's accounts are hashes that nothing of ours can be compared with, so accounts are added up.
- The feed has two decimal places. Where our usage has more, each of its lines may be off by less than 0.01, however AWS
  rounds; anything beyond that is a difference. Where ours has no more, the comparison is exact.

Sources: AWS Marketplace seller guide, "Daily Usage data feed".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from sidecar.audit.feed import PLACES as FEED_PLACES
from sidecar.audit.feed import FeedRow
from sidecar.audit.rows import Difference, Kind, Row, Source, day_of
from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings.dimensions import PLACES

STEP: Final = 10 ** (PLACES - FEED_PLACES)
"""The feed's smallest difference, in micros."""
UNKNOWN: Final = "No export has usage of this dimension in this Region on this day. Is the export of a pod missing?"
NOT_BILLED: Final = "The feed has no line for this day, Region and dimension. Does it reach so far?"
OTHER: Final = "The feed has another quantity for the day."


class DayKey(NamedTuple):
    """What a line of the feed is about."""

    day: str
    region: str
    dimension: str


@dataclass(kw_only=True, slots=True)
class DayUsage:
    """Our settled usage of a day, Region and dimension."""

    micros: int = 0
    finer: bool = False
    """Some of it has more decimal places than the feed."""


@dataclass(kw_only=True, slots=True)
class DayBilled:
    """What the feed has for a day, Region and dimension."""

    key: DayKey
    micros: int = 0
    lines: int = 0
    prices: dict[tuple[str, str, str], int] = field(default_factory=dict)
    """(agreement, currency, rate) → micros."""

    def add(self, row: FeedRow) -> None:
        """Add a line."""
        self.micros += row.quantity
        self.lines += 1
        price = (row.agreement, row.currency, row.rate)
        self.prices[price] = self.prices.get(price, 0) + row.quantity


Used = dict[DayKey, DayUsage]


def add_used(used: Used, row: Row) -> None:
    """Add a settled record to the usage of its day."""
    key = DayKey(day_of(row.hour), row.region, row.dimension)
    usage = used.setdefault(key, DayUsage())
    usage.micros += row.quantity
    usage.finer = usage.finer or row.quantity % STEP != 0


def newest(rows: Iterable[FeedRow]) -> Iterator[FeedRow]:
    """Yield the newest revision of each usage.

    `rows` are in the order of their usage; of one usage the newest `valid_from` comes first, of that the newest update.
    """
    done, seen = "", ("", "")
    for row in rows:
        revision = (row.usage, row.valid_from)
        if row.usage == done or revision == seen:
            continue
        seen = revision
        if not row.deleted:
            done = row.usage
            yield row


def by_day(rows: Iterable[FeedRow]) -> Iterator[DayBilled]:
    """Add up the lines of each day, Region and dimension. `rows` are in that order."""
    billed: DayBilled | None = None
    for row in rows:
        key = DayKey(row.day, row.region, row.dimension)
        if billed is None or billed.key != key:
            if billed is not None:
                yield billed
            billed = DayBilled(key=key)
        billed.add(row)
    if billed is not None:
        yield billed


def compare_day(billed: DayBilled, usage: DayUsage | None) -> Difference | None:
    """Return the difference between a day's lines of the feed and our usage, None where they agree."""
    if usage is None or not usage.micros:
        kind, note, ours = Kind.BILLED_UNKNOWN, UNKNOWN, None
        differs = billed.micros != 0
    else:
        kind, note, ours = Kind.OTHER_QUANTITY, OTHER, usage.micros
        off = abs(billed.micros - usage.micros)
        differs = off >= STEP * billed.lines if usage.finer else off != 0
    return _difference(kind, billed.key, note, ours, billed.micros) if differs else None


def missing(used: Mapping[DayKey, DayUsage], seen: set[DayKey]) -> Iterator[Difference]:
    """Yield our usage of days, Regions and dimensions that the feed does not have."""
    for key, usage in sorted(used.items()):
        if key not in seen and (usage.micros >= STEP or (usage.micros and not usage.finer)):
            yield _difference(Kind.NOT_BILLED, key, NOT_BILLED, usage.micros, None)


def _difference(kind: Kind, key: DayKey, note: str, ours: int | None, billed: int | None) -> Difference:
    return Difference(
        kind=kind,
        source=Source.DAILY_USAGE,
        when=key.day,
        dimension=key.dimension,
        region=key.region,
        ours=ours,
        billed=billed,
        note=note,
    )
