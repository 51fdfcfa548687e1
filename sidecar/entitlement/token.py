"""Verify that AWS signed this answer to our registration: the `Signature` of RegisterUsage.

The rules are those of `sidecar.proof`, which the product verifies by as well.

Invariants:
- The key is the one of the version that was asked for; product code, key version and nonce are those that were sent.
- A reason may be logged. The token may not, so no error here carries any of it.
"""

from __future__ import annotations

from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from sidecar import proof
from sidecar.entitlement.registration import Registration, VerifiedRegistration
from sidecar.errors import TokenRejected
from sidecar.proof import LEEWAY, TOKEN_CHARACTERS_MAX, ProofRejected

__all__ = ["LEEWAY", "TOKEN_CHARACTERS_MAX", "public_key", "verify"]


def public_key(pem: str) -> RSAPublicKey:
    """Return the RSA key in PEM text. Raises TokenRejected `public_key_unreadable`: no token can verify."""
    try:
        return proof.public_key(pem)
    except ProofRejected as exc:
        raise TokenRejected(exc.reason, exc.hint) from exc


def verify(token: object, key: RSAPublicKey, asked: Registration, now: datetime | None) -> VerifiedRegistration:
    """Prove that AWS signed an answer to the question we asked.

    `now` is None for a kept answer, whose age does not matter: its nonce binds it.
    Raises TokenRejected with one of the reasons of `proof.check`.
    """
    try:
        proof.check(token, key, asked.expected_claims(), now)
    except ProofRejected as exc:
        raise TokenRejected(exc.reason, exc.hint) from exc
    return VerifiedRegistration(asked=asked, weak_key_bits=proof.weak_bits(key))
