"""Define every error answer of AWS as a value that can be raised.

Elsewhere: when to refuse (`sigv4`, `callers`, `register_usage`, `meter_usage`, `sts`), and the form of the answer
on the wire (`metering_api`, `sts`).

Invariants:
- Modelled client errors of the metering service are HTTP 400 and InternalServiceErrorException is 500
  (AWS Marketplace API Reference, "RegisterUsage" and "MeterUsage", Errors). So for License Manager, whose fault is
  ServerInternalException (its API Reference, "CheckoutLicense", Errors).
- AWS's pages on common errors give 403 in one edition and 400 in another for AccessDenied,
  ExpiredToken and signature errors. Here they are 400 for the metering service: a client must look at
  the code, not at the status. The three codes below with 403 are documented so for STS.
- The wording follows what the real services say where that is known, and is our own otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

STATUS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "IDPRejectedClaim": 403,
        "InvalidClientTokenId": 403,
        "RegionDisabledException": 403,
        "RequestTimeout": 408,
        "RequestTimeoutException": 408,
        "InternalFailure": 500,
        "InternalServiceErrorException": 500,
        "ServerInternalException": 500,
        "ServiceUnavailable": 503,
    }
)
"""HTTP status of an error code; any other is 400."""

MESSAGES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "CustomerNotEntitledException": "The customer has no valid subscription to this product.",
        "DisabledApiException": "The API is disabled in this Region.",
        "DryRunOperation": "Request would have succeeded, but the DryRun flag is set.",
        "DuplicateRequestException": "A metering record has already been emitted for this dimension and hour.",
        "ExpiredTokenException": "The security token included in the request is expired",
        "IdempotencyConflictException": "The ClientToken is being used for multiple requests.",
        "InternalServiceErrorException": "An internal error has occurred. Retry your request.",
        "InvalidIdentityToken": "No OpenIDConnect provider found in your account for this token.",
        "NoEntitlementsAllowedException": "There are no entitlements found for this license, or the entitlement maximum"
        " count is reached.",
        "PlatformNotSupportedException": "The platform is not supported: run on Amazon ECS or Amazon EKS.",
        "ThrottlingException": "Rate exceeded",
        "UnrecognizedClientException": "The security token included in the request is invalid.",
    }
)
"""The default text of an error."""


class Refusal(Exception):
    """An AWS error: its code, its text, its HTTP status, `x-amz-retry-after` in ms, and its shape's other members."""

    def __init__(
        self,
        *,
        code: str,
        message: str,
        status: int,
        retry_after: int | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.retry_after = retry_after
        self.members = dict(members or {})


def refusal(
    code: str,
    message: str | None = None,
    *,
    status: int | None = None,
    retry_after: int | None = None,
    members: Mapping[str, object] | None = None,
) -> Refusal:
    """Return an error by its code, with the usual text and status unless others are given."""
    return Refusal(
        code=code,
        message=MESSAGES.get(code, f"{code}.") if message is None else message,
        status=STATUS.get(code, 400) if status is None else status,
        retry_after=retry_after,
        members=members,
    )


def access_denied(*, account: str, role: str, workload: str, action: str) -> Refusal:
    """Return what IAM answers when no policy allows the action."""
    return refusal(
        "AccessDeniedException",
        f"User: arn:aws:sts::{account}:assumed-role/{role}/{workload} is not authorized to perform: "
        f"{action} on resource: * because no identity-based policy allows the {action} action",
    )


class NoSuchEndpoint(Exception):
    """The service has no endpoint in the region that is called: there is no answer at all."""


class BadCommand(ValueError):
    """A control request asks for something the emulator does not have; the text names the field."""
