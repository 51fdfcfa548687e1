"""Refuse the kind of field for quantities that this AWS does not take, in MeterUsage and BatchMeterUsage alike.

Invariants:
- By default none is refused: AWS documents no product or dimension that refuses one of them.
"""

from __future__ import annotations

from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.constraints import failed
from sidecar.emulator.usage_request import Quantity


def wrong_kind(quantity: Quantity | None, member: str, behaviour: Behaviour) -> list[str]:
    """Return what is wrong with the field a quantity came in; `member` is its name for a whole one."""
    if quantity is None:
        return []
    refused = behaviour.refuse_decimal_quantity if quantity.is_decimal else behaviour.refuse_integer_quantity
    named = f"{member}AsDecimal" if quantity.is_decimal else member
    return [failed(named, "Member is not supported for this product")] if refused else []
