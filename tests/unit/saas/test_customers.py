"""A customer is billed under one key, and usage names it in one of three ways."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from sidecar.quick_dataclasses import replace
from sidecar.saas.customers import (
    Customer,
    CustomerKey,
    CustomerState,
    Reference,
    chosen,
    in_state,
    key_of,
    last_seal_at,
    resolved_again,
    same_customer,
)

NOW = datetime(2026, 11, 20, 10, 15, tzinfo=UTC)
ARN = "arn:aws:license-manager::123456789012:license:l-1"


def customer(**fields: str) -> Customer:
    answer = {"product_code": "prod", "aws_account_id": "", "license_arn": "", "identifier": ""} | fields
    return Customer(key=key_of(**answer), resolved_at=NOW, state_since=NOW, **answer)


OLD = customer(identifier="cust-1", aws_account_id="111111111111")
NEW = customer(license_arn=ARN, aws_account_id="111111111111")


def test_a_license_is_billed_without_product_code() -> None:
    assert NEW.key == CustomerKey(license_arn=ARN, aws_account_id="111111111111")


def test_an_identifier_is_billed_with_product_code_and_without_account() -> None:
    assert OLD.key == CustomerKey(product_code="prod", identifier="cust-1")


def test_an_account_without_license_is_billed_with_product_code() -> None:
    assert customer(aws_account_id="1").key == CustomerKey(product_code="prod", aws_account_id="1")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"product_code": "p"},
        {"license_arn": ARN},
        {"product_code": "p", "license_arn": ARN, "aws_account_id": "1"},
        {"product_code": "p", "identifier": "i", "aws_account_id": "1"},
        {"identifier": "i", "license_arn": ARN},
    ],
)
def test_a_key_of_two_kinds_or_none_is_refused(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="names no customer"):
        CustomerKey(**fields)


def test_a_key_is_read_from_its_text() -> None:
    assert CustomerKey.of_text(OLD.key.text) == OLD.key
    assert OLD.key.text != NEW.key.text


def test_a_customer_that_gets_a_license_keeps_its_key() -> None:
    fresh = customer(identifier="cust-1", aws_account_id="111111111111", license_arn=ARN)
    assert same_customer(OLD, fresh)
    again = resolved_again(OLD, fresh)
    assert (again.key, again.license_arn) == (OLD.key, ARN)


def test_two_licenses_of_one_account_are_two_customers() -> None:
    assert not same_customer(NEW, customer(license_arn=ARN + "2", aws_account_id="111111111111"))


def test_one_account_and_two_products_are_two_customers() -> None:
    assert not same_customer(OLD, replace(OLD, product_code="other"))


def test_another_identifier_is_another_customer() -> None:
    assert not same_customer(OLD, replace(OLD, identifier="cust-2"))


@pytest.mark.parametrize(
    ("reference", "fits"),
    [
        (Reference(license_arn=ARN), NEW),
        (Reference(license_arn=ARN, aws_account_id="111111111111"), NEW),
        (Reference(identifier="cust-1"), OLD),
    ],
)
def test_a_reference_names_one_customer(reference: Reference, fits: Customer) -> None:
    assert [one for one in (OLD, NEW) if reference.fits(one)] == [fits]


@pytest.mark.parametrize("reference", [Reference(), Reference(license_arn=ARN, aws_account_id="2")])
def test_a_reference_that_is_empty_or_contradicts_fits_nobody(reference: Reference) -> None:
    assert not any(map(reference.fits, (OLD, NEW)))


def test_an_account_with_two_customers_names_neither() -> None:
    assert chosen([OLD, NEW]) == (OLD, NEW)


def test_an_account_means_the_license_that_has_not_ended() -> None:
    ended = in_state(NEW, CustomerState.ENDED, NOW)
    renewed = customer(license_arn=ARN + "2", aws_account_id="111111111111")
    assert chosen([ended, renewed]) == renewed
    assert chosen([ended]) == ended
    assert chosen([]) == ()


def test_an_ending_customer_takes_usage_until_its_last_hours_are_sealed() -> None:
    ending = in_state(NEW, CustomerState.ENDING, NOW)
    assert ending.closed_at is None
    assert last_seal_at(ending) == NOW + timedelta(minutes=45)
    assert last_seal_at(replace(ending, closed_at=NOW)) is None
    assert last_seal_at(NEW) is None


def test_the_hour_of_an_ending_customer_begins_once() -> None:
    ending = in_state(NEW, CustomerState.ENDING, NOW)
    assert in_state(ending, CustomerState.ENDING, NOW + timedelta(minutes=30)) == ending


def test_an_ended_customer_takes_no_usage_and_no_late_notice_opens_it() -> None:
    ended = in_state(NEW, CustomerState.ENDED, NOW)
    assert ended.closed_at == NOW
    assert in_state(ended, CustomerState.ENDING, NOW) == ended


def test_a_new_subscription_opens_a_customer_again() -> None:
    closed = replace(in_state(NEW, CustomerState.ENDING, NOW), closed_at=NOW)
    assert in_state(closed, CustomerState.ACTIVE, NOW).closed_at is None
    ended = in_state(closed, CustomerState.ENDED, NOW)
    assert resolved_again(ended, NEW).state is CustomerState.ACTIVE


def test_resolving_again_does_not_open_a_customer_that_is_ending() -> None:
    closed = replace(in_state(NEW, CustomerState.ENDING, NOW), closed_at=NOW)
    assert resolved_again(closed, NEW) == closed
