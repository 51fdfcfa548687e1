"""Read the members of a MeterUsage request, with their types.

Elsewhere: whether what it says is allowed (`meter_usage`, `allocations`).

Invariants (metering service model, "MeterUsageRequest"):
- ProductCode, Timestamp and UsageDimension are required; ClientToken has 1 to 64 characters, a dimension
  1 to 255; allocations are 1 to 2500, each with exactly one quantity.
- A whole quantity is 0 to 2147483647. A decimal one is text of up to ten digits without leading zeros, and
  a point with one to six more if need be. The two fields exclude each other; neither is 0.
- What breaks this is a ValidationException. Tags are read here and judged in `allocations`, because the
  model has an error of its own for them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

from sidecar.emulator.constraints import failed, invalid, wrong_product_code, wrong_text

WHOLE_QUANTITY_MAX: Final = 2_147_483_647
DECIMAL_CHARACTERS_MAX: Final = 17
DIMENSION_CHARACTERS_MAX: Final = 255
CLIENT_TOKEN_CHARACTERS_MAX: Final = 64
ALLOCATIONS_MAX: Final = 2500
EPOCH_MAX: Final = 253_402_300_799
"""The last second of the year 9999."""

_DECIMAL = re.compile(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?")

Tag = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """An exact amount, and the kind of field it came in."""

    value: Decimal
    is_decimal: bool


@dataclass(frozen=True, kw_only=True)
class Allocation:
    """A share of the quantity, with its tags as sent; none is the untagged share."""

    quantity: Quantity
    tags: tuple[Tag, ...]


@dataclass(frozen=True, kw_only=True)
class UsageRequest:
    """A MeterUsage request that the model allows."""

    product_code: str
    timestamp: datetime
    dimension: str
    quantity: Quantity | None
    """None where the request has neither field: that counts as 0, of either kind."""
    allocations: tuple[Allocation, ...]
    client_token: str | None
    dry_run: bool

    @property
    def value(self) -> Decimal:
        """Return the quantity as a number."""
        return Decimal(0) if self.quantity is None else self.quantity.value


def asks_dry_run(body: Mapping[str, object]) -> bool:
    """Return whether a request, well-formed or not, is a dry run."""
    return body.get("DryRun") is True


def parse_usage_request(body: Mapping[str, object]) -> UsageRequest:
    """Return the request. Raises Refusal: one ValidationException that lists everything wrong."""
    wrong: list[str] = []
    code, dimension, token = body.get("ProductCode"), body.get("UsageDimension"), body.get("ClientToken")
    wrong += wrong_product_code(code)
    timestamp = read_timestamp(body.get("Timestamp"), "", wrong)
    wrong += wrong_text("usageDimension", dimension, required=True, least=1, most=DIMENSION_CHARACTERS_MAX)
    wrong += wrong_text("clientToken", token, least=1, most=CLIENT_TOKEN_CHARACTERS_MAX)
    if not isinstance(body.get("DryRun"), bool | None):
        wrong.append(failed("dryRun", "Member must be a boolean"))
    quantity = read_quantity(body, "", "UsageQuantity", wrong)
    allocations = read_allocations(body.get("UsageAllocations"), "", wrong)
    if wrong or not isinstance(code, str) or not isinstance(dimension, str) or timestamp is None:
        raise invalid(wrong)
    return UsageRequest(
        product_code=code,
        timestamp=timestamp,
        dimension=dimension,
        quantity=quantity,
        allocations=allocations,
        client_token=token if isinstance(token, str) else None,
        dry_run=asks_dry_run(body),
    )


def read_timestamp(value: object, where: str, wrong: list[str]) -> datetime | None:
    """Return the instant of a required Timestamp; None, and a complaint in `wrong`, where it is none.

    `where` is what stands before the member's name in complaints, here and in the next two.
    """
    if value is None:
        wrong.append(failed(f"{where}timestamp", "Member must not be null"))
    elif isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= EPOCH_MAX:
        wrong.append(failed(f"{where}timestamp", "Member must be a number of seconds since 1970"))
    else:
        return datetime.fromtimestamp(value, UTC)
    return None


def read_quantity(body: Mapping[str, object], where: str, field: str, wrong: list[str]) -> Quantity | None:
    """Return the quantity in `field` or in its decimal twin; None where it has neither or a wrong one."""
    whole, text = body.get(field), body.get(f"{field}AsDecimal")
    member = where + field[0].lower() + field[1:]
    if whole is not None and text is not None:
        wrong.append(failed(member, f"Member must not be given together with {member}AsDecimal"))
        return None
    if text is not None:
        faults = wrong_text(f"{member}AsDecimal", text, least=1, most=DECIMAL_CHARACTERS_MAX, pattern=_DECIMAL)
        wrong += faults
        return None if faults else Quantity(value=Decimal(str(text)), is_decimal=True)
    if whole is None:
        return None
    if isinstance(whole, bool) or not isinstance(whole, int) or not 0 <= whole <= WHOLE_QUANTITY_MAX:
        wrong.append(failed(member, f"Member must be an integer from 0 to {WHOLE_QUANTITY_MAX}"))
        return None
    return Quantity(value=Decimal(whole), is_decimal=False)


def read_allocations(value: object, where: str, wrong: list[str]) -> tuple[Allocation, ...]:
    """Return the shares of a UsageAllocations member, which may be absent; what is wrong goes to `wrong`."""
    if value is None:
        return ()
    member = f"{where}usageAllocations"
    if not isinstance(value, list) or not 1 <= len(value) <= ALLOCATIONS_MAX:
        wrong.append(failed(member, f"Member must be a list of 1 to {ALLOCATIONS_MAX}"))
        return ()
    found = [_allocation(each, f"{member}.{place}.member.", wrong) for place, each in enumerate(value, 1)]
    return tuple(each for each in found if each is not None)


def _allocation(value: object, where: str, wrong: list[str]) -> Allocation | None:
    if not isinstance(value, dict):
        wrong.append(failed(where.rstrip("."), "Member must be a structure"))
        return None
    before = len(wrong)
    quantity = read_quantity(value, where, "AllocatedUsageQuantity", wrong)
    if quantity is None and len(wrong) == before:
        wrong.append(failed(f"{where}allocatedUsageQuantity", "Member must not be null"))
    tags = _tags(value.get("Tags"), f"{where}tags", wrong)
    return None if quantity is None else Allocation(quantity=quantity, tags=tags)


def _tags(value: object, member: str, wrong: list[str]) -> tuple[Tag, ...]:
    """Return the tags, of any number and any text; a value that is null is empty."""
    if value is None:
        return ()
    if not isinstance(value, list) or not value:
        wrong.append(failed(member, "Member must be a list of at least 1"))
        return ()
    return tuple(tag for each in value if (tag := _tag(each, member, wrong)) is not None)


def _tag(value: object, member: str, wrong: list[str]) -> Tag | None:
    key, text = (value.get("Key"), value.get("Value")) if isinstance(value, dict) else (None, None)
    if not isinstance(key, str) or not isinstance(text, str | None):
        wrong.append(failed(member, "Member must have a Key and a Value that are strings"))
        return None
    return key, text or ""
