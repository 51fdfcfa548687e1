"""Read a subscription notice of AWS Marketplace, and decide what it means for a customer.

Invariants:
- SNS's message is read bare, in SNS's envelope, and in that of an SQS message; EventBridge's event as it is.
- Notices come twice and in any order: one that is older than what is known of the customer changes nothing. So a
  notice that calls an active customer active is kept too, with its instant.
- A subscription that ends leaves an hour for the last records. AWS's pages do not agree whether `Purchase Agreement
  Ended` or `License Deprovisioned` begins that hour: the first that comes begins it, the second ends it at once.
- A seller who is manufacturer and proposer has each event twice, a moment apart: that is no second one.
- Nothing is guessed: what cannot be read, or names no customer, is named in the log and changes nothing.

Sources: seller guide, "Amazon SNS notifications for SaaS products" and "Managing SaaS subscription events with Amazon
EventBridge" (detail types, `detail.license.arn`, `detail.agreement.id`; its examples write licenses without `arn:`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, Final

from sidecar.quick_dataclasses import dataclass
from sidecar.saas.customers import Customer, CustomerState

SOURCE: Final = "aws.agreement-marketplace"
ROLE: Final = re.compile(r" - (Manufacturer|Proposer|Acceptor)$")
LICENSE_ID: Final = re.compile(r"[:/](l(?:ic)?-[A-Za-z0-9-]+)$")
ROLES_APART: Final = timedelta(minutes=1)
"""Excluded. The events of one end are so close together, whichever role they are for."""
DEPTH_MAX: Final = 3
"""Envelopes in one another: SQS's, SNS's, the message."""


class Kind(Enum):
    """What AWS says of a subscription."""

    ACTIVE = "active"
    """It takes usage: for the first time, or again."""
    ENDING = "ending"
    """An hour is left for the last records."""
    ENDED = "ended"
    """AWS takes no record any more."""
    END = "end"
    """One of the two events around the end of an agreement."""
    NOTED = "noted"
    """Nothing changes for usage."""


ACTIONS: Final[Mapping[str, Kind]] = {
    "subscribe-success": Kind.ACTIVE,
    "subscribe-fail": Kind.NOTED,
    "unsubscribe-pending": Kind.ENDING,
    "unsubscribe-success": Kind.ENDED,
    "entitlement-updated": Kind.NOTED,
    "License Updated": Kind.ACTIVE,
    "License Deprovisioned": Kind.END,
    "Purchase Agreement Created": Kind.NOTED,
    "Purchase Agreement Amended": Kind.NOTED,
    "Purchase Agreement Ended": Kind.END,
}
"""SNS's actions and EventBridge's detail types, without the role behind them."""


@dataclass(frozen=True, kw_only=True)
class Notice:
    """One notice. Empty: it does not say."""

    action: str
    """A key of ACTIONS."""
    at: datetime | None
    """When AWS wrote it; None where it does not say."""
    product_code: str = ""
    identifier: str = ""
    account: str = ""
    license_id: str = ""
    agreement_id: str = ""

    @property
    def kind(self) -> Kind:
        """Return what it says."""
        return ACTIONS[self.action]

    def names(self, customer: Customer) -> bool:
        """Return whether it is about a customer: by license, agreement, or identifier, whichever it has first."""
        if self.license_id:
            return license_id(customer.license_arn) == self.license_id
        if self.agreement_id:
            return customer.agreement_id == self.agreement_id
        same = bool(self.identifier) and customer.identifier == self.identifier
        return same and self.product_code in ("", customer.product_code)


class NotANotice(ValueError):
    """What is wrong with a text that should be a notice."""


def read(text: str) -> Notice:
    """Return the notice in a text. Raises NotANotice."""
    body: Mapping[str, Any] = _object(text)
    at: datetime | None = None
    for _ in range(DEPTH_MAX):
        at = _instant(body.get("time") or body.get("Timestamp")) or at
        if "detail-type" in body:
            return _of_event(body, at)
        if "action" in body:
            return _of_sns(body, at)
        inner = body.get("Message") or body.get("Body") or body.get("body")
        if not isinstance(inner, str):
            break
        body = _object(inner)
    raise NotANotice("is neither a notice of AWS Marketplace through SNS nor an event of EventBridge.")


def license_id(arn: str) -> str:
    """Return the id at the end of a license's ARN: AWS writes the rest of it in several ways."""
    found = LICENSE_ID.search(arn)
    return found[1] if found else arn


def next_state(notice: Notice, customer: Customer, at: datetime) -> CustomerState | None:
    """Return a customer's state after a notice of instant `at`; None where nothing is to be kept.

    The state that it has, where the notice confirms it and is newer than what is known.
    """
    known_by_notice = customer.state_since != customer.resolved_at
    if known_by_notice and at < customer.state_since:
        return None
    kind, state = notice.kind, customer.state
    if kind is Kind.ACTIVE:
        known = state is CustomerState.ACTIVE and known_by_notice and at == customer.state_since
        return None if known else CustomerState.ACTIVE
    if kind is Kind.ENDING:
        return CustomerState.ENDING if state is CustomerState.ACTIVE else None
    if kind is Kind.ENDED:
        return CustomerState.ENDED if state is not CustomerState.ENDED else None
    if kind is Kind.END and state is CustomerState.ACTIVE:
        return CustomerState.ENDING
    if kind is Kind.END and state is CustomerState.ENDING and at - customer.state_since >= ROLES_APART:
        return CustomerState.ENDED
    return None


def customers_of(notice: Notice, customers: Iterable[Customer]) -> tuple[Customer, ...]:
    """Return the customers that a notice is about."""
    return tuple(one for one in customers if notice.names(one))


def _of_sns(body: Mapping[str, Any], at: datetime | None) -> Notice:
    action = str(body.get("action"))
    if action not in ACTIONS:
        raise NotANotice(f"has the action {action[:80]!r}; this version knows {', '.join(ACTIONS)}.")
    return Notice(
        action=action,
        at=at,
        product_code=_text(body, "product-code"),
        identifier=_text(body, "customer-identifier"),
        account=_text(body, "customer-aws-account-id"),
        license_id=license_id(_text(body, "license-arn")),
    )


def _of_event(body: Mapping[str, Any], at: datetime | None) -> Notice:
    action = ROLE.sub("", str(body.get("detail-type")))
    if body.get("source") != SOURCE:
        raise NotANotice(f"comes from {str(body.get('source'))[:80]!r}, not from {SOURCE}.")
    if action not in ACTIONS:
        raise NotANotice(f"has the detail type {action[:80]!r}; this version knows {', '.join(ACTIONS)}.")
    return Notice(
        action=action,
        at=at,
        product_code=_text(body, "detail", "product", "code"),
        account=_text(body, "detail", "acceptor", "accountId"),
        license_id=license_id(_text(body, "detail", "license", "arn") or _text(body, "detail", "license", "id")),
        agreement_id=_text(body, "detail", "agreement", "id"),
    )


def _object(text: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise NotANotice("is not JSON.") from None
    if not isinstance(found, dict):
        raise NotANotice("is not an object.")
    return found


def _text(body: Mapping[str, Any], *path: str) -> str:
    """Return a text inside the body; empty where there is none."""
    found: Any = body
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


def _instant(value: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(value))
        return found.astimezone(UTC) if found.tzinfo else None
    except (ValueError, OverflowError):  # the second: of year 1 or 9999, and before or behind it in UTC
        return None
