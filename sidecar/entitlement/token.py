"""Verify that AWS signed this answer to our registration: the `Signature` of RegisterUsage.

Invariants:
- PS256 and nothing else; the token's own `alg` chooses nothing.
- The key is the one of the version that was asked for. A short key warns: AWS's own sample key has 1024 bits, and real
  sizes are not documented.
- Product code, key version and nonce must be those that were sent, under either claim casing, never under both with
  different values. A claim given twice in the JSON is refused: readers would differ.
- `iat`, `exp` and `nbf` are optional. Where a fresh answer has them, `iat` is within 15 minutes of now, `exp` not past
  and `nbf` not ahead by more than that. What is no number is refused.
- A reason may be logged. The token may not, so no error here carries any of it.

Sources: AWS Marketplace API Reference, RegisterUsage; seller guide, Java example for RegisterUsage; RFC 7515; RFC 7518
§3.5 (PS256, 2048 bits or more); RFC 7519 §4.1.4 to §4.1.6 (`exp`, `nbf`, `iat`).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import math
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from jwt.warnings import InsecureKeyLengthWarning

from sidecar.entitlement.registration import Registration, VerifiedRegistration
from sidecar.errors import TokenRejected

SIGNATURE_ALGORITHM: Final = "PS256"
TOKEN_CHARACTERS_MAX: Final = 16_384
"""A real token is under 2 000 characters; what is much larger is not one."""
LEEWAY: Final = timedelta(minutes=15)
"""Of this host's clock to AWS's, for every time in a token."""
TIME_MAX: Final = 253_402_300_799
"""The last second a datetime holds."""
KEY_BITS_MIN: Final = 2048
"""RFC 7518 §3.5."""

HINT_FORGED: Final = (
    "The answer was not signed by AWS Marketplace for this request. Check that the public key matches its"
    " version, and that nothing between here and AWS rewrites answers."
)
HINT_KEY: Final = "Ship the public key that AWS Marketplace shows for the product, unchanged."


def public_key(pem: str) -> RSAPublicKey:
    """Return the RSA key in PEM text. Raises TokenRejected `public_key_unreadable`: no token can verify."""
    try:
        key = load_pem_public_key(pem.encode("ascii"))
    except (ValueError, UnicodeError, UnsupportedAlgorithm) as exc:
        raise TokenRejected("public_key_unreadable", HINT_KEY) from exc
    if not isinstance(key, RSAPublicKey):
        raise TokenRejected("public_key_unreadable", HINT_KEY)
    return key


def verify(token: object, key: RSAPublicKey, asked: Registration, now: datetime | None) -> VerifiedRegistration:
    """Prove that AWS signed an answer to the question we asked.

    `now` is None for a kept answer, whose age does not matter: its nonce binds it.
    Raises TokenRejected with one of the reasons `signature_missing`, `token_malformed`,
    `token_algorithm`, `token_signature`, `token_product_code`, `token_public_key_version`,
    `token_nonce`, `token_contradicts_itself`, `token_iat`, `token_exp`, `token_nbf`.
    """
    if token is None or token == "":
        raise TokenRejected("signature_missing", "The answer of RegisterUsage has no Signature. " + HINT_FORGED)
    if not isinstance(token, str) or len(token) > TOKEN_CHARACTERS_MAX or not token.isascii():
        raise TokenRejected("token_malformed", HINT_FORGED)
    _check_header(token)
    claims = _signed_claims(token, key)
    for claim, wanted in asked.expected_claims().items():
        if not hmac.compare_digest(_bytes(_claim(claims, claim)), _bytes(wanted)):
            raise TokenRejected(f"token_{_snake(claim)}", HINT_FORGED)
    if now is not None:
        _check_age(claims, now)
    return VerifiedRegistration(asked=asked, weak_key_bits=key.key_size if key.key_size < KEY_BITS_MIN else None)


def _bytes(text: str) -> bytes:
    """Any text JSON can hold, half a surrogate pair included."""
    return text.encode("utf-8", "surrogatepass")


def _check_header(token: str) -> None:
    """Refuse another algorithm before any key is touched, and say so: it is the classic forgery."""
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as exc:
        raise TokenRejected("token_malformed", HINT_FORGED) from exc
    if header.get("alg") != SIGNATURE_ALGORITHM:
        raise TokenRejected("token_algorithm", HINT_FORGED)


def _signed_claims(token: str, key: RSAPublicKey) -> Mapping[str, Any]:
    """Return the payload, after its signature was found good."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InsecureKeyLengthWarning)
            jwt.api_jws.decode(token, key, algorithms=[SIGNATURE_ALGORITHM])
    except jwt.InvalidSignatureError as exc:
        raise TokenRejected("token_signature", HINT_FORGED) from exc
    except (jwt.PyJWTError, ValueError, TypeError) as exc:
        raise TokenRejected("token_malformed", HINT_FORGED) from exc
    try:
        part = token.split(".")[1]
        payload = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
        claims = json.loads(payload, object_pairs_hook=_no_duplicates)
    except (ValueError, binascii.Error, RecursionError) as exc:
        raise TokenRejected("token_malformed", HINT_FORGED) from exc
    if not isinstance(claims, dict):
        raise TokenRejected("token_malformed", HINT_FORGED)
    return claims


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise TokenRejected("token_contradicts_itself", HINT_FORGED)
    return found


def _claim(claims: Mapping[str, Any], name: str) -> str:
    """Return a claim under either casing as text; a key version may be a number or text."""
    spellings = [one for one in (name, name[0].upper() + name[1:]) if one in claims]
    values = [_as_text(claims[one], name) for one in spellings]
    if not values:
        raise TokenRejected(f"token_{_snake(name)}", HINT_FORGED)
    if len(set(values)) > 1:
        raise TokenRejected("token_contradicts_itself", HINT_FORGED)
    return values[0]


def _as_text(value: object, name: str) -> str:
    if name == "publicKeyVersion" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str):
        raise TokenRejected(f"token_{_snake(name)}", HINT_FORGED)
    return value


def _check_age(claims: Mapping[str, Any], now: datetime) -> None:
    """Refuse a token that was not issued just now, has expired, or is not valid yet."""
    least, most, today = (now - LEEWAY).timestamp(), (now + LEEWAY).timestamp(), _shown(now.timestamp())
    for claim, low, high, fault in (
        ("iat", least, most, "was issued at"),
        ("exp", least, math.inf, "expired at"),
        ("nbf", 0.0, most, "is not valid before"),
    ):
        if claim not in claims:
            continue
        at = claims[claim]
        if isinstance(at, bool) or not isinstance(at, (int, float)) or not 0 <= at < math.inf:
            raise TokenRejected(f"token_{claim}", HINT_FORGED)
        if not low <= at <= high:
            hint = f"The answer {fault} {_shown(at)}, this host says {today}: more than 15 minutes apart."
            raise TokenRejected(f"token_{claim}", f"{hint} Synchronise the node's clock.")


def _shown(seconds: float) -> str:
    """Return seconds since 1970 as a time; what no calendar holds as the last second of one."""
    return f"{datetime.fromtimestamp(min(seconds, TIME_MAX), UTC):%Y-%m-%dT%H:%M:%SZ}"


def _snake(claim: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in claim)
