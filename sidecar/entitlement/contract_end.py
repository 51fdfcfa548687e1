"""Decide what is logged about a contract's end: ahead of it, at it, and when the contract is renewed. Pure.

Invariants:
- Each stage is told once: 30, 7 and 1 days ahead, and the end. A later end than before is a renewal or another term.
- The end shuts nothing: what runs is the seller's to decide about; what starts is asked about by its own checkout.

Sources: AWS License Manager API Reference, GetLicense (Validity); AWS Marketplace seller guide, "Integrating your
container products with License Manager" (no new launches after the end).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import IntEnum
from typing import Final


class Stage(IntEnum):
    """How near the end of the contract is, in days."""

    FAR = 10_000
    """More than 30 days, or it has no end that is known."""
    MONTH = 30
    WEEK = 7
    DAY = 1
    ENDED = 0


WARNED: Final = (Stage.DAY, Stage.WEEK, Stage.MONTH)


def stage(ends_at: datetime | None, now: datetime) -> Stage:
    """Return how near the end is."""
    if ends_at is None:
        return Stage.FAR
    if now >= ends_at:
        return Stage.ENDED
    return next((one for one in WARNED if ends_at - now <= timedelta(days=one)), Stage.FAR)


def renewed(before: Stage, now: Stage) -> bool:
    """Return whether the contract was extended: a later stage is followed by an earlier one."""
    return now > before
