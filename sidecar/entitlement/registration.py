"""Make the registration that AWS is asked for, and bind its nonce to this workload.

Invariants:
- The nonce is 32 fresh random bytes and a digest of them with the workload: the next one cannot be guessed, and an
  answer kept on disk opens only the workload that asked for it.
- Names of claims as AWS's sample code reads them (camelCase) and as its prose prints them (PascalCase).

Sources: AWS Marketplace API Reference, RegisterUsage (Nonce: up to 255 characters); seller guide, "Configuring hourly
metering with RegisterUsage".
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final, NewType

from sidecar.digests import compare_digest, sha256
from sidecar.quick_dataclasses import dataclass

ProductCode = NewType("ProductCode", str)
PublicKeyVersion = NewType("PublicKeyVersion", int)
WorkloadId = NewType("WorkloadId", str)

NONCE_BYTES: Final = 32
NONCE_DOMAIN: Final = b"entitlement-sidecar nonce 1\x00"
"""Keeps this digest from meaning anything elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Registration:
    """One RegisterUsage question."""

    product_code: ProductCode
    public_key_version: PublicKeyVersion
    nonce: str

    def expected_claims(self) -> Mapping[str, str]:
        """Claim → text it must have, in the order they are checked."""
        return {
            "productCode": self.product_code,
            "publicKeyVersion": str(self.public_key_version),
            "nonce": self.nonce,
        }


@dataclass(frozen=True, kw_only=True)
class VerifiedRegistration:
    """Proof that AWS signed an answer to `asked`. Only `token.verify` makes one."""

    asked: Registration
    weak_key_bits: int | None
    """The key's size where it is below what RFC 7518 wants (2048); None: strong enough."""


def make_nonce(random: bytes, workload: WorkloadId) -> str:
    """Return a nonce bound to `workload`. `random` is NONCE_BYTES bytes that were never used before."""
    if len(random) != NONCE_BYTES:
        raise ValueError(f"a nonce needs {NONCE_BYTES} random bytes, not {len(random)}")
    return f"{base64.urlsafe_b64encode(random).decode().rstrip('=')}.{_binding(random, workload)}"


def nonce_fits(nonce: str, workload: WorkloadId) -> bool:
    """Return whether `make_nonce` made this for `workload`."""
    head, _, binding = nonce.partition(".")
    try:
        random = base64.b64decode(head + "=" * (-len(head) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        return False
    wanted = _binding(random, workload).encode()
    return len(random) == NONCE_BYTES and compare_digest(binding.encode("utf-8", "surrogatepass"), wanted)


def _binding(random: bytes, workload: WorkloadId) -> str:
    return sha256(NONCE_DOMAIN + random + workload.encode("utf-8", "surrogatepass")).hexdigest()
