"""Check that usage is split as AWS allows: tags and sums of a request's allocations.

Invariants (metering service model, "UsageAllocation", "TagList", "Tag", and the texts of the two errors):
- InvalidTagException: a key of 1 to 100 characters and a value of 1 to 256, of letters, digits, space and
  `+ - = . _ : / @`; at most five tags in an allocation, and five different keys in a request (AWS's texts
  can be read either way, so both hold); a key twice in one allocation.
- InvalidUsageAllocationsException: the sum is not exactly the quantity, whole numbers and decimals are
  mixed, or two allocations have the same tags. Two without tags have the same: none.
- Where texts disagree, settings: `tag_characters`, `tag_keys_max`, `empty_tag_values`, `allocations_max`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Protocol

from sidecar.emulator.behaviour import Behaviour, TagCharacters
from sidecar.emulator.refusals import Refusal, refusal
from sidecar.emulator.usage_request import Allocation, Quantity, Tag

TAGS_MAX: Final = 5
TAG_KEY_CHARACTERS_MAX: Final = 100
TAG_VALUE_CHARACTERS_MAX: Final = 256

_PATTERNS: Final[Mapping[TagCharacters, re.Pattern[str]]] = MappingProxyType(
    {
        TagCharacters.LISTED: re.compile(r"[a-zA-Z0-9+ \-=._:/@]*"),
        # As the model spells it: from space to the equals sign is then a range, with ! # , ; < and more.
        TagCharacters.RANGE: re.compile(r"[a-zA-Z0-9+ -=._:\/@]*"),
    }
)


class Splittable(Protocol):
    """Usage with a quantity, whole or split."""

    @property
    def quantity(self) -> Quantity | None: ...

    @property
    def allocations(self) -> tuple[Allocation, ...]: ...

    @property
    def value(self) -> Decimal: ...


def check(request: Splittable, behaviour: Behaviour) -> None:
    """Raises Refusal: for the tags first, then for the split."""
    _check_tags(request, behaviour)
    if request.allocations:
        _check_split(request, behaviour)


def split(allocations: tuple[Allocation, ...]) -> frozenset[tuple[frozenset[Tag], Decimal]]:
    """Return the allocations by value, whatever order and form they were sent in."""
    return frozenset((frozenset(each.tags), each.quantity.value) for each in allocations)


def _check_tags(request: Splittable, behaviour: Behaviour) -> None:
    for allocation in request.allocations:
        if len(allocation.tags) > TAGS_MAX:
            raise _invalid_tag(f"an allocation has {len(allocation.tags)} tags; at most {TAGS_MAX} are allowed")
        if len({key for key, _ in allocation.tags}) < len(allocation.tags):
            raise _invalid_tag("an allocation has the same key twice")
        for key, value in allocation.tags:
            _check_characters("key", key, 1, TAG_KEY_CHARACTERS_MAX, behaviour)
            least = 0 if behaviour.empty_tag_values else 1
            _check_characters("value", value, least, TAG_VALUE_CHARACTERS_MAX, behaviour)
    keys = {key for allocation in request.allocations for key, _ in allocation.tags}
    if len(keys) > behaviour.tag_keys_max:
        raise _invalid_tag(f"the allocations have {len(keys)} different keys; at most {behaviour.tag_keys_max}")


def _check_characters(what: str, text: str, least: int, most: int, behaviour: Behaviour) -> None:
    if not least <= len(text) <= most:
        raise _invalid_tag(f"a tag {what} must have {least} to {most} characters")
    if not _PATTERNS[behaviour.tag_characters].fullmatch(text):
        raise _invalid_tag(f"the tag {what} {text!r} has a character that is not allowed")


def _check_split(request: Splittable, behaviour: Behaviour) -> None:
    if len(request.allocations) > behaviour.allocations_max:
        raise _invalid_split(f"more than {behaviour.allocations_max} allocations")
    kinds = {each.quantity.is_decimal for each in request.allocations}
    if request.quantity is not None:
        kinds.add(request.quantity.is_decimal)
    if len(kinds) > 1:
        raise _invalid_split("whole numbers and decimals are mixed")
    total = sum((each.quantity.value for each in request.allocations), Decimal(0))
    if total != request.value:
        raise _invalid_split(f"the sum of allocated quantities is {total:f}, the usage quantity {request.value:f}")
    if len({frozenset(each.tags) for each in request.allocations}) < len(request.allocations):
        raise _invalid_split("two allocations have the same set of tags")


def _invalid_tag(reason: str) -> Refusal:
    return refusal("InvalidTagException", f"The tag is invalid: {reason}.")


def _invalid_split(reason: str) -> Refusal:
    return refusal("InvalidUsageAllocationsException", f"The usage allocations are invalid: {reason}.")
