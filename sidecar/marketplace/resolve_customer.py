"""Call ResolveCustomer once and return who the customer is, or why that is not known.

Invariants:
- The registration token goes to AWS as it was given, and nowhere else: no log, no error, no repr.
- A code that AWS's model has for this operation is about the token: `ExpiredTokenException` means the registration
  token, once fresh credentials got the same answer.
- An empty identifier is none: products listed since June 2026 have no CustomerIdentifier.
- Every exception becomes a value.

Sources: AWS Marketplace API Reference, ResolveCustomer; botocore's service model and exceptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.failed_calls import Failure, no_answer, not_called, refused
from sidecar.marketplace.sdk_errors import request_id_of
from sidecar.metering import dispositions
from sidecar.quick_dataclasses import dataclass

OPERATION: Final = "ResolveCustomer"
EXPIRED: Final = "ExpiredTokenException"
START_AGAIN: Final = (
    "The buyer goes to AWS Marketplace, `Manage subscriptions`, and chooses `Set up your account` again."
)


@dataclass(frozen=True, kw_only=True)
class ResolveRow:
    """What one code means for the one who asked."""

    codes: tuple[str, ...]
    status: int
    """HTTP's."""
    reason: str
    hint: str


ROWS: Final = (
    ResolveRow(
        codes=(EXPIRED,),
        status=422,
        reason="token_expired",
        hint=f"This registration token has expired. {START_AGAIN}",
    ),
    ResolveRow(
        codes=("InvalidTokenException",),
        status=422,
        reason="token_invalid",
        hint="AWS does not know this registration token. Are these the credentials of the account that published the"
        f" product, and did every + of the token survive decoding the form? {START_AGAIN}",
    ),
    ResolveRow(
        codes=("DisabledApiException",),
        status=503,
        reason="api_disabled",
        hint="AWS Marketplace metering is not offered in this region: set SIDECAR_SAAS_REGION to us-east-1.",
    ),
    ResolveRow(
        codes=("AccessDeniedException", "UnauthorizedException", "UnauthorizedOperation", "AccessDenied"),
        status=503,
        reason="access_denied",
        hint='Allow aws-marketplace:ResolveCustomer on Resource "*" for this role, which must be in the account that'
        " published the product.",
    ),
    ResolveRow(
        codes=("ValidationException", "SerializationException", "ParamValidationError"),
        status=422,
        reason="token_malformed",
        hint="AWS or its SDK cannot read this registration token. Send it as the form had it, decoded once.",
    ),
    ResolveRow(
        codes=("ThrottlingException",),
        status=503,
        reason="throttled",
        hint="AWS takes no more questions at this moment. Ask again; the token is good for hours.",
    ),
    ResolveRow(
        codes=("InternalServiceErrorException",),
        status=503,
        reason="aws_failing",
        hint="AWS failed. Ask again; the token is good for hours.",
    ),
)
"""Code → what it means; every other code as `metering.dispositions` has it, with 503."""
TABLE: Final[Mapping[str, ResolveRow]] = {code: row for row in ROWS for code in row.codes}


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """The customer behind a registration token. Empty: AWS does not say."""

    product_code: str
    account: str
    license_arn: str
    identifier: str
    agreement_id: str
    request_id: str


@dataclass(frozen=True, kw_only=True)
class NotResolved:
    """Why the customer is not known."""

    status: int
    """HTTP's."""
    reason: str
    hint: str
    code: str
    request_id: str
    retry_after_seconds: float | None = None


def resolve_customer(marketplace: Marketplace, token: str) -> Resolved | NotResolved:
    """Ask AWS who holds this registration token. Raises nothing: the outermost edge of the SDK.

    Asked a second time, with fresh credentials, where the first answer may have been about their session's token.
    """
    found = _resolve_once(marketplace, token)
    if isinstance(found, NotResolved) and found.code == EXPIRED:
        marketplace.refresh()
        found = _resolve_once(marketplace, token)
    return found


def _resolve_once(marketplace: Marketplace, token: str) -> Resolved | NotResolved:
    try:
        client = marketplace.ready()
    except Exception as exc:  # whatever the SDK raises while it makes its client and fetches credentials
        return _not_resolved(not_called(exc), of_operation=False)
    try:
        reply = client.resolve_customer(RegistrationToken=token)
    except ClientError as exc:
        return _not_resolved(refused(exc, OPERATION), of_operation=exc.operation_name == OPERATION)
    except Exception as exc:  # the outermost edge of the SDK, which raises whatever a strange reply makes it raise
        return _not_resolved(no_answer(exc), of_operation=True)
    return _resolved(reply)


def _resolved(reply: Mapping[str, Any]) -> Resolved | NotResolved:
    metadata = reply.get("Metadata")
    resolved = Resolved(
        product_code=_text(reply, "ProductCode"),
        account=_text(reply, "CustomerAWSAccountId"),
        license_arn=_text(reply, "LicenseArn"),
        identifier=_text(reply, "CustomerIdentifier"),
        agreement_id=_text(metadata, "AgreementId") if isinstance(metadata, Mapping) else "",
        request_id=request_id_of(reply),
    )
    if resolved.product_code and (resolved.account or resolved.identifier):
        return resolved
    hint = "AWS's answer names no product code, or no customer. Ask again; if it lasts, look for a proxy in between."
    return NotResolved(status=503, reason="answer_incomplete", hint=hint, code="200", request_id=resolved.request_id)


def _text(reply: Mapping[str, Any], name: str) -> str:
    value = reply.get(name)
    return value.strip() if isinstance(value, str) else ""


def _not_resolved(failure: Failure, *, of_operation: bool) -> NotResolved:
    """Return why, from the table. `of_operation`: ResolveCustomer itself answered, not STS."""
    outcome = failure.outcome
    message = getattr(outcome, "message", "")
    row = TABLE.get(outcome.code) if of_operation else None
    common = dispositions.classify(outcome.code, message)
    return NotResolved(
        status=row.status if row else 503,
        reason=row.reason if row else common.reason,
        hint=row.hint if row else common.hint,
        code=outcome.code,
        request_id=failure.request_id,
        retry_after_seconds=getattr(outcome, "retry_after_seconds", None),
    )
