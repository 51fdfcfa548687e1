"""What a notice says, in every envelope, and what it means for a customer."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sidecar.quick_dataclasses import replace
from sidecar.saas.customers import Customer, CustomerState, in_state
from sidecar.saas.notices import ACTIONS, ROLES_APART, NotANotice, customers_of, license_id, next_state, read

from .support import PRODUCT, identified, licensed

AT = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
LATER = AT + timedelta(minutes=5)
SNS = {"action": "unsubscribe-pending", "customer-identifier": "customer-1", "product-code": PRODUCT}
ENVELOPE = {"Type": "Notification", "Timestamp": "2026-11-20T10:30:00.000Z", "Message": json.dumps(SNS)}
EVENT: dict[str, Any] = {
    "detail-type": "License Deprovisioned - Manufacturer",
    "source": "aws.agreement-marketplace",
    "time": "2026-11-20T10:30:00Z",
    "detail": {
        "agreement": {"id": "agmt-1"},
        "license": {"arn": licensed().license_arn.removeprefix("arn:")},
        "product": {"code": PRODUCT},
    },
}


def customer(state: CustomerState = CustomerState.ACTIVE, since: datetime = AT, newer: bool = True) -> Customer:
    key = licensed() if newer else identified()
    return Customer(
        key=key,
        product_code=PRODUCT,
        aws_account_id=key.aws_account_id,
        license_arn=key.license_arn,
        identifier=key.identifier,
        agreement_id="agmt-1",
        resolved_at=AT - timedelta(days=1),
        state=state,
        state_since=since,
    )


def after(action: str, known: Customer, at: datetime = LATER) -> CustomerState | None:
    sns = action[0].islower()
    body = {**SNS, "action": action} if sns else {**EVENT, "detail-type": f"{action} - Proposer"}
    return next_state(read(json.dumps(body)), known, at)


@pytest.mark.parametrize(
    "body",
    [SNS, ENVELOPE, {"Body": json.dumps(ENVELOPE)}, {"body": json.dumps(SNS)}],
    ids=["bare", "sns", "sqs-sns", "sqs-raw"],
)
def test_sns_is_read_in_every_envelope(body: dict[str, Any]) -> None:
    found = read(json.dumps(body))
    assert (found.action, found.identifier, found.product_code) == ("unsubscribe-pending", "customer-1", PRODUCT)
    assert found.at in (None, AT)


def test_an_event_is_read_without_the_role_behind_its_type() -> None:
    found = read(json.dumps(EVENT))
    assert (found.action, found.license_id, found.at) == ("License Deprovisioned", "l-1", AT)


@pytest.mark.parametrize(
    "body",
    [
        "nonsense",
        "[]",
        "{}",
        json.dumps({**SNS, "action": "dance"}),
        json.dumps({**EVENT, "source": "my.bus"}),
        json.dumps({**EVENT, "detail-type": "Offer Released"}),
        json.dumps({"Message": "no json"}),
    ],
)
def test_what_is_no_notice_is_refused(body: str) -> None:
    with pytest.raises(NotANotice):
        read(body)


def test_a_license_is_known_however_aws_writes_it() -> None:
    arns = ("arn:aws:license-manager::1:license:l-1a", "aws:license-manager:us-east-1:1:l-1a", "x:license/l-1a")
    assert {license_id(arn) for arn in arns} == {"l-1a"}


def test_a_notice_is_about_its_license_and_no_other() -> None:
    notice = read(json.dumps(EVENT))
    other = replace(customer(), license_arn=licensed(2).license_arn)
    assert customers_of(notice, [customer(), other]) == (customer(),)


@pytest.mark.parametrize(
    ("action", "state", "then"),
    [
        ("unsubscribe-pending", CustomerState.ACTIVE, CustomerState.ENDING),
        ("unsubscribe-success", CustomerState.ACTIVE, CustomerState.ENDED),
        ("unsubscribe-success", CustomerState.ENDING, CustomerState.ENDED),
        ("subscribe-success", CustomerState.ENDING, CustomerState.ACTIVE),
        ("subscribe-success", CustomerState.ENDED, CustomerState.ACTIVE),
        ("License Updated", CustomerState.ENDED, CustomerState.ACTIVE),
        ("Purchase Agreement Ended", CustomerState.ACTIVE, CustomerState.ENDING),
        ("License Deprovisioned", CustomerState.ACTIVE, CustomerState.ENDING),
        ("License Deprovisioned", CustomerState.ENDING, CustomerState.ENDED),
        ("Purchase Agreement Ended", CustomerState.ENDING, CustomerState.ENDED),
        ("unsubscribe-pending", CustomerState.ENDED, None),
        ("subscribe-success", CustomerState.ACTIVE, CustomerState.ACTIVE),
        ("subscribe-fail", CustomerState.ACTIVE, None),
        ("entitlement-updated", CustomerState.ACTIVE, None),
        ("Purchase Agreement Created", CustomerState.ENDED, None),
        ("Purchase Agreement Amended", CustomerState.ENDING, None),
    ],
)
def test_a_notice_moves_a_customer_as_the_table_says(
    action: str, state: CustomerState, then: CustomerState | None
) -> None:
    assert after(action, customer(state)) is then


@pytest.mark.parametrize("action", list(ACTIONS))
@pytest.mark.parametrize("state", list(CustomerState))
def test_a_notice_that_is_older_than_what_is_known_changes_nothing(action: str, state: CustomerState) -> None:
    assert after(action, customer(state), AT - timedelta(minutes=1)) is None


@pytest.mark.parametrize("action", list(ACTIONS))
def test_a_notice_that_comes_twice_changes_nothing_the_second_time(action: str) -> None:
    first = after(action, customer())
    if first is not None:
        assert after(action, customer(first, LATER)) is None


def test_a_subscription_that_ends_before_it_is_renewed_ends_nothing_when_heard_late() -> None:
    again, before = LATER + timedelta(hours=2), LATER + timedelta(hours=1)
    for known in (customer(), replace(customer(), resolved_at=again + timedelta(hours=1))):
        assert after("subscribe-success", known, again) is CustomerState.ACTIVE
        renewed = in_state(known, CustomerState.ACTIVE, again)
        assert after("unsubscribe-pending", renewed, before) is None
        assert after("unsubscribe-pending", renewed, again + timedelta(seconds=1)) is CustomerState.ENDING


def test_the_event_of_the_other_role_leaves_the_final_hour_as_it_is() -> None:
    """A seller who is manufacturer and proposer has each event twice, a moment apart."""
    ending = customer(CustomerState.ENDING, LATER)
    for seconds in (0, 1, 59):
        assert after("Purchase Agreement Ended", ending, LATER + timedelta(seconds=seconds)) is None
    assert after("License Deprovisioned", ending, LATER + ROLES_APART) is CustomerState.ENDED


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_an_instant_that_no_clock_has_is_as_none(time: str) -> None:
    assert read(json.dumps({**EVENT, "time": time})).at is None


def test_a_notice_from_before_the_first_resolution_still_counts() -> None:
    known = replace(customer(), resolved_at=AT, state_since=AT)
    assert after("unsubscribe-pending", known, AT - timedelta(minutes=1)) is CustomerState.ENDING
