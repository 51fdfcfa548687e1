"""Read an exact decimal as it is on disk."""

from __future__ import annotations

from decimal import Decimal

from sidecar.ledger.errors import decoding
from sidecar.metering.quantities import DIGITS


@decoding()
def read_amount(text: str) -> Decimal:
    """Return an amount as it is on disk: plain notation. Raises sqlite3.DatabaseError for anything else."""
    if not DIGITS.fullmatch(text):
        raise ValueError(f"{text[:40]} is no amount")
    return Decimal(text)
