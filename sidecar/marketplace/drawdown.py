"""Draw a sealed quantity from a license, and return the answer as a value.

What an outcome means for a record is decided in `metering.decide`.

Invariants:
- One PERPETUAL checkout with the stored client token. A lost answer is asked for again at once, a few times, with the
  same token; after that the outcome is unknown, and nothing repeats it without a person.
- Once an answer was lost only a success is an outcome: a refusal of the repeat may be of a pool that the first emptied.
- A 200 that allows something else than what was asked for is unknown: something may have been drawn.
- Credentials are fetched before the call: a failure there has certainly drawn nothing.
- The receipt is AWS's request id, by which CloudTrail has the checkout. The consumption token is dropped.

Sources: AWS License Manager API Reference, CheckoutLicense; what a repeated ClientToken is answered is not documented.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from sidecar.entitlement.answer import AnsweredBy
from sidecar.entitlement.contract import CheckedOut, Entitlement, allows
from sidecar.marketplace.client import Marketplace
from sidecar.marketplace.failed_calls import not_called
from sidecar.marketplace.license_manager import Checkout, CheckoutType, checkout
from sidecar.marketplace.meter_usage import Metered
from sidecar.marketplace.sdk_errors import FETCHES, CallFailed
from sidecar.metering import dispositions
from sidecar.metering.drawdown import CALLS_MAX
from sidecar.metering.license_dispositions import qualified
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.sealed_request import SealedRequest
from sidecar.metering.states import Disposition

PAUSE_SECONDS: Final = 0.5
"""Before each repeat."""
WORDS: Final = {"clock_skew": "skew", "tls_failed": "CERTIFICATE_VERIFY_FAILED"}
"""Reason of the gate's row → word of `dispositions.QUALIFIERS`, which tells the same of the code."""


def draw_down(marketplace: Marketplace, request: SealedRequest, pause: Callable[[float], None] = time.sleep) -> Metered:
    """Draw a sealed request's quantity. Raises nothing."""
    if request.drawdown is None or not request.quantity.isdigit() or int(request.quantity) == 0:
        return Metered(outcome=Refused(code="ParamValidationError", sent=False), request_id="")
    pool = request.drawdown
    asked = Checkout(
        sku=pool.sku,
        entitlement=Entitlement(name=pool.name, unit=pool.unit, value=request.quantity),
        client_token=request.client_token,
        checkout_type=CheckoutType.PERPETUAL,
    )
    try:
        marketplace.fetch_credentials()
    except Exception as exc:  # whatever the SDK raises while it fetches credentials: nothing was drawn
        failure = not_called(exc)
        return Metered(outcome=failure.outcome, request_id=failure.request_id)
    found = _drawn(checkout(marketplace, asked), asked)
    lost = found if isinstance(found.outcome, Unknown) else None
    for _ in range(CALLS_MAX - 1):
        if not isinstance(found.outcome, Unknown):
            break
        pause(PAUSE_SECONDS)
        found = _drawn(checkout(marketplace, asked), asked)
    return found if lost is None or isinstance(found.outcome, Settled) else lost


def _drawn(found: CheckedOut | CallFailed, asked: Checkout) -> Metered:
    if isinstance(found, CallFailed):
        return Metered(outcome=_failed(found), request_id=found.request_id)
    fits = allows(asked.entitlement, found.allowed)
    outcome = Settled(record_id=found.request_id) if fits else Unknown(code="entitlement_not_in_answer")
    return Metered(outcome=outcome, request_id=found.request_id)


def _failed(found: CallFailed) -> Outcome:
    code = qualified(found.code) if found.asked is AnsweredBy.CHECKOUT_LICENSE else found.code
    message = WORDS.get(found.row.reason, "")
    row = dispositions.classify(code, message)
    fetched = found.asked in FETCHES.values()  # credentials that are renewed: nothing was drawn
    if fetched and row.disposition is not Disposition.HOLD:
        code = "credentials_malformed"
    if fetched or row.definite:
        sent = found.asked is AnsweredBy.CHECKOUT_LICENSE
        return Refused(code=code, message=message, retry_after_seconds=found.retry_after_seconds, sent=sent)
    return Unknown(code=code)
