"""Call License Manager for a contract: check out, extend, check in, and read the license.

What an answer is worth is decided in `entitlement.contract`.

Invariants:
- One attempt per call, and one entitlement in it. A checkout has a ClientToken of its caller's: the same for each
  transport retry of that checkout, another for the next. A repeat of a PERPETUAL checkout with another token would
  draw twice.
- The key fingerprint is AWS Marketplace's and no setting: with another, a buyer could issue a license to himself.
- The workload's region is asked first. One RedirectException is followed, to a region that it names, else to HOME;
  after another one, or after ResourceNotFound, HOME is asked once. Each answer has the region that gave it: extend and
  check in there. A region is all that is taken from a redirect: the host is always the one that the SDK resolves.
- Nothing in an answer is signed so that it could be verified: TLS to that host is all that proves it.
- A consumption token is never shown: `repr` leaves it out.
- Every exception becomes a value; none escapes.

Sources: AWS License Manager API Reference, CheckoutLicense, CheckInLicense, ExtendLicenseConsumption, GetLicense; AWS
Marketplace seller guide, "Integrating your container products with License Manager" (fingerprint, checkout types).
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from sidecar.clock import SystemClock
from sidecar.entitlement.answer import AnsweredBy
from sidecar.entitlement.classify import classify
from sidecar.entitlement.contract import CheckedOut, Entitlement, read_instant
from sidecar.entitlement.license_errors import NOT_EXTENDED
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.sdk_errors import CallFailed, call_failed, code_of, of_aws, request_id_of
from sidecar.quick_dataclasses import dataclass, field

KEY_FINGERPRINT: Final = "aws:294406891311:AWS/Marketplace:issuer-fingerprint"
HOME: Final = "us-east-1"
"""Home region of AWS Marketplace's licenses."""
REDIRECTED: Final = "RedirectException"
NOT_FOUND: Final = "ResourceNotFoundException"
CONFLICT: Final = "ConflictException"
REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]{2,12}){1,3}-[0-9]{1,2}")
HOST: Final = re.compile(rf"license-manager(?:-fips)?\.({REGION.pattern})\.(?:amazonaws\.com(?:\.cn)?|api\.aws)")


class CheckoutType(Enum):
    """How long what is checked out is gone."""

    PROVISIONAL = "PROVISIONAL"
    """Until it is checked in, or runs out."""
    PERPETUAL = "PERPETUAL"
    """For good."""


@dataclass(frozen=True, kw_only=True)
class Checkout:
    """One logical checkout: repeat it as it is until its outcome is known."""

    sku: str
    """Product ID."""
    entitlement: Entitlement
    client_token: str
    checkout_type: CheckoutType = CheckoutType.PROVISIONAL
    region: str = ""
    """Asked first; empty: the workload's."""


@dataclass(frozen=True, kw_only=True)
class Extended:
    """A checkout runs on."""

    consumption_token: str = field(repr=False)
    """To be used from now on; may be another than before."""
    expires_at: datetime | None
    request_id: str


@dataclass(frozen=True, kw_only=True)
class CheckedIn:
    """What was checked out is free again."""

    already: bool
    """AWS did not know the token: it ran out, or was checked in before."""
    request_id: str


@dataclass(frozen=True, kw_only=True)
class LicenseTerm:
    """What GetLicense tells of a license."""

    ends_at: datetime | None
    """End of its validity; None where it has none that can be read."""
    status: str
    """As AWS says: AVAILABLE, EXPIRED, …"""
    request_id: str


def new_client_token() -> str:
    """Return a token for one logical checkout: 32 hex digits, which every page's rule allows."""
    return secrets.token_hex(16)


def checkout(marketplace: Marketplace, asked: Checkout, now: datetime | None = None) -> CheckedOut | CallFailed:
    """Check out one entitlement, where the license is. `now`: this host's time. Raises nothing.

    A failure whose row is `unreachable` leaves it open whether AWS took the checkout: repeat it with the same token.
    """
    region = asked.region or marketplace.region
    found, location = _checkout(marketplace, asked, region, now)
    if isinstance(found, CallFailed) and found.code == REDIRECTED:
        other = _other_region(marketplace, location, region)
        if other == region:
            return found
        first, region = region, other
        found, _ = _checkout(marketplace, asked, region, now)
        if first == HOME:
            return found
    if _cannot_tell(found) and _home_differs(marketplace, region):
        elsewhere, _ = _checkout(marketplace, asked, HOME, now)
        found = found if _cannot_tell(elsewhere) else elsewhere
    return found


def extend(
    marketplace: Marketplace, token: str, region: str = "", now: datetime | None = None
) -> Extended | CallFailed:
    """Let a provisional checkout run on. `region`: where it was checked out. Raises nothing."""
    asked = AnsweredBy.EXTEND_LICENSE
    reply = _called(
        marketplace,
        asked,
        lambda: marketplace.licenses(region).extend_license_consumption(LicenseConsumptionToken=token),
        now,
    )
    if isinstance(reply, CallFailed):
        return reply
    if not (_text(reply, "LicenseConsumptionToken") or reply.get("Expiration")):
        return CallFailed(code=NOT_EXTENDED, asked=asked, row=classify(NOT_EXTENDED, asked))
    return Extended(
        consumption_token=_text(reply, "LicenseConsumptionToken") or token,
        expires_at=read_instant(reply.get("Expiration")),
        request_id=request_id_of(reply),
    )


def check_in(
    marketplace: Marketplace, token: str, region: str = "", now: datetime | None = None
) -> CheckedIn | CallFailed:
    """Give back a provisional checkout; a conflict is tried once more. `region`: as for `extend`. Raises nothing."""

    def call() -> Mapping[str, Any] | CallFailed:
        return _called(
            marketplace,
            AnsweredBy.CHECK_IN_LICENSE,
            lambda: marketplace.licenses(region).check_in_license(LicenseConsumptionToken=token),
            now,
        )

    reply = call()
    if isinstance(reply, CallFailed) and reply.code == CONFLICT:
        reply = call()
    if isinstance(reply, CallFailed):
        gone = reply.code == NOT_FOUND and reply.asked is AnsweredBy.CHECK_IN_LICENSE
        return CheckedIn(already=True, request_id=reply.request_id) if gone else reply
    return CheckedIn(already=False, request_id=request_id_of(reply))


def get_license(
    marketplace: Marketplace, license_arn: str, region: str = "", now: datetime | None = None
) -> LicenseTerm | CallFailed:
    """Read the end of a license; needs a permission of its own, which is optional. Raises nothing."""
    reply = _called(
        marketplace,
        AnsweredBy.GET_LICENSE,
        lambda: marketplace.licenses(region).get_license(LicenseArn=license_arn),
        now,
    )
    if isinstance(reply, CallFailed):
        return reply
    found = _mapping(reply.get("License"))
    return LicenseTerm(
        ends_at=read_instant(_mapping(found.get("Validity")).get("End")),
        status=_text(found, "Status"),
        request_id=request_id_of(reply),
    )


def redirect_region(location: object) -> str:
    """Return the region in a redirect's Location: a region's name, or a URL or host of License Manager's; else empty.

    AWS documents no form for it.
    """
    written = location.strip() if isinstance(location, str) else ""
    if REGION.fullmatch(written):
        return written
    try:
        parts = urlsplit(written if "//" in written else f"https://{written}")
        host = parts.hostname or ""
        plain = parts.scheme == "https" and not (parts.username or parts.password) and parts.port in (None, 443)
    except ValueError:
        return ""
    found = HOST.fullmatch(host)
    return found[1] if found and plain else ""


def _checkout(
    marketplace: Marketplace, asked: Checkout, region: str, now: datetime | None
) -> tuple[CheckedOut | CallFailed, object]:
    """Return the answer of one region, and the Location of a redirect."""
    locations: list[object] = []

    def call() -> Mapping[str, Any]:
        try:
            reply: Mapping[str, Any] = marketplace.licenses(region).checkout_license(**_wire(asked))
        except ClientError as exc:
            locations.append(exc.response.get("Location") if code_of(exc) == REDIRECTED else None)
            raise
        return reply

    reply = _called(marketplace, AnsweredBy.CHECKOUT_LICENSE, call, now)
    if isinstance(reply, CallFailed):
        return reply, locations[0] if locations else None
    return _checked_out(reply, region), None


def _wire(asked: Checkout) -> dict[str, Any]:
    one = asked.entitlement
    value = {"Value": one.value} if one.value else {}
    return {
        "ProductSKU": asked.sku,
        "CheckoutType": asked.checkout_type.value,
        "KeyFingerprint": KEY_FINGERPRINT,
        "Entitlements": [{"Name": one.name, "Unit": one.unit, **value}],
        "ClientToken": asked.client_token,
    }


def _checked_out(reply: Mapping[str, Any], region: str) -> CheckedOut:
    listed = reply.get("EntitlementsAllowed")
    allowed = [_mapping(one) for one in listed] if isinstance(listed, list) else []
    return CheckedOut(
        allowed=tuple(
            Entitlement(name=_text(one, "Name"), unit=_text(one, "Unit"), value=_text(one, "Value")) for one in allowed
        ),
        consumption_token=_text(reply, "LicenseConsumptionToken"),
        expires_at=read_instant(reply.get("Expiration")),
        license_arn=_text(reply, "LicenseArn"),
        region=region,
        request_id=request_id_of(reply),
    )


def _called(
    marketplace: Marketplace,
    asked: AnsweredBy,
    call: Callable[[], Mapping[str, Any]],
    now: datetime | None,
) -> Mapping[str, Any] | CallFailed:
    """Return the answer of AWS, or why there is none."""
    try:
        marketplace.fetch_credentials()
        reply = call()
    except Exception as exc:  # the outermost edge of the SDK, which raises whatever a strange reply makes it raise
        return call_failed(exc, asked, now or SystemClock().now())
    if not of_aws(reply):
        return CallFailed(code="200", asked=asked, row=classify("200", asked))
    return reply


def _other_region(marketplace: Marketplace, location: object, asked: str) -> str:
    """Return the region to follow a redirect to; `asked`: none.

    It is the one that is named, where that is of this partition; else HOME, where there is one.
    """
    named, partition = redirect_region(location), marketplace.partition()
    if named and named != asked and _partition(marketplace, named) == partition:
        return named
    return HOME if partition == "aws" else asked


def _partition(marketplace: Marketplace, region: str) -> str:
    try:
        return str(marketplace.session().get_partition_for_region(region))
    except BotoCoreError:
        return ""


def _home_differs(marketplace: Marketplace, region: str) -> bool:
    """Return whether HOME is another region of this partition: elsewhere there is no home to go to."""
    return region != HOME and marketplace.partition() == "aws"


def _cannot_tell(found: CheckedOut | CallFailed) -> bool:
    """Return whether a region sends elsewhere, or knows no license. Where HOME does, the region before has the word."""
    return isinstance(found, CallFailed) and found.code in (NOT_FOUND, REDIRECTED)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(reply: Mapping[str, Any], name: str) -> str:
    value = reply.get(name)
    return value if isinstance(value, str) else ""
