"""Answer ExtendLicenseConsumption and CheckInLicense: what becomes of a checkout.

Elsewhere: how it came about (`checkout_license`).

Invariants (License Manager service model, "ExtendLicenseConsumption", "CheckInLicense"):
- An extension ends the license's time to live from now, not from the old end. A dry run extends nothing.
- A license that became smaller, expired or was taken away ends no checkout: it only allows no new one.
- A perpetual checkout cannot be returned or extended.
- Neither operation has a RedirectException: where only the home region answers, another one does not know the token.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.callers import Caller
from sidecar.emulator.checkout_license import TEXT_MAX, expiration, written
from sidecar.emulator.constraints import failed, invalid, wrong_text
from sidecar.emulator.license_behaviour import ExtendToken, LicenseRegions, PastEnd, ReturnAnswer
from sidecar.emulator.license_book import Consumption
from sidecar.emulator.licenses import License
from sidecar.emulator.refusals import Refusal, refusal
from sidecar.emulator.state import EmulatorState

CHECK_IN: Final = "CheckInLicense"
EXTEND: Final = "ExtendLicenseConsumption"


def check_in(
    emulated: EmulatorState,
    caller: Caller,
    region: str,
    body: Mapping[str, object],
    behaviour: Behaviour,
    now: datetime,
) -> dict[str, object]:
    """Return no members: the seats are free. Raises Refusal."""
    token = _token(body)
    with emulated.lock:
        consumed = _consumption(emulated, caller, region, token, behaviour)
        if consumed.perpetual:
            return _returned(behaviour.license_perpetual_check_in, "A perpetual checkout cannot be checked in.")
        if not consumed.live(now):
            return _returned(behaviour.license_check_in_again, "The checkout has ended already.")
        emulated.licenses.check_in(consumed, now)
    return {}


def extend(
    emulated: EmulatorState,
    caller: Caller,
    region: str,
    body: Mapping[str, object],
    behaviour: Behaviour,
    now: datetime,
) -> dict[str, object]:
    """Return the token and the new end. Raises Refusal."""
    token, dry_run = _token(body), body.get("DryRun")
    if dry_run is not None and not isinstance(dry_run, bool):
        raise invalid([failed("dryRun", "Member must be a boolean")])
    with emulated.lock:
        consumed = _consumption(emulated, caller, region, token, behaviour)
        held = _check_extendable(emulated, consumed, behaviour, now)
        if not dry_run:
            rotate = behaviour.license_extend_token is ExtendToken.ROTATED
            consumed = emulated.licenses.extend(consumed, expiration(held, behaviour, now), rotate=rotate)
    return {"LicenseConsumptionToken": consumed.token, "Expiration": written(consumed.expires_at, behaviour)}


def _check_extendable(emulated: EmulatorState, consumed: Consumption, behaviour: Behaviour, now: datetime) -> License:
    """Return the license of a checkout that may go on. Raises Refusal."""
    held = emulated.licenses.license(consumed.license_id)
    if consumed.perpetual:
        raise refusal("InvalidParameterValueException", "A perpetual checkout cannot be extended.")
    if held is None or not consumed.live(now):
        raise refusal(behaviour.license_extend_expired.value, "The checkout has ended.")
    over = held.valid_until is not None and now >= held.valid_until
    if over and behaviour.license_past_end is PastEnd.REFUSED:
        raise refusal(behaviour.license_extend_expired.value, "The license has ended.")
    return held


def _token(body: Mapping[str, object]) -> str:
    token = body.get("LicenseConsumptionToken")
    wrong = wrong_text("licenseConsumptionToken", token, required=True, least=1, most=TEXT_MAX)
    if wrong:
        raise invalid(wrong)
    return str(token)


def _consumption(emulated: EmulatorState, caller: Caller, region: str, token: str, behaviour: Behaviour) -> Consumption:
    """Return the checkout of a token: any caller of the account may have it. Raises Refusal."""
    found = emulated.licenses.consumption(token)
    held = None if found is None else emulated.licenses.license(found.license_id)
    if found is None or held is None or found.account != caller.account or _elsewhere(held, region, behaviour):
        raise _unknown()
    return found


def _elsewhere(held: License, region: str, behaviour: Behaviour) -> bool:
    return behaviour.license_regions is LicenseRegions.HOME and region != held.home_region


def _unknown() -> Refusal:
    return refusal("ResourceNotFoundException", "There is no such license consumption token.")


def _returned(form: ReturnAnswer, message: str) -> dict[str, object]:
    if form is not ReturnAnswer.OK:
        raise refusal(form.value, message)
    return {}
