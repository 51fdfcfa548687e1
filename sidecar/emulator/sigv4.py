"""Read who claims to have signed a request, where and when, from its SigV4 headers.

Elsewhere: who stands behind the access key (`callers`).

Invariants:
- The secret is never checked: the emulator knows no secrets, so any signature passes. What is checked is
  what a client can get wrong without a key: absence, form, service name and time.
- A request without Authorization: MissingAuthenticationTokenException. A malformed one:
  IncompleteSignatureException.
- A time more than 15 minutes off is InvalidSignatureException, "Signature expired" or "Signature not yet
  current" (AWS IAM User Guide, "Troubleshoot Signature Version 4 signed requests").
- The metering service signs as `aws-marketplace` (its model, `signingName`), STS as `sts`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sidecar.emulator.refusals import Refusal, refusal

ALGORITHM: Final = "AWS4-HMAC-SHA256"
SERVICE: Final = "aws-marketplace"
CLOCK_TOLERANCE: Final = timedelta(minutes=15)
DATE_FORMAT: Final = "%Y%m%dT%H%M%SZ"

_PART = re.compile(r"(Credential|SignedHeaders|Signature)=([^,\s]+)")


@dataclass(frozen=True, kw_only=True)
class Signed:
    """What a request says about its signer; nothing of it is proven."""

    access_key: str
    region: str
    session_token: str | None


def read(headers: Mapping[str, str], now: datetime, for_service: str = SERVICE) -> Signed:
    """Return the signer a request names. Header names are lower-case. Raises Refusal."""
    authorization = headers.get("authorization", "")
    if not authorization:
        raise refusal("MissingAuthenticationTokenException", "Missing Authentication Token")
    scope = _credential_scope(authorization)
    _check_time(headers.get("x-amz-date", ""), now)
    access_key, _date, region, service = scope
    if service != for_service:
        scoped = f"Credential should be scoped to correct service: '{for_service}'."
        raise refusal("InvalidSignatureException", scoped)
    return Signed(access_key=access_key, region=region, session_token=headers.get("x-amz-security-token"))


def access_key(headers: Mapping[str, str]) -> str | None:
    """Return the access key id a request names, or None; for the list of calls, which judges nothing."""
    try:
        return _credential_scope(headers.get("authorization", ""))[0]
    except Refusal:
        return None


def _credential_scope(authorization: str) -> tuple[str, str, str, str]:
    """Access key id, date, region and service."""
    algorithm, _, rest = authorization.partition(" ")
    parts = dict(_PART.findall(rest))
    for name in ("Credential", "Signature", "SignedHeaders"):
        if algorithm == ALGORITHM and name not in parts:
            raise refusal("IncompleteSignatureException", f"Authorization header requires '{name}' parameter.")
    scope = parts.get("Credential", "").split("/")
    if algorithm != ALGORITHM or len(scope) != 5 or scope[4] != "aws4_request" or not all(scope):
        raise refusal(
            "IncompleteSignatureException",
            "Authorization header must be AWS4-HMAC-SHA256 with a Credential of the form "
            "KEY/DATE/REGION/SERVICE/aws4_request.",
        )
    return scope[0], scope[1], scope[2], scope[3]


def _check_time(stamp: str, now: datetime) -> None:
    try:
        signed_at = datetime.strptime(stamp, DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        raise refusal(
            "IncompleteSignatureException", "Authorization header requires a valid 'X-Amz-Date' header."
        ) from None
    earliest, latest = now - CLOCK_TOLERANCE, now + CLOCK_TOLERANCE
    if signed_at < earliest.replace(microsecond=0):
        raise refusal(
            "InvalidSignatureException",
            f"Signature expired: {stamp} is now earlier than "
            f"{earliest.strftime(DATE_FORMAT)} ({now.strftime(DATE_FORMAT)} - 15 min.)",
        )
    if signed_at > latest:
        raise refusal(
            "InvalidSignatureException",
            f"Signature not yet current: {stamp} is still later than "
            f"{latest.strftime(DATE_FORMAT)} ({now.strftime(DATE_FORMAT)} + 15 min.)",
        )
