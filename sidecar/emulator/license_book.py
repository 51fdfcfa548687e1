"""Keep the licenses of this AWS and what is checked out of them.

Elsewhere: whether a checkout is allowed (`checkout_license`), extensions and returns (`license_consumption`).

Invariants:
- Seats come back at `Expiration`, by the emulated clock; what was drawn perpetually never comes back.
- A count holds over all regions and all versions of a license.
- No consumption token can be read back: reports name a checkout by a digest of its first token.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sidecar.clock import iso
from sidecar.emulator.licenses import Grant, GrantStatus, License
from sidecar.emulator.refusals import BadCommand

PERPETUAL: Final = "PERPETUAL"
PROVISIONAL: Final = "PROVISIONAL"


@dataclass(frozen=True, kw_only=True)
class Consumption:
    """One checkout."""

    id: str
    token: str = field(repr=False)
    license_id: str
    account: str
    workload: str
    checkout_type: str
    amounts: Mapping[str, int]
    """Entitlement name → how much; 0 for what is not counted."""
    issued_at: datetime
    expires_at: datetime
    extended: int = 0
    checked_in_at: datetime | None = None

    @property
    def perpetual(self) -> bool:
        return self.checkout_type == PERPETUAL

    def live(self, now: datetime) -> bool:
        """Return whether it holds its seats; a perpetual one does for good."""
        return self.perpetual or (self.checked_in_at is None and now < self.expires_at)

    def state(self, now: datetime) -> str:
        """Return `drawn`, `held`, `checked_in` or `expired`."""
        if self.perpetual:
            return "drawn"
        if self.checked_in_at is not None:
            return "checked_in"
        return "held" if now < self.expires_at else "expired"

    def as_json(self, now: datetime) -> dict[str, object]:
        return {
            "checkout": self.id,
            "license": self.license_id,
            "account": self.account,
            "workload": self.workload,
            "type": self.checkout_type,
            "amounts": dict(self.amounts),
            "state": self.state(now),
            "issued_at": iso(self.issued_at),
            "expires_at": iso(self.expires_at),
            "extended": self.extended,
        }


@dataclass(frozen=True, kw_only=True)
class Answered:
    """A checkout that was granted, for when its client token comes again."""

    request: Mapping[str, Any]
    members: Mapping[str, object] = field(repr=False)
    at: datetime


class LicenseBook:
    """Licenses and checkouts. Hold the state's lock to share it between threads."""

    def __init__(self) -> None:
        self._licenses: dict[str, License] = {}
        self._consumed: dict[str, Consumption] = {}
        self._current: dict[str, str] = {}
        """Token → id; a token that was replaced is not there."""
        self._answered: dict[tuple[str, str], Answered] = {}

    def keep(self, made: License) -> None:
        """Keep a license or its new version; where it becomes active, it disables the other ones of its product."""
        self._licenses[made.id] = made
        for account, grant in made.grants.items():
            if grant.entitles and made.from_marketplace:
                self._disable_others(made, account)

    def license(self, license_id: str) -> License | None:
        """Return the license with that id."""
        return self._licenses.get(license_id)

    def by_arn(self, arn: object) -> License | None:
        """Return the license with that ARN."""
        return next((each for each in self._licenses.values() if each.arn == arn), None)

    def granted(self, account: str) -> list[tuple[License, Grant]]:
        """Return what an account received, newest first."""
        found = [(each, each.grants[account]) for each in self._licenses.values() if account in each.grants]
        return list(reversed(found))

    def grant(self, license_id: str, account: str, grant: Grant) -> License:
        """Set an account's grant of a license. Raises BadCommand."""
        known = self._licenses.get(license_id)
        if known is None:
            raise BadCommand(f"license: {license_id} is none of {', '.join(self._licenses) or 'no license at all'}")
        changed = replace(known, grants={**known.grants, account: grant})
        self.keep(changed)
        return changed

    def used(self, license_id: str, name: str, now: datetime, account: str | None = None) -> int:
        """Return how much of an entitlement is held or drawn now; of all accounts unless one is named."""
        return self.held(license_id, name, now, account) + self.drawn(license_id, name, account)

    def held(self, license_id: str, name: str, now: datetime, account: str | None = None) -> int:
        """Return how many seats are out."""
        live = (each for each in self._of(license_id, account) if not each.perpetual and each.live(now))
        return sum(each.amounts.get(name, 0) for each in live)

    def drawn(self, license_id: str, name: str, account: str | None = None) -> int:
        """Return how much was drawn for good."""
        return sum(each.amounts.get(name, 0) for each in self._of(license_id, account) if each.perpetual)

    def write(self, made: Consumption) -> None:
        """Keep a new checkout."""
        self._consumed[made.id] = made
        self._current[made.token] = made.id

    def consumption(self, token: object) -> Consumption | None:
        """Return the checkout that a token stands for, whatever became of it."""
        found = self._current.get(token) if isinstance(token, str) else None
        return None if found is None else self._consumed[found]

    def extend(self, consumed: Consumption, until: datetime, *, rotate: bool) -> Consumption:
        """Move the end of a checkout, with a new token if asked."""
        token = new_token() if rotate else consumed.token
        del self._current[consumed.token]
        changed = replace(consumed, token=token, expires_at=until, extended=consumed.extended + 1)
        self.write(changed)
        return changed

    def check_in(self, consumed: Consumption, now: datetime) -> None:
        """Return the seats of a checkout."""
        self._consumed[consumed.id] = replace(consumed, checked_in_at=now)

    def answered(self, account: str, client_token: str, now: datetime, seconds: float) -> Answered | None:
        """Return the checkout that a client token was answered with, while that is remembered."""
        found = self._answered.get((account, client_token))
        return found if found is not None and now - found.at <= timedelta(seconds=seconds) else None

    def remember(self, account: str, client_token: str, answered: Answered) -> None:
        """Bind a client token to its answer."""
        self._answered[account, client_token] = answered

    def checkouts(self) -> list[Consumption]:
        """Return every checkout, oldest first."""
        return list(self._consumed.values())

    def report(self, now: datetime) -> list[dict[str, object]]:
        """Return every license with what of it is held and drawn."""
        return [
            {
                **each.as_json(),
                "status": each.status_at(now).value,
                "entitlements": [
                    {
                        "name": one.name,
                        "unit": one.unit,
                        "max_count": one.max_count,
                        "held": self.held(each.id, one.name, now),
                        "drawn": self.drawn(each.id, one.name),
                    }
                    for one in each.entitlements
                ],
            }
            for each in self._licenses.values()
        ]

    def _of(self, license_id: str, account: str | None) -> Iterable[Consumption]:
        return (
            each
            for each in self._consumed.values()
            if each.license_id == license_id and account in (None, each.account)
        )

    def _disable_others(self, made: License, account: str) -> None:
        for other in list(self._licenses.values()):
            grant = other.grants.get(account)
            same = other.from_marketplace and other.sku == made.sku and other.id != made.id
            if same and grant is not None and grant.entitles:
                disabled = replace(grant, status=GrantStatus.DISABLED)
                self._licenses[other.id] = replace(other, grants={**other.grants, account: disabled})


def new_token() -> str:
    """Return a consumption token: 32 hexadecimal digits, as AWS's samples have."""
    return secrets.token_hex(16)


def checkout_id(token: str) -> str:
    """Return the name a checkout has in reports."""
    return f"c-{hashlib.sha256(token.encode()).hexdigest()[:12]}"
