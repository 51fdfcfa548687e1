"""Read quantities of Kubernetes, such as `250m`.

Invariants:
- A quantity has few enough digits to be added, and written out, in full: `1e999999999` would fill the memory.

Sources: pkg.go.dev, k8s.io/apimachinery/pkg/api/resource, Quantity (at most 2^63 - 1, and no finer than nano).
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from sidecar.sources.fault import SourceFault
from sidecar.strict_json import shown

COUNT_MAX: Final = Decimal(10) ** 24
"""Excluded; above what a cluster can have by far."""
PLACES_MAX: Final = 30
SUFFIXES: Final[Mapping[str, Decimal]] = {
    **{suffix: Decimal(10) ** power for suffix, power in {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6}.items()},
    **{suffix: Decimal(1024) ** power for suffix, power in {"Ki": 1, "Mi": 2}.items()},
}


def is_count(value: Decimal) -> bool:
    """Return whether this can be a count: finite, not negative, and with few digits on both sides of its point."""
    return value.is_finite() and 0 <= value < COUNT_MAX and int(value.as_tuple().exponent) >= -PLACES_MAX


def quantity(text: object) -> Decimal:
    """Return the value of a request for CPUs. Raises SourceFault."""
    words = str(text)
    number = words.rstrip("numkKMi")
    try:
        value = Decimal(number) * SUFFIXES[words[len(number) :]]
    except (ArithmeticError, KeyError):
        value = Decimal("NaN")
    if not is_count(value):
        raise SourceFault("value_unusable", f"{shown(words)} is no quantity of CPUs.")
    return value
