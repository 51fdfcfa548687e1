"""Turn instants and tag sets into what the database holds, and back."""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b

from sidecar.metering.push_group import EPOCH, MICROSECOND


def micros(instant: datetime) -> int:
    """Return microseconds since the epoch."""
    return (instant - EPOCH) // MICROSECOND


def instant(number: int) -> datetime:
    """Return the instant, in UTC."""
    return EPOCH + number * MICROSECOND


def maybe_micros(at: datetime | None) -> int | None:
    """Return microseconds since the epoch, or nothing for nothing."""
    return None if at is None else micros(at)


def maybe_instant(number: int | None) -> datetime | None:
    """Return the instant, or nothing for nothing."""
    return None if number is None else instant(number)


def tag_set(tags: str) -> bytes:
    """Return the digest of a tag set's text: as long for five long tags as for none."""
    return blake2b(tags.encode(), digest_size=16).digest()
