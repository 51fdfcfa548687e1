"""Define a customer of a SaaS product: how AWS names it, what is kept of it, and how far its subscription is.

Invariants:
- One customer is billed under one key for ever: product code and customer identifier (older), product code and account,
  or account and license (newer). Both at once could be billed twice.
- A customer that is resolved again keeps its key, also where AWS has begun to name a license for it.
- An account alone names a customer only where exactly one fits; what is ended counts only where nothing else fits.
- From `closed_at` on no usage is taken: its last hours are sealed. A new subscription opens it again.

Sources: AWS Marketplace Metering API Reference, ResolveCustomer and BatchMeterUsage (CustomerAWSAccountId, LicenseArn,
CustomerIdentifier, ProductCode); seller guide, "Amazon SNS notifications for SaaS products" (an hour for the last
records after unsubscribe-pending).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from sidecar.quick_dataclasses import dataclass, replace

FINAL_HOUR: Final = timedelta(hours=1)
"""From unsubscribe-pending until AWS takes nothing more of the customer."""
FINAL_MARGIN: Final = timedelta(minutes=15)
"""Of that hour, what is left for sending."""


class CustomerState(Enum):
    """How far a customer's subscription is."""

    ACTIVE = "active"
    ENDING = "ending"
    """unsubscribe-pending: the last records are due within the hour."""
    ENDED = "ended"
    """AWS takes no record any more."""


@dataclass(frozen=True, order=True, slots=True)
class CustomerKey:
    """Whom AWS bills. Either `product_code` or `license_arn` is empty, and either `aws_account_id` or `identifier`."""

    product_code: str = ""
    """Of an older product; empty beside a license: BatchMeterUsage takes one of the two."""
    aws_account_id: str = ""
    license_arn: str = ""
    identifier: str = ""
    """CustomerIdentifier of an older product."""

    def __post_init__(self) -> None:
        newer = bool(self.license_arn and self.aws_account_id) and not (self.product_code or self.identifier)
        older = bool(self.product_code) and bool(self.aws_account_id) != bool(self.identifier) and not self.license_arn
        if not (newer or older):
            raise ValueError(
                f"{self!r} names no customer: give aws_account_id with license_arn, or product_code with identifier or"
                " with aws_account_id."
            )

    @property
    def text(self) -> str:
        """Return one line that no other key has."""
        parts = (self.product_code, self.aws_account_id, self.license_arn, self.identifier)
        return json.dumps(parts, separators=(",", ":"))

    @classmethod
    def of_text(cls, text: str) -> CustomerKey:
        """Return the key of a text that `text` made. Raises ValueError for another."""
        product_code, account, arn, identifier = json.loads(text)
        return cls(product_code, account, arn, identifier)


@dataclass(frozen=True, kw_only=True, slots=True)
class Customer:
    """What is kept of a customer: ResolveCustomer's answer, and its state."""

    key: CustomerKey
    product_code: str
    """As ResolveCustomer names it, also where a license is billed."""
    aws_account_id: str = ""
    license_arn: str = ""
    identifier: str = ""
    agreement_id: str = ""
    resolved_at: datetime
    state: CustomerState = CustomerState.ACTIVE
    state_since: datetime
    closed_at: datetime | None = None
    """Since when no usage is taken; None while it is."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reference:
    """How a product names a customer: a license, an account, both, or an older identifier."""

    license_arn: str = ""
    aws_account_id: str = ""
    identifier: str = ""

    def fits(self, customer: Customer) -> bool:
        """Return whether everything that is given is the customer's."""
        given = (
            (self.license_arn, customer.license_arn),
            (self.aws_account_id, customer.aws_account_id),
            (self.identifier, customer.identifier),
        )
        return any(mine for mine, _ in given) and all(mine in ("", its) for mine, its in given)


def key_of(*, product_code: str, aws_account_id: str, license_arn: str, identifier: str) -> CustomerKey:
    """Return the key for ResolveCustomer's answer: the license where there is one, else the identifier.

    Raises ValueError where AWS named too little.
    """
    if license_arn and aws_account_id:
        return CustomerKey(aws_account_id=aws_account_id, license_arn=license_arn)
    return CustomerKey(
        product_code=product_code, identifier=identifier, aws_account_id="" if identifier else aws_account_id
    )


def same_customer(known: Customer, fresh: Customer) -> bool:
    """Return whether an answer of ResolveCustomer is about a customer that is known already.

    Two licenses of one account are two customers.
    """
    if known.license_arn and fresh.license_arn:
        return (known.license_arn, known.aws_account_id) == (fresh.license_arn, fresh.aws_account_id)
    if known.product_code != fresh.product_code:
        return False
    if known.identifier and fresh.identifier:
        return known.identifier == fresh.identifier
    return bool(known.aws_account_id) and known.aws_account_id == fresh.aws_account_id


def resolved_again(known: Customer, fresh: Customer) -> Customer:
    """Return a known customer with what AWS says of it now; its key stays, and an ended one begins again."""
    begins = known.state is CustomerState.ENDED
    return replace(
        known,
        aws_account_id=fresh.aws_account_id or known.aws_account_id,
        license_arn=fresh.license_arn or known.license_arn,
        identifier=fresh.identifier or known.identifier,
        agreement_id=fresh.agreement_id or known.agreement_id,
        resolved_at=fresh.resolved_at,
        state=CustomerState.ACTIVE if begins else known.state,
        state_since=fresh.resolved_at if begins else known.state_since,
        closed_at=None if begins else known.closed_at,
    )


def in_state(customer: Customer, state: CustomerState, at: datetime) -> Customer:
    """Return the customer after a notice. An active customer takes usage again.

    A repeated end changes nothing, and a late `unsubscribe-pending` opens no customer that has ended. That an active
    customer was active at a later instant is kept: what ended it before that, and is heard later, is over.
    """
    if state is not CustomerState.ACTIVE and state is customer.state:
        return customer
    if state is CustomerState.ENDING and customer.state is CustomerState.ENDED:
        return customer
    closed_at = {
        CustomerState.ACTIVE: None,
        CustomerState.ENDING: customer.closed_at,
        CustomerState.ENDED: customer.closed_at or at,
    }[state]
    return replace(customer, state=state, state_since=at, closed_at=closed_at)


def last_seal_at(customer: Customer) -> datetime | None:
    """Return when the last hours of a customer that is ending are sealed, the running one included.

    None where nothing is to be sealed ahead of time.
    """
    if customer.state is not CustomerState.ENDING or customer.closed_at is not None:
        return None
    return customer.state_since + FINAL_HOUR - FINAL_MARGIN


def chosen(found: Iterable[Customer]) -> Customer | Sequence[Customer]:
    """Return the one customer that a reference means; else all it could mean: none, or several."""
    every = tuple(found)
    current = tuple(one for one in every if one.state is not CustomerState.ENDED)
    fits = current or every
    return fits[0] if len(fits) == 1 else fits
