"""Call RegisterUsage once and return the answer as a value.

Invariants:
- Every exception becomes a value; none escapes.
- HTTP 200 without a Signature is an answer too; verification decides that it proves nothing.

Sources: AWS Marketplace API Reference, RegisterUsage.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sidecar.entitlement.answer import AnsweredBy
from sidecar.entitlement.registration import Registration
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.sdk_errors import CallFailed, call_failed, request_id_of
from sidecar.quick_dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Signed:
    """RegisterUsage answered 200. Nothing is proven yet."""

    token: object = field(repr=False)
    """The field `Signature`: text, or whatever else was there; None where it was missing."""
    rotation_at: datetime | None
    """`PublicKeyRotationTimestamp`: set once the key version has been superseded."""
    request_id: str


def register_usage(marketplace: Marketplace, asked: Registration, now: datetime) -> Signed | CallFailed:
    """Call RegisterUsage once. `now` is this host's time. Raises nothing: the outermost edge of the SDK."""
    try:
        reply = marketplace.metering().register_usage(
            ProductCode=asked.product_code,
            PublicKeyVersion=asked.public_key_version,
            Nonce=asked.nonce,
        )
    except Exception as exc:  # the outermost edge of the SDK, which raises whatever a strange reply makes it raise
        return call_failed(exc, AnsweredBy.REGISTER_USAGE, now)
    rotation = reply.get("PublicKeyRotationTimestamp")
    return Signed(
        token=reply.get("Signature"),
        rotation_at=rotation.astimezone(UTC) if isinstance(rotation, datetime) else None,
        request_id=request_id_of(reply),
    )
