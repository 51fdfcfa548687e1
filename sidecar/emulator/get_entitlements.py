"""Answer GetEntitlements, the one operation of AWS Marketplace's entitlement service: what customers' contracts give.

Elsewhere: the entitlements themselves (`customers`).

Invariants (entitlement service model 2017-01-11, "GetEntitlements"; seller guide, `saas-contracts`):
- AWS JSON 1.1, `AWSMPEntitlementService.GetEntitlements`, signed as `aws-marketplace`.
- Values of one filter are alternatives, filters hold together; the two for customers exclude each other.
- It is offered in us-east-1 alone: elsewhere there is no endpoint, and the connection is closed without an answer.
- A customer without a subscription has no entitlements.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.callers import Caller
from sidecar.emulator.customers import Customer, SaasEntitlement
from sidecar.emulator.json_api import error, json_object, operation_of, success
from sidecar.emulator.refusals import NoSuchEndpoint, Refusal, refusal
from sidecar.emulator.state import EmulatorState
from sidecar.emulator.wire import Conditions, Incoming, Reply, admitted, signer

TARGET_PREFIX: Final = "AWSMPEntitlementService."
SIGNING_NAME: Final = "aws-marketplace"
OPERATION: Final = "GetEntitlements"
REGION: Final = "us-east-1"
PAGE_MAX: Final = 25
FILTERS: Final = ("CUSTOMER_IDENTIFIER", "CUSTOMER_AWS_ACCOUNT_ID", "DIMENSION", "LICENSE_ARN")
EMPTY_PAGE: Final = "after-empty"
"""What a NextToken says after a first page without entitlements."""

Held = tuple[Customer, SaasEntitlement]


class EntitlementService:
    """AWS Marketplace's entitlement service."""

    def operation(self, incoming: Incoming) -> str:
        return operation_of(incoming.headers, TARGET_PREFIX, {OPERATION: None})

    def workload(self, emulated: EmulatorState, incoming: Incoming) -> str | None:
        return signer(emulated, incoming)

    def perform(self, emulated: EmulatorState, operation: str, incoming: Incoming, conditions: Conditions) -> Reply:
        caller, region = admitted(emulated, operation, incoming, conditions, signing_name=SIGNING_NAME)
        if region != REGION:
            raise NoSuchEndpoint
        return success(_answer(emulated, caller, json_object(incoming.body), conditions.behaviour, conditions.now))

    def refuse(self, refused: Refusal, incoming: Incoming) -> Reply:
        return error(refused, "message")


def _answer(
    emulated: EmulatorState, caller: Caller, body: Mapping[str, object], behaviour: Behaviour, now: datetime
) -> dict[str, object]:
    code, most = body.get("ProductCode"), body.get("MaxResults", PAGE_MAX)
    if not isinstance(code, str) or not 1 <= len(code) <= 255:
        raise _invalid("ProductCode must be text of 1 to 255 characters")
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= PAGE_MAX:
        raise _invalid(f"MaxResults must be 1 to {PAGE_MAX}")
    filters = _filters(body.get("Filter") or {})
    start, first = _start(body.get("NextToken"))
    if first and behaviour.entitlements_empty_page:
        return {"Entitlements": [], "NextToken": _token(EMPTY_PAGE)}
    ours = caller.account == behaviour.account
    found = _held(emulated, code, filters, behaviour, now) if ours else []
    page = [_member(*each) for each in found[start : start + most]]
    more = {"NextToken": _token(str(start + most))} if len(found) > start + most else {}
    absent = not page and behaviour.entitlements_absent
    return {**({} if absent else {"Entitlements": page}), **more}


def _filters(given: object) -> dict[str, list[str]]:
    if not isinstance(given, dict) or not set(given) <= set(FILTERS):
        raise _invalid(f"Filter takes {', '.join(FILTERS)}")
    if {"CUSTOMER_IDENTIFIER", "CUSTOMER_AWS_ACCOUNT_ID"} <= set(given):
        raise _invalid("CUSTOMER_IDENTIFIER and CUSTOMER_AWS_ACCOUNT_ID exclude each other")
    for name, values in given.items():
        if not isinstance(values, list) or not values or not all(isinstance(each, str) for each in values):
            raise _invalid(f"Filter {name} must be a list of at least one text")
    return given


def _held(
    emulated: EmulatorState, code: str, filters: Mapping[str, list[str]], behaviour: Behaviour, now: datetime
) -> list[Held]:
    customers = [each for each in emulated.saas.customers() if each.product_code == code]
    held = [(who, what) for who in customers if who.takes_usage(now, behaviour) for what in who.entitlements]
    return [each for each in held if all(_named(each)[name] in values for name, values in filters.items())]


def _named(held: Held) -> dict[str, str | None]:
    """Return what filters compare."""
    customer, entitlement = held
    return {
        "CUSTOMER_IDENTIFIER": customer.identifier,
        "CUSTOMER_AWS_ACCOUNT_ID": customer.account,
        "DIMENSION": entitlement.dimension,
        "LICENSE_ARN": customer.license_arn,
    }


def _member(customer: Customer, entitlement: SaasEntitlement) -> dict[str, object]:
    members: dict[str, object] = {
        "ProductCode": customer.product_code,
        "Dimension": entitlement.dimension,
        "CustomerIdentifier": customer.identifier,
        "CustomerAWSAccountId": customer.account,
        "LicenseArn": customer.license_arn,
        "Value": _value(entitlement.value),
        "ExpirationDate": None if entitlement.expires is None else entitlement.expires.timestamp(),
    }
    return {name: value for name, value in members.items() if value is not None}


def _value(value: int | float | bool | str) -> dict[str, object]:
    if isinstance(value, bool):
        return {"BooleanValue": value}
    if isinstance(value, int):
        return {"IntegerValue": value}
    return {"DoubleValue": value} if isinstance(value, float) else {"StringValue": value}


def _token(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def _start(token: object) -> tuple[int, bool]:
    """Return where a page begins, and whether it is the first. Raises Refusal for a token not made here."""
    if token is None:
        return 0, True
    try:
        text = base64.b64decode(str(token), altchars=b"-_", validate=True).decode()
        return (0 if text == EMPTY_PAGE else int(text)), False
    except (binascii.Error, ValueError):
        raise _invalid("NextToken is not valid") from None


def _invalid(message: str) -> Refusal:
    return refusal("InvalidParameterException", f"{message}.")
