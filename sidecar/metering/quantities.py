"""Define quantities of usage, and the exact arithmetic they are billed with.

Invariants:
- An event's quantity has at most six places and is an `int` of micros (10⁻⁶), in memory and on disk.
- After a scale of at most six places an amount has at most twelve: a `Decimal`, in plain notation on disk.
- Nothing is rounded by accident: the one arithmetic used refuses a result it cannot hold exactly; only `floor_to` cuts,
  and its caller keeps what was cut.
- A float is never accepted: 0.1 + 0.2 would be on a customer's bill.

Sources: AWS Marketplace API Reference, MeterUsage, shapes UsageQuantity (integer, 0 to 2147483647) and
UsageQuantityAsDecimalString (ten digits, then up to six places).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from decimal import (
    MAX_EMAX,
    MIN_EMIN,
    ROUND_FLOOR,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
)
from typing import Final, NewType

from sidecar.settings.dimensions import PLACES
from sidecar.strict_json import JsonNumber, shown

Micros = NewType("Micros", int)
"""Millionths of a unit, 0 or more."""

MICROS_PER_UNIT: Final = 10**PLACES

INTEGER_MAX: Final = Decimal(2_147_483_647)
DECIMAL_MAX: Final = Decimal("9999999999.999999")

WRITTEN_MAX: Final = 40
"""Characters of a number; more are never needed for six places."""

DIGITS: Final = re.compile(r"[0-9]+(?:\.[0-9]+)?")
ZERO: Final = Decimal(0)

EXACT: Final = Context(
    prec=60, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero]
)
"""Room for twelve places below and 48 digits above; a result that does not fit is an error, never rounded."""

CUTTING: Final = Context(
    prec=60, rounding=ROUND_FLOOR, Emin=MIN_EMIN, Emax=MAX_EMAX, traps=[InvalidOperation, Overflow]
)


class QuantityOutOfRange(ValueError):
    """A number, but not one an event can carry."""


def read_decimal(value: object) -> Decimal:
    """Return the number as written: a JSON number, an int, or text of plain decimal digits.

    Raises ValueError where it is none, QuantityOutOfRange where its size alone shows that an event cannot carry it.
    """
    if isinstance(value, JsonNumber):
        written = value.text
    elif isinstance(value, int) and not isinstance(value, bool):
        return Decimal(value)
    elif isinstance(value, str) and DIGITS.fullmatch(value):
        written = value
    else:
        raise ValueError(f"{shown(value)} is neither a number nor text of plain decimal digits.")
    if len(written) > WRITTEN_MAX:
        raise QuantityOutOfRange(f"{shown(value)} is written in more than {WRITTEN_MAX} characters.")
    try:
        number = Decimal(written)
    except InvalidOperation:  # an exponent beyond what a Decimal holds
        raise QuantityOutOfRange(f"{shown(value)} is not between 0 and {plain(DECIMAL_MAX)}.") from None
    if not number.is_finite():
        raise ValueError(f"{shown(value)} is not a number.")
    return number


def to_micros(number: Decimal) -> Micros:
    """Return a number as micros. Raises QuantityOutOfRange naming the rule it breaks."""
    if not number:
        return Micros(0)
    if number < 0:
        raise QuantityOutOfRange(f"{shown(str(number))} is negative; a quantity is 0 or more.")
    if number > DECIMAL_MAX:
        raise QuantityOutOfRange(f"{shown(str(number))} is more than {plain(DECIMAL_MAX)}.")
    try:
        micros = number.scaleb(PLACES, EXACT)
    except Inexact:  # an exponent below what `EXACT` holds
        raise _too_fine(number) from None
    whole = int(micros)
    if whole != micros:
        raise _too_fine(number)
    return Micros(whole)


def _too_fine(number: Decimal) -> QuantityOutOfRange:
    return QuantityOutOfRange(f"{shown(str(number))} has more than {PLACES} decimal places.")


def parse_micros(value: object) -> Micros:
    """Return a written number as micros. Raises as `read_decimal` and `to_micros` do."""
    return to_micros(read_decimal(value))


def micros_to_decimal(micros: int) -> Decimal:
    """Return micros as a number of units."""
    return Decimal(micros).scaleb(-PLACES, EXACT)


def plain(amount: Decimal) -> str:
    """Return plain notation: no exponent, no sign on zero, no zeros at the end of a fraction."""
    if not amount:
        return "0"
    words = format(amount, "f")
    return words.rstrip("0").rstrip(".") if "." in words else words


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """Return the sum. Raises decimal.Inexact where it cannot be held exactly."""
    total = ZERO
    for amount in amounts:
        total = EXACT.add(total, amount)
    return total


def exact_sums(amounts: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    """Return the sum of each name's amounts."""
    totals: dict[str, Decimal] = {}
    for name, amount in amounts:
        totals[name] = EXACT.add(totals.get(name, ZERO), amount)
    return totals


def exact_product(left: Decimal, right: Decimal) -> Decimal:
    """Return the product. Raises decimal.Inexact where it cannot be held exactly."""
    return EXACT.multiply(left, right)


def exact_difference(left: Decimal, right: Decimal) -> Decimal:
    """Return the difference. Raises decimal.Inexact where it cannot be held exactly."""
    return EXACT.subtract(left, right)


def floor_to(amount: Decimal, decimals: int) -> Decimal:
    """Return the largest amount with so many places that is not above `amount`."""
    return amount.quantize(Decimal(1).scaleb(-decimals), context=CUTTING)


def maximum(decimals: int) -> Decimal:
    """Return the most one record can carry: the integer field's limit, or the decimal field's, cut to the places."""
    return floor_to(DECIMAL_MAX, decimals) if decimals else INTEGER_MAX
