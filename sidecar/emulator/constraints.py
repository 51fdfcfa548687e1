"""Check request members against the service model, with the wording that every operation shares.

Invariants:
- Everything wrong with a request's members is one ValidationException that lists it all, in the wording
  common to AWS's JSON services.
- A member that is null counts as absent, as in every AWS JSON protocol.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from sidecar.emulator.refusals import Refusal, refusal

PRODUCT_CODE_CHARACTERS_MAX: Final = 255

_PRODUCT_CODE = re.compile(r"[-a-zA-Z0-9/=:_.@]*")


def invalid(wrong: Sequence[str]) -> Refusal:
    """Return the ValidationException that lists `wrong`."""
    count = f"{len(wrong)} validation error{'s' if len(wrong) > 1 else ''} detected: "
    return refusal("ValidationException", count + "; ".join(wrong))


def failed(member: str, constraint: str) -> str:
    """Return one thing wrong with one member."""
    return f"Value at '{member}' failed to satisfy constraint: {constraint}"


def wrong_text(
    member: str,
    value: object,
    *,
    required: bool = False,
    least: int = 0,
    most: int,
    pattern: re.Pattern[str] | None = None,
) -> list[str]:
    """Return what is wrong with a string member."""
    if value is None:
        return [failed(member, "Member must not be null")] if required else []
    if not isinstance(value, str):
        return [failed(member, "Member must be a string")]
    if len(value) < least:
        return [failed(member, f"Member must have length greater than or equal to {least}")]
    if len(value) > most:
        return [failed(member, f"Member must have length less than or equal to {most}")]
    if pattern is not None and not pattern.fullmatch(value):
        return [failed(member, f"Member must satisfy regular expression pattern: {pattern.pattern}")]
    return []


def wrong_product_code(code: object) -> list[str]:
    """Return what is wrong with a product code."""
    return wrong_text("productCode", code, required=True, most=PRODUCT_CODE_CHARACTERS_MAX, pattern=_PRODUCT_CODE)
