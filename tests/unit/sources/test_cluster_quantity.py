"""Quantities of Kubernetes."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sidecar.sources.cluster_quantity import quantity
from sidecar.sources.fault import SourceFault

HUGE = ("1e24", "1e999999999", "1e-31", "1e-999999999", "1e999999999999999999", "1e99999999999999999999", "Infinity")
"""Written out in full, most of these would fill the memory."""


@pytest.mark.parametrize(
    ("text", "value"), [("1", "1"), ("0.5", "0.5"), ("250m", "0.25"), ("2k", "2000"), ("1e-1", "0.1"), ("1e18", "1e18")]
)
def test_a_quantity_is_exact(text: str, value: str) -> None:
    assert quantity(text) == Decimal(value)


@pytest.mark.parametrize("text", ["", "m", "1x", "1mm", None, "-1", "NaN", *HUGE])
def test_what_is_no_quantity_is_refused(text: object) -> None:
    with pytest.raises(SourceFault, match="value_unusable"):
        quantity(text)
