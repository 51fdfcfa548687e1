"""Tokens put together by hand from RFC 7515, so that a mistake of the verifier cannot agree with itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.entitlement.registration import ProductCode, PublicKeyVersion, Registration

NOW: Final = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NONCE: Final = "bm9uY2Utb2Ytb3Vycw.0123456789abcdef"
ASKED: Final = Registration(product_code=ProductCode("prod1"), public_key_version=PublicKeyVersion(1), nonce=NONCE)
HEADER: Final = {"alg": "PS256", "typ": "JWT"}
CLAIMS: Final[Mapping[str, object]] = {
    "productCode": "prod1",
    "publicKeyVersion": 1,
    "nonce": NONCE,
    "iat": int(NOW.timestamp()),
}
PASCAL: Final[Mapping[str, object]] = {"ProductCode": "prod1", "PublicKeyVersion": 1, "Nonce": NONCE}

Sign = Callable[[RSAPrivateKey, bytes], bytes]


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def unb64(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("utf-8")


def pss(algorithm: hashes.HashAlgorithm, salt: int) -> Sign:
    def sign(key: RSAPrivateKey, data: bytes) -> bytes:
        return key.sign(data, padding.PSS(mgf=padding.MGF1(algorithm), salt_length=salt), algorithm)

    return sign


ps256: Final = pss(hashes.SHA256(), 32)
ps384: Final = pss(hashes.SHA384(), 48)


def rs256(key: RSAPrivateKey, data: bytes) -> bytes:
    return key.sign(data, padding.PKCS1v15(), hashes.SHA256())


def hs256(key: RSAPrivateKey, data: bytes) -> bytes:
    """The classic confusion: the public key, which everyone has, as a shared secret."""
    return hmac.new(pem(key).encode("ascii"), data, hashlib.sha256).digest()


def unsigned(_key: RSAPrivateKey, _data: bytes) -> bytes:
    return b""


def pem(key: RSAPrivateKey) -> str:
    public = key.public_key()
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def token(
    key: RSAPrivateKey,
    claims: Mapping[str, object] | bytes | list[object] = CLAIMS,
    header: Mapping[str, object] | bytes = HEADER,
    sign: Sign = ps256,
) -> str:
    """Three parts. Claims and header may be raw bytes, where JSON could not say it."""
    head, body = (b64(each if isinstance(each, bytes) else compact(each)) for each in (header, claims))
    signed = f"{head}.{body}"
    return f"{signed}.{b64(sign(key, signed.encode('ascii')))}"


def without(name: str) -> dict[str, object]:
    return {key: value for key, value in CLAIMS.items() if key != name}
