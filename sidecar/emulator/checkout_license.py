"""Answer CheckoutLicense: which of the entitlements asked for this account's license allows, and until when.

Elsewhere: what is out already (`license_book`), what the service does before this (`license_manager`).

Invariants (License Manager service model, "CheckoutLicense"; seller guide, `container-license-manager-integration`):
- Order of precedence, which AWS does not document: parameters, region, client token, SKU and fingerprint, grant,
  status, validity, entitlement names, units, amounts.
- Counting and granting are one step: of many that want the last seat, one has it.
- A client token that comes again is answered with the same consumption token and takes nothing more.
- No seat, no such name, no license: one and the same error, NoEntitlementsAllowedException.
- A PERPETUAL checkout reduces the pool for good; a PROVISIONAL one ends at `Expiration`.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.callers import Caller
from sidecar.emulator.constraints import failed, invalid, wrong_text
from sidecar.emulator.license_behaviour import (
    CheckoutAnswer,
    LicenseDates,
    LicenseRegions,
    LicenseUnit,
    OtherCheckout,
    PastEnd,
    RedirectLocation,
    SeveralEntitlements,
    SignedToken,
)
from sidecar.emulator.license_book import PERPETUAL, PROVISIONAL, Answered, Consumption, checkout_id, new_token
from sidecar.emulator.licenses import HOME_REGION, UNCOUNTED, UNITS, Entitlement, License, LicenseStatus
from sidecar.emulator.refusals import Refusal, refusal
from sidecar.emulator.state import EmulatorState

OPERATION: Final = "CheckoutLicense"
CLIENT_TOKEN_CHARACTERS_MAX: Final = 2048
SIGNED_TOKEN_CHARACTERS: Final = 5000
TEXT_MAX: Final = 4096
UNLIMITED: Final = 0
"""Value "0" asks for an unlimited capability."""

_TOKEN = re.compile(r"\S+")
_AMOUNT = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One entitlement of a request."""

    name: str
    unit: str
    amount: int | None
    """None: no Value."""


def answer(
    emulated: EmulatorState,
    caller: Caller,
    region: str,
    body: Mapping[str, object],
    behaviour: Behaviour,
    now: datetime,
) -> dict[str, object]:
    """Return the response members. `region` is the one the request was signed for. Raises Refusal."""
    asked = _parse(body)
    with emulated.lock:
        book, account, client_token = emulated.licenses, caller.account, str(body["ClientToken"])
        check_region(emulated, account, body, region, behaviour)
        before = book.answered(account, client_token, now, behaviour.license_client_token_seconds)
        if before is not None:
            if before.request != dict(body) and behaviour.license_client_token is OtherCheckout.REFUSED:
                raise refusal("ValidationException", "The ClientToken was used with another request.")
            return dict(before.members)
        held = _license(emulated, caller, body, behaviour, now)
        granted = _granted(emulated, account, held, asked, behaviour, now)
        consumed = _consumption(caller, held, body, granted, behaviour, now)
        book.write(consumed)
        members = _members(body, held, consumed, granted, behaviour)
        book.remember(account, client_token, Answered(request=dict(body), members=members, at=now))
    return members


def check_region(
    emulated: EmulatorState, account: str, body: Mapping[str, object], region: str, behaviour: Behaviour
) -> None:
    """Raise RedirectException where only the home region answers, and this is another one."""
    sku = body.get("ProductSKU")
    home = next((each.home_region for each, _ in emulated.licenses.granted(account) if each.sku == sku), HOME_REGION)
    if behaviour.license_regions is LicenseRegions.HOME and region != home:
        raise refusal(
            "RedirectException",
            f"The license can only be checked out in its home region, {home}.",
            members=_location(home, behaviour.license_location),
        )


def written(instant: datetime, behaviour: Behaviour) -> str:
    """Return an instant as License Manager writes it."""
    text = instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + {LicenseDates.ZULU: "Z", LicenseDates.OFFSET: "+00:00"}.get(behaviour.license_dates, "")


def expiration(held: License, behaviour: Behaviour, now: datetime) -> datetime:
    """Return the end of a checkout that begins or is extended now."""
    until = now + timedelta(minutes=held.ttl_minutes)
    capped = behaviour.license_past_end is PastEnd.CAPPED and held.valid_until is not None
    return min(until, held.valid_until) if capped and held.valid_until is not None else until


def nothing_allowed(message: str) -> Refusal:
    """Return the refusal that says both: nothing there, and nothing free."""
    return refusal("NoEntitlementsAllowedException", message)


def _location(home: str, form: RedirectLocation) -> dict[str, object]:
    locations = {
        RedirectLocation.REGION: home,
        RedirectLocation.URL: f"https://license-manager.{home}.amazonaws.com",
        RedirectLocation.FOREIGN: "https://license-manager.example.com",
    }
    return {"Location": locations[form]} if form in locations else {}


def _license(
    emulated: EmulatorState, caller: Caller, body: Mapping[str, object], behaviour: Behaviour, now: datetime
) -> License:
    """Return the account's license of this product and issuer. Raises Refusal."""
    sku, fingerprint = body["ProductSKU"], body["KeyFingerprint"]
    found = [
        (each, grant)
        for each, grant in emulated.licenses.granted(caller.account)
        if (each.sku, each.fingerprint) == (sku, fingerprint)
    ]
    if not found:
        raise refusal(behaviour.license_unknown_sku.value, f"Account {caller.account} holds no license of {sku}.")
    active = [each for each, grant in found if grant.entitles]
    if not active:
        raise refusal(behaviour.license_inactive.value, f"The license of {sku} is not active in {caller.account}.")
    status = active[0].status_at(now)
    if status is LicenseStatus.EXPIRED or now < active[0].valid_from:
        raise refusal(behaviour.license_expired.value, f"The license of {sku} is not valid at this time.")
    if status is not LicenseStatus.AVAILABLE:
        raise refusal(behaviour.license_inactive.value, f"The license of {sku} is {status.value}.")
    return active[0]


def _granted(
    emulated: EmulatorState, account: str, held: License, asked: Sequence[Asked], behaviour: Behaviour, now: datetime
) -> list[tuple[Asked, Entitlement]]:
    """Return what the license allows of the request. Raises Refusal where that is not enough."""
    allowed, last = [], nothing_allowed("No entitlement was asked for.")
    for one in asked:
        try:
            allowed.append((one, _allowed(emulated, account, held, one, behaviour, now)))
        except Refusal as refused:
            last = refused
    enough = allowed and (len(allowed) == len(asked) or behaviour.license_several is SeveralEntitlements.PARTIAL)
    if not enough:
        raise last
    return allowed


def _allowed(
    emulated: EmulatorState, account: str, held: License, one: Asked, behaviour: Behaviour, now: datetime
) -> Entitlement:
    """Return the entitlement that covers what was asked. Raises Refusal."""
    found = held.entitlement(one.name)
    if found is None:
        raise nothing_allowed(f"The license does not hold {one.name}.")
    if one.unit != found.unit and behaviour.license_unit is LicenseUnit.EXACT:
        raise nothing_allowed(f"The license holds {one.name} in another unit.")
    if not found.counted:
        return found
    if one.amount is None and one.unit != UNCOUNTED:
        raise refusal("InvalidParameterValueException", f"{one.name} is counted, so it needs a Value.")
    if found.max_count is None:
        return found
    if one.amount == UNLIMITED:
        raise nothing_allowed(f"{one.name} is not unlimited.")
    counted_for = None if behaviour.license_count_shared else account
    used = emulated.licenses.used(held.id, one.name, now, counted_for)
    over = used + (one.amount or 1) > found.max_count
    if over and not (found.overage and behaviour.license_overage):
        raise nothing_allowed(f"Not enough of {one.name} is available.")
    return found


def _consumption(
    caller: Caller,
    held: License,
    body: Mapping[str, object],
    granted: Sequence[tuple[Asked, Entitlement]],
    behaviour: Behaviour,
    now: datetime,
) -> Consumption:
    token = new_token()
    return Consumption(
        id=checkout_id(token),
        token=token,
        license_id=held.id,
        account=caller.account,
        workload=caller.workload,
        checkout_type=str(body["CheckoutType"]),
        amounts={one.name: (one.amount or 1) if found.max_count is not None else 0 for one, found in granted},
        issued_at=now,
        expires_at=expiration(held, behaviour, now),
    )


def _members(
    body: Mapping[str, object],
    held: License,
    consumed: Consumption,
    granted: Sequence[tuple[Asked, Entitlement]],
    behaviour: Behaviour,
) -> dict[str, object]:
    form = behaviour.license_answer
    members: dict[str, object] = {
        "CheckoutType": consumed.checkout_type,
        "LicenseConsumptionToken": consumed.token,
        "EntitlementsAllowed": [_entitlement(one, found, form) for one, found in granted],
        "IssuedAt": written(consumed.issued_at, behaviour),
        "Expiration": written(consumed.expires_at, behaviour),
        "LicenseArn": held.arn,
    }
    if behaviour.license_signed_token is not SignedToken.ABSENT:
        noise = behaviour.license_signed_token is SignedToken.NOISE
        members["SignedToken"] = secrets.token_hex(SIGNED_TOKEN_CHARACTERS // 2) if noise else ""
    if isinstance(body.get("NodeId"), str):
        members["NodeId"] = body["NodeId"]
    if form is CheckoutAnswer.NO_ENTITLEMENTS:
        members["EntitlementsAllowed"] = []
    left_out = {CheckoutAnswer.TOKENLESS: "LicenseConsumptionToken", CheckoutAnswer.NO_EXPIRATION: "Expiration"}
    return {name: value for name, value in members.items() if name != left_out.get(form)}


def _entitlement(one: Asked, found: Entitlement, form: CheckoutAnswer) -> dict[str, object]:
    name = f"{one.name}-other" if form is CheckoutAnswer.OTHER_NAME else one.name
    if not found.counted:
        return {"Name": name, "Unit": found.unit, **({} if found.value is None else {"Value": found.value})}
    amount = 1 if one.amount is None else one.amount
    return {"Name": name, "Unit": found.unit, "Value": str(amount - 1 if form is CheckoutAnswer.LESS else amount)}


def _parse(body: Mapping[str, object]) -> list[Asked]:
    """Return what is asked for, or one ValidationException that lists everything wrong."""
    wrong = [
        *wrong_text("productSKU", body.get("ProductSKU"), required=True, least=1, most=TEXT_MAX),
        *wrong_text("keyFingerprint", body.get("KeyFingerprint"), required=True, least=1, most=TEXT_MAX),
        *wrong_text(
            "clientToken", body.get("ClientToken"), required=True, most=CLIENT_TOKEN_CHARACTERS_MAX, pattern=_TOKEN
        ),
        *wrong_text("nodeId", body.get("NodeId"), most=TEXT_MAX),
    ]
    if body.get("CheckoutType") not in (PROVISIONAL, PERPETUAL):
        wrong.append(failed("checkoutType", f"Member must satisfy enum value set: [{PROVISIONAL}, {PERPETUAL}]"))
    entitlements = body.get("Entitlements")
    if not isinstance(entitlements, list) or not all(isinstance(each, dict) for each in entitlements):
        wrong.append(failed("entitlements", "Member must be a list of structures"))
    else:
        for number, each in enumerate(entitlements, start=1):
            wrong += _wrong_entitlement(f"entitlements.{number}.member", each)
    if wrong or not isinstance(entitlements, list):
        raise invalid(wrong)
    return [_asked(each) for each in entitlements]


def _wrong_entitlement(place: str, each: Mapping[str, object]) -> list[str]:
    wrong = wrong_text(f"{place}.name", each.get("Name"), required=True, least=1, most=TEXT_MAX)
    wrong += wrong_text(f"{place}.value", each.get("Value"), most=TEXT_MAX)
    if each.get("Unit") not in UNITS:
        wrong.append(failed(f"{place}.unit", f"Member must satisfy enum value set: [{', '.join(UNITS)}]"))
    return wrong


def _asked(each: Mapping[str, object]) -> Asked:
    value = each.get("Value")
    if isinstance(value, str) and not _AMOUNT.fullmatch(value):
        raise refusal("InvalidParameterValueException", f"The Value of {each['Name']} must be a whole number.")
    amount = int(value) if isinstance(value, str) else None
    return Asked(name=str(each["Name"]), unit=str(each["Unit"]), amount=amount)
