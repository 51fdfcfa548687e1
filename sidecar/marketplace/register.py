"""What did RegisterUsage answer? One call, turned into a value.

Rules kept here:
- Every exception becomes a value with a code that `entitlement.answers` has a row for; none escapes.
- A message of AWS's serves to tell a bad clock from a bad signature and to learn the caller's role;
  it is not logged, and neither is anything of a reply.
- HTTP 200 without a Signature is an answer too; that it proves nothing is decided by verification.

Source: AWS Marketplace API Reference, RegisterUsage; botocore's exceptions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from botocore.exceptions import ClientError

from sidecar.entitlement.answers import Asked, Row, classify, classify_exception
from sidecar.entitlement.registration import Registration
from sidecar.marketplace.client import Marketplace

CALLER: Final = re.compile(r"arn:aws[a-z-]*:(?:sts|iam)::[0-9]*:[\w+=,.@/-]+")
SKEW_SECONDS_SAID: Final = 60
"""A clock less than this off is not worth a word."""


@dataclass(frozen=True, kw_only=True)
class Signed:
    """RegisterUsage answered 200. Nothing is proven yet."""

    token: object = field(repr=False)
    """The field `Signature`: text, or whatever else was there; None where it was missing."""
    rotation_at: datetime | None
    """`PublicKeyRotationTimestamp`: set once the key version has been superseded."""
    request_id: str


@dataclass(frozen=True, kw_only=True)
class Refused:
    """RegisterUsage was not answered with 200, or not at all."""

    code: str
    asked: Asked
    row: Row
    request_id: str
    caller: str
    """The role or user AWS names in its refusal; empty where it names none."""
    skew_seconds: int | None
    """This host's clock minus AWS's, where AWS sent a Date."""
    retry_after_seconds: float | None


def register_usage(marketplace: Marketplace, asked: Registration, now: datetime) -> Signed | Refused:
    """Ask once. Raises nothing: the outermost edge of the SDK."""
    try:
        reply = marketplace.metering().register_usage(
            ProductCode=asked.product_code,
            PublicKeyVersion=asked.public_key_version,
            Nonce=asked.nonce,
        )
    except ClientError as exc:
        return _refusal(exc, now)
    except Exception as exc:  # the outermost edge of the SDK, which raises whatever a strange reply makes it raise
        return _no_answer(exc)
    meta = reply.get("ResponseMetadata", {})
    rotation = reply.get("PublicKeyRotationTimestamp")
    return Signed(
        token=reply.get("Signature"),
        rotation_at=rotation.astimezone(UTC) if isinstance(rotation, datetime) else None,
        request_id=str(meta.get("RequestId", "")),
    )


def _refusal(exc: ClientError, now: datetime) -> Refused:
    error = exc.response.get("Error", {})
    meta = exc.response.get("ResponseMetadata", {})
    headers = meta.get("HTTPHeaders", {})
    code = bare_code(str(error.get("Code", ""))) or str(meta.get("HTTPStatusCode", ""))
    message = str(error.get("Message", ""))
    asked = Asked.STS if exc.operation_name == Asked.STS.value else Asked.REGISTER_USAGE
    caller = CALLER.search(message)
    return Refused(
        code=code,
        asked=asked,
        row=classify(code, asked, message),
        request_id=str(meta.get("RequestId", "")),
        caller=caller[0] if caller else "",
        skew_seconds=_skew(headers.get("date"), now),
        retry_after_seconds=_retry_after(headers.get("x-amz-retry-after")),
    )


def bare_code(code: str) -> str:
    """A code without namespace (`ns#Code`) and suffix (`Code:http://…`)."""
    return code.rpartition("#")[2].partition(":")[0]


def _no_answer(exc: Exception) -> Refused:
    names = tuple(kind.__name__ for kind in type(exc).__mro__ if kind not in (Exception, BaseException, object))
    code, row = classify_exception(names, str(exc))
    return Refused(
        code=code, asked=Asked.SDK, row=row, request_id="", caller="", skew_seconds=None, retry_after_seconds=None
    )


def _skew(date: Any, now: datetime) -> int | None:
    try:
        skew = round((now - parsedate_to_datetime(date)).total_seconds())
    except (TypeError, ValueError):
        return None
    return skew if abs(skew) >= SKEW_SECONDS_SAID else None


def _retry_after(milliseconds: Any) -> float | None:
    """`x-amz-retry-after` is in milliseconds."""
    try:
        return min(max(int(milliseconds) / 1000, 0.0), 300.0)
    except (TypeError, ValueError):
        return None
