"""Bound what one open hour of a dimension takes: its tag sets, and its distinct keys.

A product that tags with a request's id, or counts one as a key, would fill the disk until usage is refused for all.

Invariants:
- At the bound a new tag set or key is refused (422), its whole push with it; one that the hour has is taken as before.
- The bounds are the same wherever usage is kept: by a workload's ledger, or for a customer of the SaaS service.
- Only pushes are bounded. What is rolled forward or taken over waits elsewhere, and is never refused.

Sources: AWS Marketplace API Reference, MeterUsage, shape UsageAllocations (2 500 in one record; what is above is billed
untagged, see `rollup`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from sidecar.metering.events import REASONS, PushRefused
from sidecar.metering.hours import Hour
from sidecar.quick_dataclasses import dataclass

TAG_SETS_MAX: Final = 10_000
"""Tag sets of one hour and dimension: four times what AWS takes, and read into memory when the hour is sealed."""
KEYS_MAX: Final = 1_000_000
"""Distinct keys of one hour and dimension: 40 to 60 MB on disk."""
UNTAGGED: Final = "[]"
"""The text of no tags: usage without tags is no tag set."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One thing that is bounded."""

    reason: str
    most: Callable[[], int]
    what: str
    fix: str


TAG_SETS: Final = "tag_sets"
KEYS: Final = "unique_keys"
KINDS: Final[Mapping[str, Kind]] = {
    TAG_SETS: Kind(
        reason="too_many_tag_sets",
        most=lambda: TAG_SETS_MAX,
        what="tags is another tag set",
        fix="Tag by what the bill is split by, as a tenant, not by what is new with each event.",
    ),
    KEYS: Kind(
        reason="too_many_keys",
        most=lambda: KEYS_MAX,
        what="key is another key",
        fix="Count users or devices, not what is new with each event.",
    ),
}


def refusal(kind: str, dimension: str, hour: int, index: int) -> PushRefused:
    """Return the refusal of a push that breaks a bound with its event `index`."""
    one = KINDS[kind]
    rule = f"{one.what}, and {json.dumps(dimension)} has {one.most()} of them in {Hour.numbered(hour)}. {one.fix}"
    return PushRefused(status=REASONS[one.reason], reason=one.reason, detail=f"Event {index}: {rule}", index=index)
