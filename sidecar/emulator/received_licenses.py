"""Answer ListReceivedLicenses, GetLicense and GetLicenseUsage: what an account may look at.

Invariants (License Manager service model):
- A license that an account received is shown whatever its grant entitles to; other accounts' licenses are not there.
- MaxCount is a number in a license and text in its usage.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.callers import Caller
from sidecar.emulator.checkout_license import TEXT_MAX, written
from sidecar.emulator.constraints import failed, invalid, wrong_text
from sidecar.emulator.licenses import Entitlement, Grant, License
from sidecar.emulator.refusals import refusal
from sidecar.emulator.state import EmulatorState

LIST: Final = "ListReceivedLicenses"
GET: Final = "GetLicense"
USAGE: Final = "GetLicenseUsage"
PAGE_MAX: Final = 100
FILTERS: Final = ("ProductSKU", "Status", "Fingerprint", "IssuerName", "Beneficiary")
BUYER_OPERATIONS: Final = (
    *("CreateGrant", "CheckoutLicense", "CheckInLicense", "ExtendConsumptionLicense", "CreateToken"),
    "ListReceivedLicenses",
)


def list_received(
    emulated: EmulatorState,
    caller: Caller,
    region: str,
    body: Mapping[str, object],
    behaviour: Behaviour,
    now: datetime,
) -> dict[str, object]:
    """Return one page of the account's licenses. Raises Refusal."""
    size, start = _page(body)
    wanted = _filters(body)
    arns = body.get("LicenseArns")
    with emulated.lock:
        shown = [
            {**_license(each, caller.account, behaviour, now), "ReceivedMetadata": _received(grant)}
            for each, grant in emulated.licenses.granted(caller.account)
            if (not isinstance(arns, list) or each.arn in arns) and _fits(each, caller.account, wanted, now)
        ]
    more = {"NextToken": str(start + size)} if start + size < len(shown) else {}
    return {"Licenses": shown[start : start + size], **more}


def get(
    emulated: EmulatorState,
    caller: Caller,
    region: str,
    body: Mapping[str, object],
    behaviour: Behaviour,
    now: datetime,
) -> dict[str, object]:
    """Return one license in its present version. Raises Refusal."""
    with emulated.lock:
        found = _one(emulated, caller, body)
        if body.get("Version") not in (None, str(found.version)):
            raise refusal("InvalidParameterValueException", f"The license's version is {found.version}.")
        return {"License": _license(found, caller.account, behaviour, now)}


def usage(
    emulated: EmulatorState,
    caller: Caller,
    region: str,
    body: Mapping[str, object],
    behaviour: Behaviour,
    now: datetime,
) -> dict[str, object]:
    """Return how much of each entitlement is out. Raises Refusal."""
    with emulated.lock:
        found = _one(emulated, caller, body)
        used = [
            {
                "Name": each.name,
                "ConsumedValue": str(emulated.licenses.used(found.id, each.name, now)),
                "Unit": each.unit,
                **({} if each.max_count is None else {"MaxCount": str(each.max_count)}),
            }
            for each in found.entitlements
        ]
    return {"LicenseUsage": {"EntitlementUsages": used}}


def _one(emulated: EmulatorState, caller: Caller, body: Mapping[str, object]) -> License:
    wrong = wrong_text("licenseArn", body.get("LicenseArn"), required=True, least=1, most=TEXT_MAX)
    if wrong:
        raise invalid(wrong)
    found = emulated.licenses.by_arn(body["LicenseArn"])
    if found is None or caller.account not in found.grants:
        raise refusal("InvalidParameterValueException", f"Account {caller.account} holds no such license.")
    return found


def _license(held: License, account: str, behaviour: Behaviour, now: datetime) -> dict[str, object]:
    validity = {"Begin": written(held.valid_from, behaviour)}
    if held.valid_until is not None:
        validity["End"] = written(held.valid_until, behaviour)
    return {
        "LicenseArn": held.arn,
        "LicenseName": held.name,
        "ProductName": held.name,
        "ProductSKU": held.sku,
        "Issuer": {"Name": held.issuer, "KeyFingerprint": held.fingerprint},
        "HomeRegion": held.home_region,
        "Status": held.status_at(now).value,
        "Validity": validity,
        "Beneficiary": account,
        "Entitlements": [_entitlement(each) for each in held.entitlements],
        "ConsumptionConfiguration": {
            "RenewType": "None",
            "ProvisionalConfiguration": {"MaxTimeToLiveInMinutes": held.ttl_minutes},
        },
        "CreateTime": written(held.created_at, behaviour),
        "Version": str(held.version),
    }


def _entitlement(each: Entitlement) -> dict[str, object]:
    optional = {"Value": each.value, "MaxCount": each.max_count}
    return {
        "Name": each.name,
        "Unit": each.unit,
        "Overage": each.overage,
        "AllowCheckIn": each.allow_check_in,
        **{name: value for name, value in optional.items() if value is not None},
    }


def _received(grant: Grant) -> dict[str, object]:
    operations = BUYER_OPERATIONS if grant.entitles else ("ListReceivedLicenses",)
    return {
        "ReceivedStatus": grant.status.value,
        "AllowedOperations": list(operations),
        "GrantType": grant.type.value,
    }


def _page(body: Mapping[str, object]) -> tuple[int, int]:
    size, start = body.get("MaxResults"), body.get("NextToken")
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= PAGE_MAX):
        raise invalid([failed("maxResults", f"Member must be between 1 and {PAGE_MAX}")])
    if start is not None and not (isinstance(start, str) and start.isdigit()):
        raise refusal("InvalidParameterValueException", "There is no such page.")
    return (size if isinstance(size, int) else PAGE_MAX), int(start or 0)


def _filters(body: Mapping[str, object]) -> dict[str, list[object]]:
    """Return the values of each filter. Raises Refusal for one that does not exist."""
    given = body.get("Filters")
    found: dict[str, list[object]] = {}
    for each in given if isinstance(given, list) else []:
        name = each.get("Name") if isinstance(each, dict) else None
        if name not in FILTERS:
            raise refusal("InvalidParameterValueException", f"There is no filter {name}.")
        found[name] = list(each.get("Values") or [])
    return found


def _fits(held: License, account: str, wanted: Mapping[str, list[object]], now: datetime) -> bool:
    values = {
        "ProductSKU": held.sku,
        "Status": held.status_at(now).value,
        "Fingerprint": held.fingerprint,
        "IssuerName": held.issuer,
        "Beneficiary": account,
    }
    return all(values[name] in allowed for name, allowed in wanted.items())
