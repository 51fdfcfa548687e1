"""Read the bodies of admin requests and timelines, field by field.

Invariants:
- Every complaint is a BadCommand that names the field, so that a typing error does not pass unnoticed.
- An unknown field is an error.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from enum import Enum
from typing import Final, TypeVar

from sidecar.emulator.refusals import BadCommand

NUMBER_MAX: Final = 1_000_000_000
"""All numbers here are seconds: some thirty years."""
EPOCH_MAX: Final = 7_258_118_400
"""The year 2200."""

E = TypeVar("E", bound=Enum)


def only(body: Mapping[str, object], known: Collection[str]) -> None:
    """Refuse fields outside `known`."""
    for name in body:
        if name not in known:
            raise BadCommand(f"{name}: unknown field; known: {', '.join(sorted(known)) or 'none'}")


def text(body: Mapping[str, object], name: str) -> str | None:
    """Return a non-empty string, or None when absent."""
    value = body.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise BadCommand(f"{name}: must be a non-empty string")
    return value


def flag(body: Mapping[str, object], name: str) -> bool | None:
    """Return true or false, or None when absent."""
    value = body.get(name)
    if value is None or isinstance(value, bool):
        return value
    raise BadCommand(f"{name}: must be true or false")


def number(body: Mapping[str, object], name: str) -> float | None:
    """Return a number of seconds in the clock's range, or None when absent."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadCommand(f"{name}: must be a number")
    if not abs(value) <= NUMBER_MAX:  # not "greater than": that lets NaN through
        raise BadCommand(f"{name}: must be within ±{NUMBER_MAX}")
    return float(value)


def instant(body: Mapping[str, object], name: str) -> datetime | None:
    """Return an aware instant from ISO 8601 text with its zone or from Unix seconds, or None when absent."""
    value = body.get(name)
    if value is None:
        return None
    wrong = BadCommand(f"{name}: must be Unix seconds, or ISO 8601 with its zone such as 2026-01-31T23:59:00Z")
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        raise wrong from None
    if found is not None and found.tzinfo is not None:
        value = found.timestamp()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise wrong
    if not 0 <= value <= EPOCH_MAX:
        raise BadCommand(f"{name}: must be between the years 1970 and 2200")
    return datetime.fromtimestamp(value, UTC) if found is None else found.astimezone(UTC)


def whole(body: Mapping[str, object], name: str, *, least: int) -> int | None:
    """Return a whole number of at least `least`, or None when absent."""
    value = body.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadCommand(f"{name}: must be a whole number of at least {least}")
    return value


def whole_list(body: Mapping[str, object], name: str, *, least: int) -> tuple[int, ...] | None:
    """Return a list of whole numbers of at least `least`, or None when absent."""
    value = body.get(name)
    if value is None:
        return None
    good = isinstance(value, list) and all(
        isinstance(each, int) and not isinstance(each, bool) and each >= least for each in value
    )
    if not isinstance(value, list) or not good:
        raise BadCommand(f"{name}: must be a list of whole numbers of at least {least}")
    return tuple(value)


def choice(body: Mapping[str, object], name: str, kind: type[E]) -> E | None:
    """Return one of an Enum's values, or None when absent."""
    value = body.get(name)
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        known = ", ".join(str(each.value) for each in kind)
        raise BadCommand(f"{name}: must be one of {known}") from None
