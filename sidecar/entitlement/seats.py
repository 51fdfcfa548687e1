"""Describe the seats that a workload holds, and read and write them as the state directory keeps them. Pure.

Invariants:
- A consumption token is no credential, but with it any caller of the account could give the seat back: it is never
  shown or logged; `repr` leaves it out, and the file is readable by its owner alone (`ledger.kept_file`).
- Seats are those of one workload and one product: a copy of the file opens and holds nothing elsewhere.

Sources: AWS License Manager API Reference, CheckoutLicense and ExtendLicenseConsumption (tokens, Expiration).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, Self

from sidecar.digests import sha256
from sidecar.entitlement.contract import CheckedOut, read_instant
from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings import License

FORMAT: Final = 1
ASSUMED_LIFE: Final = timedelta(minutes=15)
"""Of a checkout whose Expiration cannot be read: extended early, it is not lost. Licenses seen have an hour."""


@dataclass(frozen=True, kw_only=True)
class HeldSeat:
    """A license that is checked out, and not checked in."""

    name: str
    unit: str
    value: str
    consumption_token: str = field(repr=False)
    expires_at: datetime
    region: str
    """Where it was checked out: extend and check in there."""
    license_arn: str
    taken_at: datetime
    """When it was checked out or extended last."""

    @classmethod
    def of(cls, license: License, found: CheckedOut, now: datetime) -> Self:
        """Return the seat that a checkout gave."""
        return cls(
            name=license.name,
            unit=license.unit,
            value=license.value,
            consumption_token=found.consumption_token,
            expires_at=found.expires_at or now + ASSUMED_LIFE,
            region=found.region,
            license_arn=found.license_arn,
            taken_at=now,
        )

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Self:
        """Return a seat. Raises ValueError."""
        try:
            texts = {name: said[name] for name in TEXTS}
            instants = {name: read_instant(said[name]) for name in INSTANTS}
        except (KeyError, TypeError) as exc:
            raise ValueError("not a seat") from exc
        if None in instants.values() or not all(isinstance(one, str) for one in texts.values()):
            raise ValueError("not a seat")
        return cls(**texts, **instants)  # type: ignore[arg-type]  # None was refused

    def as_json(self) -> dict[str, str]:
        """Return the seat as JSON. It holds the token."""
        return {name: getattr(self, name) for name in TEXTS} | {
            name: getattr(self, name).isoformat() for name in INSTANTS
        }

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what no other seat of the workload has: licenses may share a name."""
        return self.name, self.unit, self.value

    def is_of(self, license: License) -> bool:
        """Return whether this seat is one of a license."""
        return self.key == (license.name, license.unit, license.value)


TEXTS: Final = ("name", "unit", "value", "consumption_token", "region", "license_arn")
INSTANTS: Final = ("expires_at", "taken_at")


def as_text(seats: Iterable[HeldSeat], workload: str, sku: str) -> str:
    """Return the seats' file: one line of JSON."""
    held = [one.as_json() for one in seats]
    return json.dumps({"format": FORMAT, "of": _owner(workload, sku), "held": held}) + "\n"


def from_text(text: str | None, workload: str, sku: str) -> tuple[HeldSeat, ...]:
    """Return the seats in a file of this workload and product; none where it is another's, or cannot be read."""
    try:
        found = json.loads(text or "{}")
        if found.get("format") != FORMAT or found.get("of") != _owner(workload, sku):
            return ()
        return tuple(HeldSeat.from_json(one) for one in found["held"])
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        return ()


def _owner(workload: str, sku: str) -> str:
    said = json.dumps(["entitlement-sidecar seats 1", workload, sku])
    return sha256(said.encode()).hexdigest()
