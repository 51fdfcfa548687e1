"""Hold the rows of the error table for what License Manager answers, and the hints that differ for it.

Invariants:
- `NoEntitlementsAllowedException` is what AWS says both where no license is held and where all of its seats are in use:
  the hint says both.
- Each call has its own meaning for a token that AWS does not know: a check-in is done, an extension is over.

Sources: AWS License Manager API Reference, CheckoutLicense, CheckInLicense, ExtendLicenseConsumption, GetLicense;
botocore's model of license-manager 2018-08-01; AWS managed policy AWSLicenseManagerConsumptionPolicy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.entitlement.answer import AnswerClass, AnsweredBy, ErrorRow
from sidecar.entitlement.aws_errors import LICENSES, VENDOR, WAITS

CHECKOUT: Final = (AnsweredBy.CHECKOUT_LICENSE,)
CHECK_IN: Final = (AnsweredBy.CHECK_IN_LICENSE,)
EXTEND: Final = (AnsweredBy.EXTEND_LICENSE,)
GET: Final = (AnsweredBy.GET_LICENSE,)

CALLS: Final = (*CHECKOUT, *CHECK_IN, *EXTEND)
NOT_EXTENDED: Final = "extension_not_in_answer"
"""A 200 without token and expiration: nothing says that the seat runs on."""

POLICY: Final = "service-role/AWSLicenseManagerConsumptionPolicy"
ACTIONS: Final = (
    "license-manager:CheckoutLicense",
    "license-manager:CheckInLicense",
    "license-manager:ExtendLicenseConsumption",
)
"""The IAM actions that the check and its seats need. `license-manager:GetLicense` is optional: it tells the end of the
contract."""
NONE_ALLOWED: Final = (
    "AWS allows nothing of {license} now. Either this account holds no such license: buy or renew the contract in AWS"
    " Marketplace, and accept and activate its license in License Manager (Granted licenses). Or it holds one, and all"
    " of its seats are in use: end a copy of the product, or buy more. In a rolling update the old copy holds its seat"
    " until it ends, so let it end first (maxSurge: 0). AWS has one code for all of this. If nothing fits,"
    " compare name and unit with the license; upper and lower case matter. Then {again}."
)
"""For a seat and a check alike: a check takes a seat for a moment."""
ALLOW: Final = (
    f"Attach the AWS managed policy {POLICY} to {{role}}, or allow {', '.join(ACTIONS[:-1])} and {ACTIONS[-1]} on"
    ' Resource "*" (partition {partition}); also look at permission boundaries, SCPs and VPC endpoint policies.'
)
OPEN_ONCE: Final = " Where AWS says that a service role is missing, open the License Manager console once."

ROWS: Final[tuple[ErrorRow, ...]] = (
    # License Manager says no.
    ErrorRow.of(
        "NoEntitlementsAllowedException EntitlementNotAllowedException",
        CHECKOUT,
        AnswerClass.DENY,
        "no_entitlements_allowed",
        NONE_ALLOWED,
    ),
    ErrorRow.of(
        "entitlement_not_in_answer",
        CHECKOUT,
        AnswerClass.DENY,
        "entitlement_not_in_answer",
        "AWS answered the checkout of {license} and allowed something else, or nothing. Compare name, unit and value in"
        " `licenses` with the listing.",
    ),
    ErrorRow.of(
        "ResourceNotFoundException",
        CHECKOUT,
        AnswerClass.DENY,
        "license_not_found",
        "License Manager knows no license of this product for this account, here or in us-east-1. Check that"
        " SIDECAR_PRODUCT_SKU is the product ID (prod-… or a UUID), and that this AWS account holds the license; then"
        " {again}.",
    ),
    ErrorRow.of(
        "InvalidParameterValueException ValidationException",
        CHECKOUT,
        AnswerClass.DENY,
        "license_request_refused",
        "License Manager refuses the request for {license}. Compare name, unit and value in `licenses` with the"
        " license: a named feature has unit None and no value, a counted one its unit and a value.",
    ),
    ErrorRow.of(
        "InvalidParameterValueException ValidationException",
        (*CHECK_IN, *EXTEND, *GET),
        AnswerClass.DENY,
        "license_request_refused",
        VENDOR,
    ),
    # License Manager cannot, until a person changes something.
    ErrorRow.of(
        "RedirectException",
        CHECKOUT,
        AnswerClass.CONFIG,
        "license_in_other_region",
        "License Manager sends on to another region each time it is asked, last in {region} ({host}). Ask AWS Support"
        " for the home region of the license.",
    ),
    ErrorRow.of("AuthorizationException", CALLS, AnswerClass.CONFIG, "access_denied", ALLOW + OPEN_ONCE),
    ErrorRow.of(
        "AuthorizationException AccessDeniedException AccessDenied UnauthorizedOperation",
        GET,
        AnswerClass.CONFIG,
        "access_denied",
        "The end of the contract is not known; everything else works without it. To have it told ahead of time, allow"
        f' license-manager:GetLicense on Resource "*" for {{role}}, as the AWS managed policy {POLICY} does.',
    ),
    ErrorRow.of(
        "AccessDeniedException AccessDenied UnauthorizedOperation",
        CALLS,
        AnswerClass.CONFIG,
        "access_denied",
        ALLOW + OPEN_ONCE,
    ),
    ErrorRow.of(
        "UnsupportedDigitalSignatureMethodException",
        CHECKOUT,
        AnswerClass.CONFIG,
        "signature_method_unsupported",
        VENDOR,
    ),
    # A consumption token that ended.
    ErrorRow.of(
        "ResourceNotFoundException",
        CHECK_IN,
        AnswerClass.CONFIG,
        "seat_already_returned",
        "Nothing to do: the seat had run out, or was checked in before.",
    ),
    ErrorRow.of(
        "ResourceNotFoundException",
        EXTEND,
        AnswerClass.DENY,
        "seat_expired",
        "The seat ran out before it was extended. It is checked out again.",
    ),
    ErrorRow.of(
        "ResourceNotFoundException",
        GET,
        AnswerClass.CONFIG,
        "license_unknown",
        "License Manager does not know the license that it checked out. The end of the contract cannot be told.",
    ),
    # License Manager is busy or broken.
    ErrorRow.of(
        NOT_EXTENDED,
        EXTEND,
        AnswerClass.RETRY,
        "extension_not_in_answer",
        WAITS + " License Manager answered the extension of a seat with nothing.",
        unreachable=False,
    ),
    ErrorRow.of(
        "RateLimitExceededException",
        LICENSES,
        AnswerClass.RETRY,
        "throttled",
        WAITS + " If it lasts, start fewer copies at once.",
    ),
    ErrorRow.of(
        "ConflictException",
        CHECK_IN,
        AnswerClass.RETRY,
        "seat_in_conflict",
        WAITS + " A seat that is not checked in comes back by itself when it runs out.",
    ),
    ErrorRow.of(
        "ServerInternalException",
        LICENSES,
        AnswerClass.RETRY,
        "aws_failing",
        WAITS + " {host} is failing; see the AWS Health Dashboard for {region}.",
    ),
)

INSTEAD: Final[Mapping[str, str]] = {
    "container_token_unreadable": "The file that AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE names cannot be read. Where"
    " EKS Pod Identity sets the variable, check that its agent runs on the node, and recreate the pod; elsewhere"
    " remove it.",
    "no_credentials": "The container has no AWS credentials. EKS: annotate {service_account} with an IRSA role"
    " (eks.amazonaws.com/role-arn) or create a Pod Identity association for it, then recreate the pod. ECS: set"
    " taskRoleArn, not only executionRoleArn.",
}
"""Reason of a row that is not License Manager's own → hint where License Manager is asked: it takes Pod Identity."""
