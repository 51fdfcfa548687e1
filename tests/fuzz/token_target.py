"""Verify tokens, and have what is accepted verified by two other libraries.

An input is a token as it is, or `S`, then a header, a payload and an edit, a line each: they are signed, and then the
edit is applied, so that the search goes behind the signature too. The edit is two bytes (a position) and what stands
there instead.

Invariants:
- What `proof.check` accepts, PyJWT's `decode` and joserfc's `decode` with a `JWTClaimsRegistry` accept too, with the
  same claims. Both are used as their documentation shows, but for this:
- Both get 15 minutes of leeway. The contract of `sidecar.proof` grants them: a host's clock may differ from AWS's.
- PyJWT is told that it is the token's audience, whatever `aud` says. AWS documents no `aud`; it names the product by
  the claim `productCode`, which is checked. Its type is checked.
- joserfc ignores header parameters that it does not know, as RFC 7515, section 4, requires, and bounds a header at the
  length of our tokens, and not at 512 bytes.
"""

from __future__ import annotations

import base64
import warnings
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwk, jws
from joserfc import jwt as joserfc_jwt

from sidecar import proof
from sidecar.proof import LEEWAY, SIGNATURE_ALGORITHM, TOKEN_CHARACTERS_MAX

EXPECTED = {"productCode": "prod1", "publicKeyVersion": "1", "nonce": "n"}
KEY_BITS = 1024
"""Half of AWS's: a third of the time to sign, and nothing that is searched depends on it."""


class Registry(jws.JWSRegistry):
    max_header_length = TOKEN_CHARACTERS_MAX


REGISTRY = Registry(algorithms=[SIGNATURE_ALGORITHM], strict_check_header=False)
NOW = b"@NOW@"
"""Stands for the current time in a payload, in seconds."""


class Disagreement(AssertionError):
    """A token is accepted here that another library refuses, or reads otherwise."""


def key(version: int = 1) -> rsa.RSAPrivateKey:
    """Return this process's key of a version. None is on disk: the inputs hold what is signed, not signatures."""
    return _key(version)


@cache
def _key(version: int) -> rsa.RSAPrivateKey:
    del version
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def public_pem(version: int = 1) -> str:
    """Return the public key as a product ships it."""
    return key(version).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@cache
def _public_jwk() -> jwk.RSAKey:
    return jwk.RSAKey.import_key(public_pem())


@lru_cache(maxsize=256)
def signed(header: bytes, payload: bytes, version: int = 1) -> str:
    """Return the token of these bytes."""
    message = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    signature = key(version).sign(message, pss, hashes.SHA256())
    return (message + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def token_of(data: bytes, now: datetime) -> str:
    """Return the token that an input stands for."""
    if not data.startswith(b"S"):
        return data.decode("utf-8", "surrogateescape")
    header, _, rest = data[1:].partition(b"\n")
    payload, _, edit = rest.partition(b"\n")
    token = signed(header, payload.replace(NOW, str(int(now.timestamp())).encode()))
    if len(edit) < 3:
        return token
    at = int.from_bytes(edit[:2]) % (len(token) + 1)
    words = edit[2:].decode("utf-8", "surrogateescape")
    return token[:at] + words + token[at + len(words) :]


def run(data: bytes) -> None:
    """Raise Disagreement where another library refuses what is accepted here."""
    now = datetime.now(UTC)
    token = token_of(data, now)
    try:
        proof.check(token, key().public_key(), EXPECTED, now)
    except proof.ProofRejected:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the key is short
        found = _by_joserfc(token)
        if _by_pyjwt(token, found.get("aud")) != found:
            raise Disagreement("joserfc reads other claims")


def _by_joserfc(token: str) -> dict[str, Any]:
    try:
        found = joserfc_jwt.decode(token, _public_jwk(), [SIGNATURE_ALGORITHM], REGISTRY)
        joserfc_jwt.JWTClaimsRegistry(leeway=int(LEEWAY.total_seconds())).validate(found.claims)
    except Exception as error:
        raise Disagreement(f"joserfc refuses: {error!r}") from error
    return found.claims


def _by_pyjwt(token: str, audience: Any) -> dict[str, Any]:
    try:
        return jwt.decode(
            token, key().public_key(), algorithms=[SIGNATURE_ALGORITHM], leeway=LEEWAY, audience=audience or None
        )
    except Exception as error:
        raise Disagreement(f"PyJWT refuses: {error!r}") from error
