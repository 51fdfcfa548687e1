"""Check the public keys with which AWS's answers are verified: that they can be read, how long they are, whether AWS
has rotated them.

Invariants:
- AWS is not asked. That a key is not the one AWS signs with, or was rotated, is known from a sidecar that runs here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from sidecar.doctor.context import Context, RunningSidecar
from sidecar.doctor.finding import Finding, failed, passed, skipped, warned
from sidecar.entitlement import token
from sidecar.errors import Problem, TokenRejected
from sidecar.settings import EntitlementCheck, PublicKey

RULE: Final = "The public key is the one AWS Marketplace shows for the product, with its version; 2048 bits or more."
REJECTED: Final = "AWS's answers do not verify with it"
FIXES: Final[Mapping[str, str]] = {
    "it is missing or cannot be read": "{problem}",
    REJECTED: "{hint}",
    "it is short": "Nothing can be changed here: the key is AWS's. The seller asks AWS Marketplace for a longer one.",
    "AWS has rotated it": "The seller ships an image with the newer key and its version; this one still works.",
}
REASONS: Final = ("token_signature", "public_key_unreadable", "invalid_public_key_version", "token_public_key_version")
"""Reasons of the gate that are about the key."""
BITS_MIN: Final = 2048


def check(context: Context) -> Finding:
    """Return version, bits and fingerprint of each key; skipped where none is needed."""
    if problems := [problem for problem in context.settings_problems if _about_key(problem)]:
        return failed(RULE, ", ".join(problem.setting for problem in problems), "\n".join(map(str, problems)))
    keys = context.public_keys
    if not keys:
        check = context.entitlement_check
        unsigned = check in (EntitlementCheck.METER_USAGE, EntitlementCheck.CHECKOUT_LICENSE)
        name = check.value if isinstance(check, EntitlementCheck) else ""
        why = f"AWS signs no answer to {name}" if unsigned else "the settings name no key that could be looked at"
        return skipped(RULE, f"there is none: {why}")
    try:
        bits = {key.version: token.public_key(key.pem).key_size for key in keys}
    except TokenRejected as exc:
        return failed(RULE, "the key is PEM that holds no usable RSA key", exc.hint)
    seen = "; ".join(f"version {key.version}: RSA, {bits[key.version]} bits, SHA-256 {_digest(key)}" for key in keys)
    return _judged(seen, min(bits.values()), context.running)


def _judged(seen: str, bits_least: int, running: RunningSidecar) -> Finding:
    entitlement = running.section("entitlement")
    reason = str(entitlement.get("reason"))
    if reason in REASONS:
        fix = FIXES[REJECTED].format(hint=entitlement.get("hint"))
        return failed(RULE, f"{seen}; the sidecar that runs here: {reason}", fix)
    if superseded_at := entitlement.get("public_key_superseded_at"):
        return warned(RULE, f"{seen}; AWS has rotated it ({superseded_at})", FIXES["AWS has rotated it"])
    if bits_least < BITS_MIN:
        return warned(RULE, seen, FIXES["it is short"])
    return passed(RULE, seen)


def _about_key(problem: Problem) -> bool:
    return "public_key" in problem.setting.lower().replace("-", "_")


def _digest(key: PublicKey) -> str:
    """Return the beginning of the digest that `openssl pkey -pubin -outform DER | sha256sum` gives for the key."""
    from base64 import b64decode

    der = b64decode("".join(line for line in key.pem.splitlines() if not line.startswith("-----")))
    return hashlib.sha256(der).hexdigest()[:12] + "…"
