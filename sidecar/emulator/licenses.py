"""Define licenses, their entitlements and grants, and read them from admin bodies.

Elsewhere: what of them is in use (`license_book`), who gets how much (`checkout_license`).

Invariants:
- A license is granted to accounts; only an ACTIVE grant that is no DelegateGrant entitles.
- A change makes a new version under the same ARN: so AWS renews and upgrades.
- What AWS Marketplace issues has its one fingerprint; any other fingerprint is another issuer's license, whatever
  its SKU.

Sources: License Manager service model, "License", "GrantedLicense", "ReceivedMetadata"; seller guide,
`container-license-manager-integration`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from sidecar.clock import iso
from sidecar.emulator import control_fields as read
from sidecar.emulator.refusals import BadCommand

MARKETPLACE_ACCOUNT: Final = "294406891311"
MARKETPLACE_FINGERPRINT: Final = f"aws:{MARKETPLACE_ACCOUNT}:AWS/Marketplace:issuer-fingerprint"
HOME_REGION: Final = "us-east-1"
TTL_MINUTES: Final = 60
BEGAN: Final = timedelta(days=1)
"""How long a new license has been valid, unless it says."""
UNITS: Final = (
    *("Count", "None", "Seconds", "Microseconds", "Milliseconds", "Bytes", "Kilobytes", "Megabytes", "Gigabytes"),
    *("Terabytes", "Bits", "Kilobits", "Megabits", "Gigabits", "Terabits", "Percent", "Bytes/Second"),
    *("Kilobytes/Second", "Megabytes/Second", "Gigabytes/Second", "Terabytes/Second", "Bits/Second"),
    *("Kilobits/Second", "Megabits/Second", "Gigabits/Second", "Terabits/Second", "Count/Second"),
)
UNCOUNTED: Final = "None"
LICENSE_FIELDS: Final = (
    *("id", "sku", "entitlements", "account", "fingerprint", "name", "status", "grant", "grant_type"),
    *("valid_from", "valid_until", "ttl_minutes", "home_region"),
)
ENTITLEMENT_FIELDS: Final = ("name", "unit", "max_count", "unlimited", "value", "overage", "allow_check_in")

_ID = re.compile(r"l-[A-Za-z0-9]{1,64}")
_FINGERPRINT = re.compile(r"aws:(?P<account>[0-9]{12}):(?P<issuer>[^:]+):issuer-fingerprint")


class LicenseStatus(Enum):
    """`LicenseStatus` of the model."""

    AVAILABLE = "AVAILABLE"
    PENDING_AVAILABLE = "PENDING_AVAILABLE"
    DEACTIVATED = "DEACTIVATED"
    SUSPENDED = "SUSPENDED"
    EXPIRED = "EXPIRED"
    PENDING_DELETE = "PENDING_DELETE"
    DELETED = "DELETED"


class GrantStatus(Enum):
    """`ReceivedStatus` of the model, as far as a test needs it."""

    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"
    PENDING_ACCEPT = "PENDING_ACCEPT"
    REJECTED = "REJECTED"


class GrantType(Enum):
    """A BuyerGrant entitles; a DelegateGrant only shows the license."""

    BUYER = "BuyerGrant"
    DELEGATE = "DelegateGrant"


@dataclass(frozen=True, kw_only=True)
class Grant:
    """What an account received of a license."""

    status: GrantStatus = GrantStatus.ACTIVE
    type: GrantType = GrantType.BUYER

    @property
    def entitles(self) -> bool:
        return self.status is GrantStatus.ACTIVE and self.type is GrantType.BUYER


@dataclass(frozen=True, kw_only=True)
class Entitlement:
    """A name of a license, and how much of it there is."""

    name: str
    unit: str = "Count"
    max_count: int | None = None
    """None: not counted, or unlimited."""
    value: str | None = None
    """What the answer says of an entitlement that is not counted."""
    overage: bool = False
    allow_check_in: bool = True

    @property
    def counted(self) -> bool:
        return self.unit != UNCOUNTED


@dataclass(frozen=True, kw_only=True)
class License:
    """A license in its present version."""

    id: str
    sku: str
    entitlements: tuple[Entitlement, ...]
    name: str
    fingerprint: str = MARKETPLACE_FINGERPRINT
    version: int = 1
    status: LicenseStatus = LicenseStatus.AVAILABLE
    grants: Mapping[str, Grant] = field(default_factory=dict)
    """Account → grant."""
    valid_from: datetime
    valid_until: datetime | None = None
    ttl_minutes: int = TTL_MINUTES
    home_region: str = HOME_REGION
    created_at: datetime

    @property
    def arn(self) -> str:
        return f"arn:aws:license-manager::{self.issuer_account}:license:{self.id}"

    @property
    def issuer_account(self) -> str:
        return self.fingerprint.split(":")[1]

    @property
    def issuer(self) -> str:
        return self.fingerprint.split(":")[2]

    @property
    def from_marketplace(self) -> bool:
        return self.fingerprint == MARKETPLACE_FINGERPRINT

    def entitlement(self, name: str) -> Entitlement | None:
        """Return the entitlement of that name."""
        return next((each for each in self.entitlements if each.name == name), None)

    def status_at(self, now: datetime) -> LicenseStatus:
        """Return its status: EXPIRED from the end of its validity on."""
        over = self.valid_until is not None and now >= self.valid_until
        return LicenseStatus.EXPIRED if over and self.status is LicenseStatus.AVAILABLE else self.status

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "arn": self.arn,
            "sku": self.sku,
            "name": self.name,
            "fingerprint": self.fingerprint,
            "version": self.version,
            "grants": {
                account: {"status": each.status.value, "type": each.type.value} for account, each in self.grants.items()
            },
            "valid_from": iso(self.valid_from),
            "valid_until": None if self.valid_until is None else iso(self.valid_until),
            "ttl_minutes": self.ttl_minutes,
            "home_region": self.home_region,
        }


def parse_license(body: Mapping[str, object], present: License | None, account: str, now: datetime) -> License:
    """Return a new license, or the next version of `present`; what `body` leaves out stays. Raises BadCommand."""
    read.only(body, LICENSE_FIELDS)
    before = _first(body, account, now) if present is None else replace(present, version=present.version + 1)
    status = read.choice(body, "status", LicenseStatus)
    entitlements = _entitlements(body.get("entitlements"))
    made = replace(
        before,
        sku=read.text(body, "sku") or before.sku,
        name=read.text(body, "name") or before.name,
        entitlements=before.entitlements if entitlements is None else entitlements,
        fingerprint=_fingerprint(read.text(body, "fingerprint")) or before.fingerprint,
        status=before.status if status is None else status,
        grants=_granted(body, before, account),
        valid_from=read.instant(body, "valid_from") or before.valid_from,
        valid_until=read.instant(body, "valid_until") or before.valid_until,
        ttl_minutes=read.whole(body, "ttl_minutes", least=1) or before.ttl_minutes,
        home_region=read.text(body, "home_region") or before.home_region,
    )
    if made.valid_until is not None and made.valid_until <= made.valid_from:
        raise BadCommand("valid_until: must be after valid_from, a day ago unless you set it")
    return made


def _first(body: Mapping[str, object], account: str, now: datetime) -> License:
    """Return what a new license has before `body` is read. Raises BadCommand for what it must have."""
    sku = read.text(body, "sku")
    if sku is None:
        raise BadCommand("sku: is required")
    if body.get("entitlements") is None:
        raise BadCommand("entitlements: is required")
    found = read.text(body, "id") or f"l-{secrets.token_hex(16)}"
    if not _ID.fullmatch(found):
        raise BadCommand("id: must be l- and up to 64 letters or digits")
    return License(id=found, sku=sku, name=sku, entitlements=(), valid_from=now - BEGAN, created_at=now)


def _granted(body: Mapping[str, object], before: License, account: str) -> Mapping[str, Grant]:
    """Return the grants with that of the body's account; a new license is granted and active."""
    named = read.text(body, "account") or (None if before.grants else account)
    status, kind = read.choice(body, "grant", GrantStatus), read.choice(body, "grant_type", GrantType)
    if named is None and status is None and kind is None:
        return before.grants
    receiver = named or next(iter(before.grants))
    present = before.grants.get(receiver, Grant())
    return {**before.grants, receiver: Grant(status=status or present.status, type=kind or present.type)}


def _fingerprint(text: str | None) -> str | None:
    if text is not None and not _FINGERPRINT.fullmatch(text):
        raise BadCommand("fingerprint: must read aws:ACCOUNT:ISSUER:issuer-fingerprint")
    return text


def _entitlements(value: object) -> tuple[Entitlement, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        raise BadCommand("entitlements: must be a list of objects such as {name: seats, max_count: 5}")
    found = tuple(_entitlement(each) for each in value)
    if len({each.name for each in found}) != len(found):
        raise BadCommand("entitlements: a name is there twice")
    return found


def _entitlement(body: Mapping[str, object]) -> Entitlement:
    read.only(body, ENTITLEMENT_FIELDS)
    name, unit = read.text(body, "name"), read.text(body, "unit") or "Count"
    if name is None:
        raise BadCommand("entitlements: each needs a name")
    if unit not in UNITS:
        raise BadCommand(f"unit: must be one of {', '.join(UNITS)}")
    counted = unit != UNCOUNTED and not read.flag(body, "unlimited")
    most = read.whole(body, "max_count", least=0)
    if most is not None and not counted:
        raise BadCommand("max_count: not beside unit None or unlimited")
    allow = read.flag(body, "allow_check_in")
    return Entitlement(
        name=name,
        unit=unit,
        max_count=(1 if most is None else most) if counted else None,
        value=read.text(body, "value"),
        overage=bool(read.flag(body, "overage")),
        allow_check_in=True if allow is None else allow,
    )
