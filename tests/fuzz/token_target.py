"""Verify tokens, and have what is accepted verified by two other libraries.

An input is a token as it is, or `S`, then a header, a payload and an edit, a line each: they are signed, and then the
edit is applied, so that the search goes behind the signature too. The edit is two bytes (a position) and what stands
there instead.

Invariants:
- What `proof.check` accepts, PyJWT's `decode` and joserfc accept with the same claims. PyJWT is given the same leeway,
  and does not check `aud`, `sub` and `jti`, which mean nothing here. joserfc ignores header parameters that it does not
  know, as RFC 7515, section 4, asks, and not only those that it does; it bounds a header at the length of our tokens.
"""

from __future__ import annotations

import base64
import json
import warnings
from datetime import UTC, datetime
from functools import cache, lru_cache

import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwk, jws

from sidecar import proof
from sidecar.proof import LEEWAY, SIGNATURE_ALGORITHM, TOKEN_CHARACTERS_MAX, ProofRejected

EXPECTED = {"productCode": "prod1", "publicKeyVersion": "1", "nonce": "n"}
KEY_BITS = 1024
"""Half of AWS's: a third of the time to sign, and nothing that is searched depends on it."""
UNREAD = {"verify_aud": False, "verify_sub": False, "verify_jti": False}


class Registry(jws.JWSRegistry):
    max_header_length = TOKEN_CHARACTERS_MAX


REGISTRY = Registry(algorithms=[SIGNATURE_ALGORITHM], strict_check_header=False)
NOW = b"@NOW@"
"""Stands for the current time in a payload, in seconds."""


class Disagreement(AssertionError):
    """A token is accepted here that another library refuses, or reads otherwise."""


@cache
def key() -> rsa.RSAPrivateKey:
    """Return this process's key. None is kept on disk: the inputs hold what is signed, not signatures."""
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


@cache
def _public_jwk() -> jwk.RSAKey:
    pem = key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return jwk.RSAKey.import_key(pem)


@lru_cache(maxsize=256)
def signed(header: bytes, payload: bytes) -> str:
    """Return the token of these bytes."""
    message = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, payload))
    pss = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    signature = key().sign(message, pss, hashes.SHA256())
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
    public = key().public_key()
    try:
        proof.check(token, public, EXPECTED, now)
    except ProofRejected:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            claims = jwt.decode(token, public, algorithms=[SIGNATURE_ALGORITHM], leeway=LEEWAY, options=UNREAD)
        except Exception as error:
            raise Disagreement(f"PyJWT refuses: {error!r}") from error
        try:
            found = jws.deserialize_compact(token, _public_jwk(), registry=REGISTRY)
        except Exception as error:
            raise Disagreement(f"joserfc refuses: {error!r}") from error
    if json.loads(found.payload) != claims:
        raise Disagreement("joserfc reads other claims")
