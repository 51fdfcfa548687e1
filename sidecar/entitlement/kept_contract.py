"""Check a kept pass of a contract, so that it may open the gate again while License Manager cannot be reached. Pure.

CheckoutLicense signs nothing that can be verified, so what is kept is our own note: License Manager allowed this
workload these licenses.

Invariants:
- It holds for the same workload and product only; a digest over its content binds it, so that a copy, or a copy with
  other content, opens nothing elsewhere.
- Every license that is needed now must have been allowed then for the same use, or one of its group.
- A pass of a seat counts while the workload keeps that seat: one that was given back may be another copy's now.
- It holds for GRACE: a contract ends, and only License Manager knows when.
- It is a note and no proof: any process that may write to the state directory may write it. It holds no token.

Sources: AWS Marketplace seller guide, "Integrating your container products with License Manager" (a copy that runs goes
on while License Manager is out of reach).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sidecar.digests import compare_digest, sha256
from sidecar.entitlement.contract import groups, read_instant
from sidecar.entitlement.registration import WorkloadId
from sidecar.entitlement.seats import HeldSeat
from sidecar.errors import TokenRejected
from sidecar.quick_dataclasses import dataclass
from sidecar.settings import License, Take

FORMAT: Final = 1
DOMAIN: Final = "entitlement-sidecar kept contract 1"
"""Keeps this digest from meaning anything elsewhere."""
HINT: Final = "The kept pass opens nothing; License Manager has to be asked."
GRACE: Final = timedelta(days=7)
"""How long after License Manager allowed it a kept pass opens the gate. Our choice: longer than an outage, and short
beside a contract of a month or more."""
AHEAD_MAX: Final = timedelta(minutes=15)
"""A note from further ahead was made by a clock that was wrong, or to last longer."""

GrantedLicense = Mapping[str, str]
"""`name`, `unit`, `value`, `take` and `license_arn` of a license that was allowed; an unknown text is empty."""


@dataclass(frozen=True, kw_only=True)
class KeptContract:
    """A pass as it lies on disk."""

    sku: str
    granted: tuple[GrantedLicense, ...]
    allowed_at: str
    """When License Manager allowed it."""
    binding: str
    """A digest of all this and the workload."""

    def as_text(self) -> str:
        """Return one line of JSON."""
        said = {"sku": self.sku, "granted": self.granted, "allowed_at": self.allowed_at, "binding": self.binding}
        return json.dumps({"format": FORMAT, **said}) + "\n"


def passed(workload: WorkloadId, sku: str, granted: Iterable[GrantedLicense], now: datetime) -> KeptContract:
    """Return what to keep once License Manager allowed all of this."""
    licenses, instant = tuple(dict(sorted(one.items())) for one in granted), now.isoformat()
    binding = _binding(workload, sku, licenses, instant)
    return KeptContract(sku=sku, granted=licenses, allowed_at=instant, binding=binding)


def from_text(text: str) -> KeptContract:
    """Raises TokenRejected `kept_unreadable`."""
    try:
        found = json.loads(text)
        if found.pop("format") != FORMAT:
            raise ValueError("another format")
        kept = KeptContract(**{**found, "granted": tuple(dict(sorted(one.items())) for one in found["granted"])})
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as exc:
        raise TokenRejected("kept_unreadable", HINT) from exc
    texts: list[Any] = [kept.sku, kept.allowed_at, kept.binding]
    texts += [value for one in kept.granted for value in one.values()]
    if not all(isinstance(one, str) for one in texts):
        raise TokenRejected("kept_unreadable", HINT)
    return kept


def verify_kept(
    kept: KeptContract,
    workload: WorkloadId,
    sku: str,
    licenses: Iterable[License],
    held: Collection[HeldSeat],
    now: datetime,
) -> None:
    """Raise TokenRejected unless License Manager allowed this very workload all of this, within GRACE.

    `held`: the seats that the workload keeps.
    """
    if kept.sku != sku:
        raise TokenRejected("kept_other_product", HINT)
    wanted = _binding(workload, kept.sku, kept.granted, kept.allowed_at)
    if not compare_digest(kept.binding.encode("utf-8", "surrogatepass"), wanted.encode()):
        raise TokenRejected("kept_other_workload", HINT)
    then = [(one.get("name"), one.get("unit"), one.get("value"), one.get("take")) for one in kept.granted]
    for group in groups(licenses):
        allowed = [one for one in group if (one.name, one.unit, one.value, one.take.value) in then]
        if not allowed:
            raise TokenRejected("kept_other_licenses", HINT)
        if not any(one.take is not Take.SEAT or any(seat.is_of(one) for seat in held) for one in allowed):
            raise TokenRejected("kept_seat_returned", HINT)
    allowed_at = read_instant(kept.allowed_at)
    if allowed_at is None or not now - GRACE <= allowed_at <= now + AHEAD_MAX:
        raise TokenRejected("kept_too_old", HINT)


def _binding(workload: str, sku: str, granted: tuple[GrantedLicense, ...], allowed_at: str) -> str:
    said = json.dumps([DOMAIN, workload, sku, granted, allowed_at])
    return sha256(said.encode()).hexdigest()
