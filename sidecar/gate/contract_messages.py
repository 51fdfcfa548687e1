"""Define what the messages of a check by License Manager hold besides the other checks': licenses, seats, checkouts.

Invariants:
- A checkout whose outcome is not known is repeated by the next child with the same ClientToken, for OPEN_FOR: with
  another one a seat that AWS gave would be held beside the next, by no one, until it runs out.
- A seat's consumption token goes to the worker once, for what holds the seat; it is in no other message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sidecar.entitlement.contract import read_instant
from sidecar.quick_dataclasses import asdict, dataclass
from sidecar.settings import License, Take

OPEN_FOR: Final = timedelta(minutes=10)
"""For how long AWS remembers a ClientToken of CheckoutLicense is not documented; of CreateToken, ten minutes."""


@dataclass(frozen=True, kw_only=True)
class OpenCheckout:
    """A checkout that AWS may have taken."""

    license: str
    """As `key` names it."""
    client_token: str
    asked_at: str

    def token_for(self, license: License, now: datetime) -> str:
        """Return the token to repeat the checkout with; empty where it is another license's, or too old."""
        asked_at = read_instant(self.asked_at)
        recent = asked_at is not None and timedelta(0) <= now - asked_at <= OPEN_FOR
        return self.client_token if recent and self.license == key(license) else ""


def key(license: License) -> str:
    """Return what tells a license from the others of the settings."""
    return f"{license.name}\n{license.unit}\n{license.value}"


def licenses_as_json(licenses: Iterable[License]) -> list[dict[str, str]]:
    """Return licenses for a message."""
    return [{**asdict(one), "take": one.take.value} for one in licenses]


def licenses_from_json(said: Iterable[Mapping[str, Any]]) -> tuple[License, ...]:
    """Return the licenses of a message."""
    return tuple(License(**{**one, "take": Take(one["take"])}) for one in said)
