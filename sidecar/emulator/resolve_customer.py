"""Answer ResolveCustomer: whom a registration token stands for.

Invariants (metering service model, "ResolveCustomer"):
- The token is resolved from the seller's account only; from another it is InvalidTokenException.
- It is reusable until it expires, by the emulated clock; other readings are settings.
- A customer of a newer product has no identifier, one of an older product no license.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.callers import Caller
from sidecar.emulator.constraints import invalid, wrong_text
from sidecar.emulator.customers import Customer
from sidecar.emulator.refusals import refusal
from sidecar.emulator.saas import RegistrationToken
from sidecar.emulator.saas_behaviour import TokenAgain
from sidecar.emulator.state import EmulatorState

OPERATION: Final = "ResolveCustomer"
TOKEN_CHARACTERS_MAX: Final = 8192
"""The model has no limit; what is longer is refused here before it is looked up."""


def answer(
    emulated: EmulatorState,
    caller: Caller,
    region: str,
    body: Mapping[str, object],
    behaviour: Behaviour,
    now: datetime,
) -> dict[str, object]:
    """Return the response members. `region` is not asked: any may be called. Raises Refusal."""
    if behaviour.saas_disabled:
        raise refusal("DisabledApiException")
    text = body.get("RegistrationToken")
    wrong = wrong_text("registrationToken", text, required=True, least=1, most=TOKEN_CHARACTERS_MAX)
    if wrong:
        raise invalid(wrong)
    with emulated.lock:
        token = emulated.saas.token(str(text))
        if token is None or caller.account != (token.seller or behaviour.account):
            raise refusal("InvalidTokenException", "Registration token is invalid.")
        _redeem(token, behaviour, now)
        return _members(emulated.saas.customer(token.customer_id), behaviour)


def _redeem(token: RegistrationToken, behaviour: Behaviour, now: datetime) -> None:
    """Count a use of the token. Raises Refusal where it is over, or was used."""
    over = now >= token.made_at + timedelta(seconds=behaviour.saas_token_seconds)
    again = token.redeemed > 0 and behaviour.saas_token_again is not TokenAgain.ANSWERED
    if over or (again and behaviour.saas_token_again is TokenAgain.EXPIRED):
        raise refusal("ExpiredTokenException", "The submitted registration token has expired.")
    if again:
        raise refusal("InvalidTokenException", "Registration token is invalid.")
    token.redeemed += 1


def _members(customer: Customer, behaviour: Behaviour) -> dict[str, object]:
    members: dict[str, object] = {
        "CustomerIdentifier": customer.identifier,
        "ProductCode": customer.product_code,
        "CustomerAWSAccountId": customer.account,
        "LicenseArn": customer.license_arn,
        "Metadata": {"AgreementId": customer.agreement_id},
    }
    return {name: value for name, value in members.items() if behaviour.saas_nulls or value is not None}
