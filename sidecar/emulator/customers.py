"""Define the customers of a SaaS product, and how far their subscriptions are.

Elsewhere: what is billed to them (`saas_records`), the commands as others write them (`saas_control`).

Invariants:
- A customer of a newer product is an account with a license; one of an older product has an identifier. A customer may
  have both, for products that move.
- pending → active → ending → ended; ending ends by itself after the final hour, by the emulated clock. A customer that
  subscribes again is active again.

Sources: metering service model, "ResolveCustomerResult", "UsageRecord", "UsageRecordResult"; seller guide, "Amazon SNS
notifications for SaaS products", "Managing SaaS subscription events with Amazon EventBridge".
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from sidecar.clock import iso
from sidecar.emulator import control_fields as read
from sidecar.emulator.refusals import BadCommand
from sidecar.emulator.saas_behaviour import FinalHour, SaasBehaviour

LICENSE_ARN: Final = re.compile(
    r"arn:aws[a-zA-Z-]*:[A-Za-z0-9][A-Za-z0-9_/.-]{0,62}:[A-Za-z0-9_/.-]{0,63}:[A-Za-z0-9_/.-]{0,63}"
    r":[A-Za-z0-9][A-Za-z0-9:_/+=,@.-]{0,1023}"
)
ISSUER: Final = "294406891311"
CUSTOMER_FIELDS: Final = (
    *("id", "account", "product", "license", "identifier", "agreement", "state", "active_from", "entitlements"),
)
ENTITLEMENT_FIELDS: Final = ("dimension", "value", "expires")

_ACCOUNT = re.compile(r"[0-9]{1,255}")


class Subscription(Enum):
    """How far a customer's subscription is."""

    PENDING = "pending"
    ACTIVE = "active"
    ENDING = "ending"
    ENDED = "ended"


@dataclass(frozen=True, kw_only=True)
class SaasEntitlement:
    """What a customer's contract gives, as GetEntitlements shows it."""

    dimension: str
    value: int | float | bool | str
    expires: datetime | None = None

    def as_json(self) -> dict[str, object]:
        return {
            "dimension": self.dimension,
            "value": self.value,
            "expires": None if self.expires is None else iso(self.expires),
        }


@dataclass(frozen=True, kw_only=True)
class Customer:
    """A customer, and what AWS calls it."""

    id: str
    """The emulator's name for it."""
    product_code: str
    account: str
    license_arn: str | None
    identifier: str | None
    agreement_id: str
    state: Subscription
    since: datetime
    """When it came into this state, by the emulated clock."""
    active_from: datetime | None
    """Usage before it is outside of the license's activation period."""
    entitlements: tuple[SaasEntitlement, ...]

    def state_at(self, now: datetime, behaviour: SaasBehaviour) -> Subscription:
        """Return the state, in which the end comes by itself."""
        over = now >= self.since + timedelta(seconds=behaviour.saas_final_seconds)
        announced = behaviour.saas_final_hour is FinalHour.PENDING
        return Subscription.ENDED if self.state is Subscription.ENDING and over and announced else self.state

    def takes_usage(self, now: datetime, behaviour: SaasBehaviour) -> bool:
        """Return whether a record of this customer is honoured now."""
        state = self.state_at(now, behaviour)
        if state is Subscription.ENDED and behaviour.saas_final_hour is FinalHour.ENDED:
            return now < self.since + timedelta(seconds=behaviour.saas_final_seconds)
        return state in (Subscription.ACTIVE, Subscription.ENDING)

    def in_state(self, state: Subscription, now: datetime) -> Customer:
        """Return it after a change; the state that it has begins no second time."""
        return self if state is self.state else replace(self, state=state, since=now)

    def as_json(self) -> dict[str, object]:
        return {
            "id": self.id,
            "product": self.product_code,
            "account": self.account,
            "license": self.license_arn,
            "identifier": self.identifier,
            "agreement": self.agreement_id,
            "state": self.state.value,
            "since": iso(self.since),
            "active_from": None if self.active_from is None else iso(self.active_from),
            "entitlements": [each.as_json() for each in self.entitlements],
        }


def parse_customer(
    body: Mapping[str, object], present: Customer | None, product_codes: Sequence[str], now: datetime
) -> Customer:
    """Return the customer that an admin body describes; what it leaves out stays, or has its default.

    Raises BadCommand, which names the field.
    """
    read.only(body, CUSTOMER_FIELDS)
    account = read.text(body, "account") or (present.account if present else None)
    if account is None or not _ACCOUNT.fullmatch(account):
        raise BadCommand("account: must be an AWS account id, of digits")
    product = read.text(body, "product") or (present.product_code if present else product_codes[0])
    if product not in product_codes:
        raise BadCommand(f"product: {product} is none of {', '.join(product_codes)}")
    state = read.choice(body, "state", Subscription) or (present.state if present else Subscription.ACTIVE)
    identifier = read.text(body, "identifier") or (present.identifier if present else None)
    return Customer(
        id=read.text(body, "id") or f"c-{secrets.token_hex(8)}",
        product_code=product,
        account=account,
        license_arn=_license(body, present, identifier),
        identifier=identifier,
        agreement_id=read.text(body, "agreement") or (present.agreement_id if present else _agreement()),
        state=state,
        since=present.since if present is not None and present.state is state else now,
        active_from=read.instant(body, "active_from") or (present.active_from if present else None),
        entitlements=_entitlements(body, present),
    )


def _agreement() -> str:
    return f"agmt-{secrets.token_hex(12)}"


def _license(body: Mapping[str, object], present: Customer | None, identifier: str | None) -> str | None:
    """Return the license's ARN: as given, as before, or a new one where the customer has no identifier either."""
    arn = read.text(body, "license") or (present.license_arn if present else None)
    if arn is not None and not LICENSE_ARN.fullmatch(arn):
        raise BadCommand(f"license: {arn!r} must be an ARN such as arn:aws:license-manager::{ISSUER}:license:l-1")
    if arn is None and identifier is None:
        return f"arn:aws:license-manager::{ISSUER}:license:l-{secrets.token_hex(16)}"
    return arn


def _entitlements(body: Mapping[str, object], present: Customer | None) -> tuple[SaasEntitlement, ...]:
    given = body.get("entitlements")
    if given is None:
        return present.entitlements if present else ()
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise BadCommand("entitlements: must be a list of {dimension, value, expires}")
    return tuple(_entitlement(each) for each in given)


def _entitlement(body: Mapping[str, object]) -> SaasEntitlement:
    read.only(body, ENTITLEMENT_FIELDS)
    dimension, value = read.text(body, "dimension"), body.get("value", True)
    if dimension is None or not isinstance(value, int | float | bool | str):
        raise BadCommand("entitlements: each must have a dimension, and a value that is a number, text, true or false")
    return SaasEntitlement(dimension=dimension, value=value, expires=read.instant(body, "expires"))
