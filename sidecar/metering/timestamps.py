"""Read an event's `at` exactly.

Two forms: ISO 8601 date and time with an offset or Z (`2026-11-20T10:15:00Z`), or epoch seconds as a JSON number. Text
without an offset is refused: it would mean another hour on another host.

Invariants:
- Finer than a microsecond is cut, never rounded up: rounding could move usage into the next hour.
- A leap second (23:59:60 UTC) belongs to the hour it ends.

Sources: RFC 3339, §5.6 and appendix D.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from typing import Final

from sidecar.metering.hours import EPOCH
from sidecar.metering.quantities import CUTTING
from sidecar.strict_json import JsonNumber, shown

ISO: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::(?P<seconds>[0-5][0-9]|60)(?:[.,][0-9]{1,9})?)?"
    r"(?:[Zz]|[+-][0-9]{2}:?[0-9]{2})"
)
ONE_MICROSECOND: Final = timedelta(microseconds=1)
FIRST: Final = datetime.min.replace(tzinfo=UTC)
LAST: Final = datetime.max.replace(tzinfo=UTC)
FORM: Final = "ISO 8601 with an offset or Z, or epoch seconds as a number"


class InstantOutOfRange(ValueError):
    """An instant outside the years 1 to 9999."""


def read_instant(value: object) -> datetime:
    """Return the instant, in UTC. Raises ValueError where it is none, InstantOutOfRange where it is too far away."""
    if isinstance(value, JsonNumber):
        return _from_epoch(value)
    if isinstance(value, str) and (match := ISO.fullmatch(value)):
        return _from_iso(value, leap=match["seconds"] == "60")
    raise ValueError(f"{shown(value)} is not {FORM}.")


def micros_since_epoch(instant: datetime) -> int:
    """Return whole microseconds since the epoch, exactly."""
    return (instant - EPOCH) // ONE_MICROSECOND


def _from_epoch(value: JsonNumber) -> datetime:
    try:
        micros = Decimal(value.text).scaleb(6, CUTTING)
        if not micros_since_epoch(FIRST) <= micros <= micros_since_epoch(LAST):
            raise InstantOutOfRange(f"{shown(value)} epoch seconds lie outside the years 1 to 9999.")
        return EPOCH + int(micros.to_integral_value(ROUND_FLOOR)) * ONE_MICROSECOND
    except (ArithmeticError, InvalidOperation):
        raise InstantOutOfRange(f"{shown(value)} is beyond any instant.") from None


def _from_iso(words: str, leap: bool) -> datetime:
    try:
        found = datetime.fromisoformat((words[:17] + "59" + words[19:] if leap else words).upper().replace(",", "."))
    except ValueError:
        raise ValueError(f"{shown(words)} is not a date and time of any calendar.") from None
    try:
        instant = found.astimezone(UTC)
    except OverflowError:
        raise InstantOutOfRange(f"{shown(words)} lies outside the years 1 to 9999 in UTC.") from None
    if leap and (instant.hour, instant.minute) != (23, 59):
        raise ValueError(f"{shown(words)} has a leap second where there is none.")
    return instant
