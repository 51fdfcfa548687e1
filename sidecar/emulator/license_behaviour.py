"""Define how this License Manager behaves where AWS's pages are silent or disagree: settings of `Behaviour`.

Elsewhere: what each setting does (`checkout_license`, `license_consumption`, `license_manager`).

Invariants:
- Each default is what field reports saw, or the plainest reading of the model; the other values are the other readings.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class LicenseUnit(Enum):
    """Which units a checkout may name: the entitlement's own, or any."""

    EXACT = "exact"
    ANY = "any"


class SeveralEntitlements(Enum):
    """Several names in one checkout, not all of them held: refused, or granted in part?"""

    ALL_OR_NOTHING = "all_or_nothing"
    PARTIAL = "partial"


class LicenseRefusal(Enum):
    """What a checkout is answered that no license allows."""

    NO_ENTITLEMENTS = "NoEntitlementsAllowedException"
    NOT_FOUND = "ResourceNotFoundException"
    INVALID = "InvalidParameterValueException"
    ACCESS_DENIED = "AccessDeniedException"


class OtherCheckout(Enum):
    """A client token again with another request: answered as the first, or refused?"""

    IGNORED = "ignored"
    REFUSED = "ValidationException"


class ReturnAnswer(Enum):
    """What a check-in is answered that returns nothing."""

    NOT_FOUND = "ResourceNotFoundException"
    VALIDATION = "ValidationException"
    INVALID = "InvalidParameterValueException"
    OK = "ok"


class ExtendToken(Enum):
    """Whether an extension keeps the consumption token, or replaces it."""

    SAME = "same"
    ROTATED = "rotated"


class LateExtension(Enum):
    """What extending an expired checkout is answered."""

    NOT_FOUND = "ResourceNotFoundException"
    VALIDATION = "ValidationException"
    INVALID = "InvalidParameterValueException"


class PastEnd(Enum):
    """A checkout that would outlast the license: it does, it ends with it, or it cannot be extended after it."""

    RUNS_ON = "runs_on"
    CAPPED = "capped"
    REFUSED = "refused"


class LicenseRegions(Enum):
    """Which regions take a checkout: all, or the license's home region alone."""

    REPLICATED = "replicated"
    HOME = "home"


class RedirectLocation(Enum):
    """The form of `Location` in a RedirectException."""

    REGION = "region"
    URL = "url"
    ABSENT = "absent"
    FOREIGN = "foreign"


class LicenseDates(Enum):
    """How an instant is written: with `Z`, with `+00:00`, or without a zone."""

    ZULU = "zulu"
    OFFSET = "offset"
    BARE = "bare"


class SignedToken(Enum):
    """What `SignedToken` of a checkout holds."""

    ABSENT = "absent"
    EMPTY = "empty"
    NOISE = "noise"


class CheckoutAnswer(Enum):
    """What a successful checkout's answer lacks or changes."""

    WHOLE = "whole"
    TOKENLESS = "no_token"
    NO_ENTITLEMENTS = "no_entitlements"
    LESS = "less"
    OTHER_NAME = "other_name"
    NO_EXPIRATION = "no_expiration"


class DenialCode(Enum):
    """The code for a caller whom IAM does not allow: the common one, or License Manager's own."""

    ACCESS_DENIED = "AccessDeniedException"
    AUTHORIZATION = "AuthorizationException"


@dataclass(frozen=True, kw_only=True)
class LicenseBehaviour:
    """The settings of License Manager."""

    license_unit: LicenseUnit = LicenseUnit.EXACT
    license_several: SeveralEntitlements = SeveralEntitlements.ALL_OR_NOTHING
    license_unknown_sku: LicenseRefusal = LicenseRefusal.NO_ENTITLEMENTS
    license_inactive: LicenseRefusal = LicenseRefusal.NO_ENTITLEMENTS
    """A grant that is not ACTIVE, or a license that is not AVAILABLE."""
    license_expired: LicenseRefusal = LicenseRefusal.NO_ENTITLEMENTS
    license_client_token: OtherCheckout = OtherCheckout.IGNORED
    license_client_token_seconds: float = 86_400.0
    """How long a client token is remembered."""
    license_perpetual_check_in: ReturnAnswer = ReturnAnswer.VALIDATION
    license_check_in_again: ReturnAnswer = ReturnAnswer.NOT_FOUND
    license_extend_token: ExtendToken = ExtendToken.SAME
    license_extend_expired: LateExtension = LateExtension.NOT_FOUND
    license_past_end: PastEnd = PastEnd.RUNS_ON
    license_overage: bool = False
    """Whether an entitlement with Overage may be checked out beyond its MaxCount."""
    license_count_shared: bool = True
    """Whether all accounts that a license is granted to count against one MaxCount."""
    license_regions: LicenseRegions = LicenseRegions.REPLICATED
    license_location: RedirectLocation = RedirectLocation.REGION
    license_dates: LicenseDates = LicenseDates.ZULU
    license_signed_token: SignedToken = SignedToken.ABSENT
    license_answer: CheckoutAnswer = CheckoutAnswer.WHOLE
    license_denial: DenialCode = DenialCode.ACCESS_DENIED
