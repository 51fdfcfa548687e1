"""Hold the table of CheckoutLicense's errors for usage that is drawn from a license: code → disposition, reason, hint.

What is not about the license (credentials, routes, lost answers) is in `dispositions`, which has these rows, too.

Invariants:
- One row per code; a test compares the rows with botocore's service model. No code of MeterUsage's is here: where AWS
  gives both services the same one, this one has the suffix `:license`.
- What was definitely refused has drawn nothing, and is sent again, with the token it was sealed with. What may have
  drawn something is never sent again without a person (`decide`): AWS does not document what a repeat is answered.

Sources: AWS License Manager API Reference, CheckoutLicense, Errors; AWS Marketplace seller guide, "Integrating your
container products with License Manager".
"""

from __future__ import annotations

from typing import Final

from sidecar.metering.disposition_row import HOLD, WAITS, Row, row
from sidecar.metering.states import Disposition

SUFFIX: Final = ":license"
SHARED: Final = frozenset({"AccessDeniedException", "AccessDenied", "UnauthorizedOperation", "ValidationException"})
"""Codes that MeterUsage has, too, with another meaning for its record."""

ROWS: Final[tuple[Row, ...]] = (
    row(
        "NoEntitlementsAllowedException EntitlementNotAllowedException",
        HOLD,
        "license_used_up",
        "License Manager allows no more of this license: the contract's quantity is used up, or the contract has ended."
        " Buy or renew it in AWS Marketplace; the usage is kept, and drawn once there is enough. If there is enough,"
        " compare name and unit in SIDECAR_LICENSES with the license.",
        slow=True,
        loud=True,
    ),
    row(
        "ResourceNotFoundException",
        HOLD,
        "license_not_found",
        "License Manager knows no license of this product for this account. Check SIDECAR_PRODUCT_SKU, and accept and"
        " activate the license (Granted licenses); the usage is kept.",
        slow=True,
        loud=True,
    ),
    row(
        "InvalidParameterValueException ValidationException:license",
        Disposition.REJECT,
        "license_request_refused",
        "License Manager refuses the request. Compare name and unit in SIDECAR_LICENSES with the license. What was"
        " sealed keeps them: correct them, then run `entitlement-sidecar usage retry --roll-forward`.",
    ),
    row(
        "UnsupportedDigitalSignatureMethodException",
        Disposition.REJECT,
        "signature_method_unsupported",
        "License Manager refuses the request. Report this to the product's vendor, then run `entitlement-sidecar usage"
        " retry`.",
    ),
    row(
        "RedirectException",
        HOLD,
        "license_in_other_region",
        "License Manager sends on to another region each time it is asked. Ask AWS Support for the home region of the"
        " license.",
        slow=True,
    ),
    row(
        "AuthorizationException AccessDeniedException:license AccessDenied:license UnauthorizedOperation:license",
        HOLD,
        "license_access_denied",
        'Allow license-manager:CheckoutLicense on Resource "*" for the workload\'s role, and check its permission'
        " boundaries, SCPs and VPC endpoint policies.",
        slow=True,
    ),
    row("RateLimitExceededException", HOLD, "license_throttled", WAITS),
    row(
        "ServerInternalException entitlement_not_in_answer",
        HOLD,
        "license_answer_unclear",
        "License Manager failed, or answered something else than it was asked. It may have drawn the quantity.",
        definite=False,
    ),
)

ONE_POOL: Final = ("NoEntitlementsAllowedException", "EntitlementNotAllowedException")
"""Held, although License Manager may take what is drawn from another license, or less."""


def qualified(code: str) -> str:
    """Return a code of CheckoutLicense's as the table has it."""
    return code + SUFFIX if code in SHARED else code
