"""Write what AWS Marketplace tells a seller of a customer: SNS notifications and EventBridge events, as JSON text.

Elsewhere: when they are sent (`saas_control`), the queues they are sent to (`queues`).

Invariants:
- Older products hear by SNS, through a queue in SNS's envelope or, with raw delivery, without it. Newer ones hear by
  EventBridge; events of an agreement name neither license nor product.
- `isFreeTrialTermPresent` is text.

Sources: seller guide, "Amazon SNS notifications for SaaS products"; "Managing SaaS subscription events with Amazon
EventBridge"; Amazon SNS developer guide, "Fanout to Amazon SQS queues".
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import Final

from sidecar.emulator.customers import Customer, Subscription
from sidecar.emulator.saas_behaviour import NoticeLicense

TOPIC_OWNER: Final = "287250355862"
REGION: Final = "us-east-1"
YEAR: Final = timedelta(days=365)


class Notice(Enum):
    """What can be told: an action of SNS, or an event's detail type."""

    SUBSCRIBE_SUCCESS = "subscribe-success"
    SUBSCRIBE_FAIL = "subscribe-fail"
    UNSUBSCRIBE_PENDING = "unsubscribe-pending"
    UNSUBSCRIBE_SUCCESS = "unsubscribe-success"
    ENTITLEMENT_UPDATED = "entitlement-updated"
    AGREEMENT_CREATED = "Purchase Agreement Created"
    AGREEMENT_AMENDED = "Purchase Agreement Amended"
    AGREEMENT_ENDED = "Purchase Agreement Ended"
    LICENSE_UPDATED = "License Updated"
    LICENSE_DEPROVISIONED = "License Deprovisioned"

    @property
    def is_event(self) -> bool:
        """Return whether EventBridge has it, and not SNS."""
        return self.value[0].isupper()


class Role(Enum):
    """As whom the seller hears an event; a reseller's deal is told to the manufacturer alone."""

    MANUFACTURER = "Manufacturer"
    PROPOSER = "Proposer"


OLDER: Final[Mapping[Subscription, tuple[Notice, ...]]] = MappingProxyType(
    {
        Subscription.PENDING: (),
        Subscription.ACTIVE: (Notice.SUBSCRIBE_SUCCESS,),
        Subscription.ENDING: (Notice.UNSUBSCRIBE_PENDING,),
        Subscription.ENDED: (Notice.UNSUBSCRIBE_SUCCESS,),
    }
)
NEWER: Final[Mapping[Subscription, tuple[Notice, ...]]] = MappingProxyType(
    {
        Subscription.PENDING: (Notice.AGREEMENT_CREATED,),
        Subscription.ACTIVE: (Notice.LICENSE_UPDATED,),
        Subscription.ENDING: (Notice.AGREEMENT_ENDED,),
        Subscription.ENDED: (Notice.LICENSE_DEPROVISIONED,),
    }
)
"""What is told of a customer that comes into a state."""


def told_of(customer: Customer) -> tuple[Notice, ...]:
    """Return what is told when a customer has come into its state."""
    return (NEWER if customer.license_arn else OLDER)[customer.state]


def written(
    notice: Notice,
    customer: Customer,
    now: datetime,
    *,
    seller: str,
    role: Role = Role.MANUFACTURER,
    raw: bool = False,
    license_form: NoticeLicense = NoticeLicense.ARN,
) -> str:
    """Return a notice as the body of a message. `raw` leaves SNS's envelope out."""
    if notice.is_event:
        return json.dumps(_event(notice, customer, now, seller, role, license_form))
    message = json.dumps(_sns(notice, customer))
    return message if raw else json.dumps(_envelope(notice, customer, message, now))


def _sns(notice: Notice, customer: Customer) -> dict[str, object]:
    who = {"customer-identifier": customer.identifier or customer.account, "product-code": customer.product_code}
    offer = {"offer-identifier": "offer-emulated", "isFreeTrialTermPresent": "false"}
    return {"action": notice.value, **who, **({} if notice is Notice.ENTITLEMENT_UPDATED else offer)}


def _envelope(notice: Notice, customer: Customer, message: str, now: datetime) -> dict[str, object]:
    kind = "entitlement" if notice is Notice.ENTITLEMENT_UPDATED else "subscription"
    topic = f"arn:aws:sns:{REGION}:{TOPIC_OWNER}:aws-mp-{kind}-notification-{customer.product_code}"
    host = f"https://sns.{REGION}.amazonaws.com"
    return {
        "Type": "Notification",
        "MessageId": str(uuid.uuid4()),
        "TopicArn": topic,
        "Message": message,
        "Timestamp": _written(now, milliseconds=True),
        "SignatureVersion": "1",
        "Signature": "emulated",
        "SigningCertURL": f"{host}/SimpleNotificationService-emulated.pem",
        "UnsubscribeURL": f"{host}/?Action=Unsubscribe",
    }


def _event(
    notice: Notice, customer: Customer, now: datetime, seller: str, role: Role, license_form: NoticeLicense
) -> dict[str, object]:
    agreement = f"arn:aws:aws-marketplace::aws:agreement:{customer.agreement_id}"
    detail: dict[str, object] = {
        "requestId": str(uuid.uuid4()),
        "catalog": "AWSMarketplace",
        "agreement": _agreement(notice, customer, now),
        "acceptor": {"accountId": customer.account},
        "proposer": {"accountId": seller},
        "offer": {"id": "offer-emulated"},
    }
    if notice in (Notice.LICENSE_UPDATED, Notice.LICENSE_DEPROVISIONED):
        detail["product"] = {"code": customer.product_code, "id": f"prod-{customer.product_code}"}
        detail["license"] = {"arn": _license(customer, license_form)}
    return {
        "version": "0",
        "id": str(uuid.uuid4()),
        "detail-type": f"{notice.value} - {role.value}",
        "source": "aws.agreement-marketplace",
        "account": seller,
        "time": _written(now),
        "region": REGION,
        "resources": [agreement],
        "detail": detail,
    }


def _agreement(notice: Notice, customer: Customer, now: datetime) -> dict[str, object]:
    found: dict[str, object] = {"id": customer.agreement_id}
    if notice is Notice.AGREEMENT_ENDED:
        found["status"] = "CANCELLED"
    if notice in (Notice.AGREEMENT_CREATED, Notice.AGREEMENT_AMENDED):
        times = {"acceptanceTime": now, "startTime": now, "endTime": now + YEAR}
        found["intent"] = "NEW" if notice is Notice.AGREEMENT_CREATED else "AMEND"
        found["status"] = "ACTIVE"
        found.update({name: _written(at) for name, at in times.items()})
    return found


def _license(customer: Customer, form: NoticeLicense) -> str:
    """Return the license's ARN; AWS's examples of events print it otherwise than ResolveCustomer."""
    arn = customer.license_arn or ""
    issuer, name = arn.split(":")[4:5], arn.rpartition(":")[2]
    return arn if form is NoticeLicense.ARN else ":".join(("aws:license-manager", REGION, *issuer, name))


def _written(instant: datetime, *, milliseconds: bool = False) -> str:
    return instant.isoformat(timespec="milliseconds" if milliseconds else "seconds").replace("+00:00", "Z")
