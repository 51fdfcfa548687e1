"""Sign the token of RegisterUsage, true by default and forged on request.

Elsewhere: whether there is an answer at all (`register_usage`).

Invariants:
- Three base64url parts, header `{"alg": "PS256", "typ": "JWT"}`: RSASSA-PSS with SHA-256, MGF1-SHA-256
  and a 32-byte salt (RFC 7518, section 3.5; seller guide, `java-integration-example-registerusage`).
- Claims are product code, nonce and public key version as asked, and `iat`. Without a nonce in the
  question there is none in the answer; AWS does not document that case.
- Tokens are put together here by hand, from RFC 7515, and not with the library that clients verify with:
  its mistakes would otherwise agree with themselves.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, assert_never

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from sidecar.emulator.behaviour import Algorithm, Behaviour, Claims
from sidecar.emulator.keys import SigningKeys

SALT_BYTES: Final = 32
CUT_CHARACTERS: Final = 20
"""How much of its end a truncated token loses."""

PASCAL: Final[Mapping[str, str]] = {
    "productCode": "ProductCode",
    "nonce": "Nonce",
    "publicKeyVersion": "PublicKeyVersion",
}
"""The spelling of AWS's prose, by that of AWS's code."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """The valid parameters of a RegisterUsage request."""

    product_code: str
    public_key_version: int
    nonce: str | None = None


HOUR_SECONDS: Final = 3600


def token(question: Question, keys: SigningKeys, behaviour: Behaviour, now: datetime) -> str:
    """Return the signed answer, as the behaviour wants it."""
    head = _part({"alg": behaviour.algorithm.value, "typ": "JWT"})
    signed = f"{head}.{_part(claims(question, behaviour, now))}"
    signature = _signature(signed.encode("ascii"), question.public_key_version, keys, behaviour)
    whole = f"{signed}.{_base64url(signature)}"
    return whole[:-CUT_CHARACTERS] if behaviour.truncated else whole


def claims(question: Question, behaviour: Behaviour, now: datetime) -> dict[str, object]:
    """Return the token's payload."""
    version = question.public_key_version + (1 if behaviour.wrong_version else 0)
    true: dict[str, object] = {
        "productCode": question.product_code + ("-other" if behaviour.wrong_product else ""),
        "nonce": secrets.token_hex(32) if behaviour.wrong_nonce else question.nonce,
        "publicKeyVersion": str(version) if behaviour.version_as_text else version,
    }
    spelled = _spelled({name: value for name, value in true.items() if value is not None}, behaviour.claims)
    if behaviour.iat:
        spelled["iat"] = int(now.timestamp() + behaviour.iat_offset_seconds)
    if behaviour.exp_past:
        spelled["exp"] = int(now.timestamp()) - HOUR_SECONDS
    if behaviour.nbf_ahead:
        spelled["nbf"] = int(now.timestamp()) + HOUR_SECONDS
    return spelled


def _spelled(camel: Mapping[str, object], casing: Claims) -> dict[str, object]:
    pascal = {PASCAL[name]: value for name, value in camel.items()}
    match casing:
        case Claims.CAMEL:
            return dict(camel)
        case Claims.PASCAL:
            return pascal
        case Claims.BOTH:
            return {**camel, **pascal}
        case Claims.CONTRADICTING:
            return {**camel, **{name: f"{value}-contradicted" for name, value in pascal.items()}}
        case _:
            assert_never(casing)


def _signature(data: bytes, version: int, keys: SigningKeys, behaviour: Behaviour) -> bytes:
    private = keys.stranger if behaviour.wrong_key else keys.private(version)
    match behaviour.algorithm:
        case Algorithm.PS256:
            pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=SALT_BYTES)
            return private.sign(data, pss, hashes.SHA256())
        case Algorithm.RS256:
            return private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        case Algorithm.HS256:
            # The classic confusion: the public key, which everyone has, taken as a shared secret.
            return hmac.new(keys.public_pem(version).encode("ascii"), data, hashlib.sha256).digest()
        case Algorithm.NONE:
            return b""
        case _:
            assert_never(behaviour.algorithm)


def _part(value: Mapping[str, object]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode("utf-8"))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
