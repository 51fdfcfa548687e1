"""Define usage that is drawn from a license: what is sealed for it in place of a MeterUsage call.

Invariants:
- A drawdown is one PERPETUAL checkout with the client token that was stored at sealing. The token is random: where a
  ledger is lost, another amount must not go out under a token that AWS knows.
- The amount is whole and above 0: "0" would ask License Manager for what is not limited.

Sources: AWS License Manager API Reference, CheckoutLicense (ClientToken; EntitlementData: `Value` is text of digits).
"""

from __future__ import annotations

from typing import Final

from sidecar.quick_dataclasses import dataclass

CALLS_MAX: Final = 3
"""Calls of one attempt: an answer that is lost is asked for at once with the same token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawdown:
    """The pool that a dimension's usage is drawn from."""

    sku: str
    """Product ID."""
    name: str
    """Of the entitlement, as the license has it."""
    unit: str
