"""Compute what one hour owes for one dimension: aggregate, scale, add what is carried, cut.

Invariants:
- To the last digit: quantity + carry = aggregate × scale + carried + rolled forward. Always.
- What is below the dimension's precision, or above what AWS takes in one record, is carried, never rounded away and
  never negative.
- Allocations add up to the quantity exactly. Each tag set is cut by itself; what the cuts lose, like what was carried,
  goes to the untagged one.
- At most 2 500 allocations; the smallest beyond that go to the untagged one, and are counted. Where AWS takes only 500
  (an older text says so), a repair merges the same way.

Sources: AWS Marketplace API Reference, MeterUsage, shapes UsageAllocations (2 500, sum equals the quantity, at most one
without tags), UsageQuantity, UsageQuantityAsDecimalString.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Final, assert_never

from sidecar.metering.events import Tags
from sidecar.metering.quantities import (
    ZERO,
    Micros,
    exact_difference,
    exact_product,
    exact_sum,
    floor_to,
    maximum,
    micros_to_decimal,
)
from sidecar.quick_dataclasses import dataclass
from sidecar.settings.dimensions import Aggregation, Dimension

ALLOCATIONS_MAX: Final = 2500
ALLOCATIONS_FEWER: Final = 500
"""What the text of InvalidUsageAllocationsException names; the shape and the guide say 2 500."""
UNTAGGED: Final[Tags] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """What the ledger holds of one hour, dimension and tag set. `last` is the value of the latest event."""

    tags: Tags = UNTAGGED
    sum: int = 0
    """Micros; many events may come to more than one event's maximum."""
    max: Micros | None = None
    last: Micros | None = None
    unique: int = 0
    merged: int = 0
    """Other tag sets that are in it already, because there were too many."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Allocation:
    """A tagged share of a record."""

    tags: Tags
    quantity: Decimal


@dataclass(frozen=True, kw_only=True, slots=True)
class Owed:
    """What one hour comes to."""

    quantity: Decimal
    allocations: tuple[Allocation, ...]
    """Sorted by tags; empty where the record is not split."""
    carry: Decimal
    """Left for the next hour; 0 or more."""
    merged: int
    """Tag sets that count as untagged because there were too many."""


def roll_up(
    dimension: Dimension, buckets: Sequence[Bucket], carried: Decimal, rolled: Sequence[tuple[Tags, Decimal]]
) -> Owed:
    """Return what an hour owes. `carried` and `rolled` are scaled already; only a sum has more than one bucket."""
    shares = _shares(dimension, buckets, carried, rolled)
    total = exact_sum(shares.values())
    quantity = min(floor_to(total, dimension.decimals), maximum(dimension.decimals))
    allocations, merged = _allocate(shares, quantity, dimension) if dimension.tags else ((), 0)
    merged += sum(bucket.merged for bucket in buckets)
    return Owed(quantity=quantity, allocations=allocations, carry=exact_difference(total, quantity), merged=merged)


def makes_a_record(dimension: Dimension, owed: Owed) -> bool:
    """Return whether there is something to report: a quantity, or a nothing that was asked for."""
    return owed.quantity > 0 or dimension.report_zero


def fewer(allocations: Sequence[Allocation], most: int = ALLOCATIONS_FEWER) -> tuple[Allocation, ...]:
    """Return the same quantity in at most `most` shares: the largest stay, the rest is untagged."""
    if len(allocations) <= most:
        return tuple(allocations)
    tagged = sorted((one for one in allocations if one.tags), key=lambda one: (-one.quantity, one.tags))
    kept = tagged[: most - 1]
    rest = exact_difference(exact_sum(one.quantity for one in allocations), exact_sum(one.quantity for one in kept))
    return tuple(sorted((*kept, Allocation(tags=UNTAGGED, quantity=rest)), key=lambda one: one.tags))


def _shares(
    dimension: Dimension, buckets: Sequence[Bucket], carried: Decimal, rolled: Iterable[tuple[Tags, Decimal]]
) -> dict[Tags, Decimal]:
    """Return tag set → exact amount; the untagged one is always there."""
    shares = {UNTAGGED: carried}
    for tags, amount in (*_scaled(dimension, buckets), *rolled):
        tags = tags if dimension.tags else UNTAGGED
        shares[tags] = exact_sum((shares.get(tags, ZERO), amount))
    return shares


def _scaled(dimension: Dimension, buckets: Sequence[Bucket]) -> list[tuple[Tags, Decimal]]:
    if dimension.aggregation is Aggregation.SUM:
        return [(one.tags, exact_product(micros_to_decimal(one.sum), dimension.scale)) for one in buckets]
    return [(UNTAGGED, exact_product(_single(dimension.aggregation, buckets), dimension.scale))]


def _single(aggregation: Aggregation, buckets: Sequence[Bucket]) -> Decimal:
    """Return the one value of a dimension that does not add up; 0 for an hour without events."""
    if aggregation is Aggregation.MAX:
        return micros_to_decimal(max((one.max for one in buckets if one.max is not None), default=0))
    if aggregation is Aggregation.LAST:
        return micros_to_decimal(next((one.last for one in reversed(buckets) if one.last is not None), 0))
    if aggregation is Aggregation.UNIQUE:
        return Decimal(max((one.unique for one in buckets), default=0))
    if aggregation is Aggregation.SUM:
        return micros_to_decimal(sum(one.sum for one in buckets))
    assert_never(aggregation)


def _allocate(
    shares: Mapping[Tags, Decimal], quantity: Decimal, dimension: Dimension
) -> tuple[tuple[Allocation, ...], int]:
    """Return the quantity split by tag set, and how many tag sets were merged into the untagged one.

    The largest come first, so that the few which do not fit (too many of them, or more than AWS takes) are small.
    """
    cut = [(tags, floor_to(share, dimension.decimals)) for tags, share in shares.items() if tags]
    by_tags = sorted((tags, share) for tags, share in cut if share)
    tagged = sorted(by_tags, key=lambda pair: pair[1], reverse=True)
    rest = exact_difference(quantity, exact_sum(share for _, share in tagged))
    crowded = len(tagged) + (rest > 0) > ALLOCATIONS_MAX
    kept = tagged[: ALLOCATIONS_MAX - 1] if crowded else tagged
    left = quantity
    found: list[Allocation] = []
    for tags, share in kept:
        if taken := min(share, left):
            found.append(Allocation(tags=tags, quantity=taken))
            left = exact_difference(left, taken)
    if not found:
        return (), len(tagged) - len(kept)
    if left:
        found.append(Allocation(tags=UNTAGGED, quantity=left))
    return tuple(sorted(found, key=lambda one: one.tags)), len(tagged) - len(kept)
