"""Answer RegisterUsage: whether this workload may run, and with which token.

Elsewhere: who is calling and whether IAM lets them (`callers`, `metering_api`), what the token looks
like (`tokens`).

Invariants (AWS Marketplace API Reference, "RegisterUsage"; seller guide,
`container-metering-registerusage`):
- Order of precedence, which AWS does not document: disabled API, platform, region, parameters, product
  code, public key version, entitlement.
- Not-entitled and unsupported-platform come only on the first call of a workload: one that has registered
  a product is never refused for either again, even after its account unsubscribes.
- Asking again after a denial in the same workload is undocumented: `reask` plays both readings.
- A superseded key version still answers, and PublicKeyRotationTimestamp is then set (Unix seconds);
  otherwise the field is null.
- Limits are the service model's: nonce up to 255 characters, version at least 1, product code up to 255
  of `-a-zA-Z0-9/=:_.@`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sidecar.emulator.behaviour import Behaviour, Platform, Reask
from sidecar.emulator.callers import Caller
from sidecar.emulator.constraints import failed, invalid, wrong_product_code, wrong_text
from sidecar.emulator.refusals import Refusal, refusal
from sidecar.emulator.state import EmulatorState, Registered
from sidecar.emulator.tokens import Question, token

OPERATION: Final = "RegisterUsage"
NONCE_CHARACTERS_MAX: Final = 255


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What AWS knows when the request comes."""

    product_codes: Collection[str]
    key_versions: Collection[int]
    subscribed: bool
    registered: bool
    """This workload registered this product before."""
    denied: bool
    """This workload was told before that it is not entitled to this product."""
    behaviour: Behaviour


def answer(
    emulated: EmulatorState,
    caller: Caller,
    region: str,
    body: Mapping[str, object],
    behaviour: Behaviour,
    now: datetime,
) -> dict[str, object]:
    """Return the response members. `region` is the one the request was signed for. Raises Refusal."""
    place = Registered(workload=caller.workload, product_code=str(body.get("ProductCode")))
    with emulated.lock:
        try:
            question = judge(caller, region, body, _circumstances(emulated, caller, place, behaviour))
        except Refusal as refused:
            if refused.code == "CustomerNotEntitledException":
                emulated.denied.add(place)
            raise
        emulated.registered.setdefault(place, now)
    superseded = question.public_key_version in behaviour.superseded
    return {
        "Signature": token(question, emulated.keys, behaviour, now),
        "PublicKeyRotationTimestamp": int(emulated.started_at.timestamp()) if superseded else None,
    }


def judge(caller: Caller, region: str, body: Mapping[str, object], known: Circumstances) -> Question:
    """Return the request's claims, when it is granted. Raises Refusal for the first rule that denies it."""
    if known.behaviour.disabled:
        raise refusal("DisabledApiException")
    if caller.platform in (Platform.NONE, Platform.AGENTCORE) and not known.registered:
        raise refusal("PlatformNotSupportedException")
    _check_region(caller, region, known.behaviour)
    question = _question(body)
    if question.product_code not in known.product_codes:
        raise refusal("InvalidProductCodeException", "The product code does not match the product.")
    if question.public_key_version not in known.key_versions:
        raise refusal("InvalidPublicKeyVersionException", "Public Key version is invalid.")
    if not known.registered:
        _check_entitlement(caller, question, known)
    return question


def _check_region(caller: Caller, region: str, behaviour: Behaviour) -> None:
    for called in (region, behaviour.region):
        if called != caller.region:
            raise refusal(
                "InvalidRegionException",
                f"RegisterUsage must be called in the Region the workload runs in: {caller.region}, not {called}.",
            )


def _check_entitlement(caller: Caller, question: Question, known: Circumstances) -> None:
    if not known.subscribed:
        raise refusal(
            "CustomerNotEntitledException",
            f"Account {caller.account} has no valid subscription to product {question.product_code}.",
        )
    if known.denied and known.behaviour.reask is Reask.STICKY:
        raise refusal("CustomerNotEntitledException", "This workload was found not entitled when it started.")


def _question(body: Mapping[str, object]) -> Question:
    """Return the parameters, or one ValidationException that lists everything wrong with them."""
    code, version, nonce = body.get("ProductCode"), body.get("PublicKeyVersion"), body.get("Nonce")
    wrong = [
        *wrong_product_code(code),
        *_wrong_version(version),
        *wrong_text("nonce", nonce, most=NONCE_CHARACTERS_MAX),
    ]
    if wrong or not isinstance(code, str) or not isinstance(version, int):
        raise invalid(wrong)
    return Question(product_code=code, public_key_version=version, nonce=nonce if isinstance(nonce, str) else None)


def _wrong_version(version: object) -> list[str]:
    if version is None:
        return [failed("publicKeyVersion", "Member must not be null")]
    if isinstance(version, bool) or not isinstance(version, int):
        return [failed("publicKeyVersion", "Member must be an integer")]
    if version < 1:
        return [failed("publicKeyVersion", "Member must have value greater than or equal to 1")]
    return []


def _circumstances(emulated: EmulatorState, caller: Caller, place: Registered, behaviour: Behaviour) -> Circumstances:
    return Circumstances(
        product_codes=emulated.product_codes,
        key_versions=emulated.keys.versions(),
        subscribed=(caller.account, place.product_code) in emulated.subscriptions,
        registered=place in emulated.registered,
        denied=place in emulated.denied,
        behaviour=behaviour,
    )
