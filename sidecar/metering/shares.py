"""Compute what an hour's usage or a record comes to, scaled and uncut, where it is counted in another hour.

Invariants:
- Nothing is cut: what is below a dimension's precision is part of the amount.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from sidecar.metering.events import Tags
from sidecar.metering.quantities import ZERO, exact_product, exact_sum, micros_to_decimal
from sidecar.metering.records import UsageRecord
from sidecar.metering.rollup import Bucket, roll_up
from sidecar.settings.dimensions import Aggregation, Dimension

Share = tuple[Tags, Decimal]


def amount_of(dimension: Dimension, buckets: Sequence[Bucket]) -> Decimal:
    """Return what an hour's usage comes to."""
    owed = roll_up(dimension, buckets, ZERO, ())
    return exact_sum((owed.quantity, owed.carry))


def shares_of(dimension: Dimension, buckets: Sequence[Bucket]) -> list[Share]:
    """Return what an hour's usage comes to by tag set."""
    if dimension.aggregation is Aggregation.SUM:
        return [(one.tags, exact_product(micros_to_decimal(one.sum), dimension.scale)) for one in buckets]
    return [((), amount_of(dimension, buckets))] if buckets else []


def record_shares(record: UsageRecord) -> list[Share]:
    """Return a record's quantity by tag set, as it was frozen in its request."""
    allocations = record.request.allocations if record.request else ()
    return [(one.tags, one.quantity) for one in allocations] or [((), record.quantity)]
