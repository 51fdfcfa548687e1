"""Read the fields of a line or event: text, hours and quantities.

Invariants:
- No quantity passes through a float; one with more than six decimal places is refused, not rounded.
- What CloudTrail writes as a time is read whatever the locale of this machine is.

Sources: AWS Marketplace API Reference, "Logging AWS Marketplace Metering API calls with AWS CloudTrail": events have
timestamps such as `Jul 23, 2020 1:35:44 AM`, in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from sidecar.audit.input_files import Unreadable
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import MICROS_PER_UNIT, parse_micros
from sidecar.metering.timestamps import read_instant
from sidecar.strict_json import JsonNumber, shown

WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,9}")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
AWS_TIME: Final = re.compile(
    r"(?P<month>[A-Z][a-z]{2}) (?P<day>[0-9]{1,2}), (?P<year>[0-9]{4}),? "
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})[ \u202f\u00a0](?P<half>[AP])M"
)
"""A narrow or hard space may stand before AM and PM: newer versions of the Unicode locale data write it so."""


def text(fields: Mapping[str, object], name: str, *, required: bool = True) -> str:
    """Return a field's text; "" where it is absent and not required. Raises Unreadable."""
    value = fields.get(name)
    if isinstance(value, str) and (value or not required) and _whole(value):
        return value
    if value is None and not required:
        return ""
    raise Unreadable(f"{name} is {shown(value) if name in fields else 'missing'}; it must be text.")


def _whole(words: str) -> bool:
    """Return False for half a surrogate pair, which JSON can spell and no file can hold."""
    return words.isascii() or not any("\ud800" <= one <= "\udfff" for one in words)


def micros(value: object, name: str) -> int:
    """Return a quantity in micros, exactly. Raises Unreadable."""
    words = value if isinstance(value, str) else value.text if isinstance(value, JsonNumber) else ""
    if WHOLE.fullmatch(words):
        return int(words) * MICROS_PER_UNIT
    try:
        return parse_micros(value)
    except ValueError as exc:
        raise Unreadable(f"{name}: {exc}") from None


@lru_cache(maxsize=4096)
def hour_start(words: str) -> int:
    """Return the number of the hour that begins at an instant in ISO 8601. Raises Unreadable."""
    try:
        return Hour(read_instant(words)).number
    except ValueError:
        raise Unreadable(f"hour is {shown(words)}; it must be the start of an hour, as 2026-11-20T10:00:00Z.") from None


def hour_of(value: object) -> int:
    """Return the number of the hour that CloudTrail's timestamp is in. Raises Unreadable."""
    if isinstance(value, str | JsonNumber):
        return _hour_of(value)
    raise Unreadable(f"timestamp is {shown(value)}; it must be a time, as 'Jul 23, 2020 1:35:44 AM'.")


@lru_cache(maxsize=4096)
def _hour_of(value: str | JsonNumber) -> int:
    try:
        if isinstance(value, str) and (match := AWS_TIME.fullmatch(value)):
            return Hour.at(_aws_time(match)).number
        return Hour.at(read_instant(value)).number
    except ValueError:
        raise Unreadable(f"timestamp is {shown(value)}; it must be a time, as 'Jul 23, 2020 1:35:44 AM'.") from None


def _aws_time(match: re.Match[str]) -> datetime:
    hour = int(match["hour"])
    if not 1 <= hour <= 12:
        raise ValueError("a clock of twelve hours has the hours 1 to 12.")
    return datetime(
        int(match["year"]),
        MONTHS.index(match["month"]) + 1,
        int(match["day"]),
        hour % 12 + 12 * (match["half"] == "P"),
        int(match["minute"]),
        int(match["second"]),
        tzinfo=UTC,
    )
