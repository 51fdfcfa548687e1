"""Keep the keys that sign tokens: one RSA pair per public key version, and one that stays secret.

Invariants:
- The seller gets a public key per version; a superseded version goes on signing (AWS Marketplace API
  Reference, "RegisterUsage", PublicKeyRotationTimestamp).
- Real key sizes are undocumented. AWS's Java example prints a 1024-bit key; 2048 is the default here.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import cached_property
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DEFAULT_BITS: Final = 2048
PUBLIC_EXPONENT: Final = 65537


class SigningKeys:
    """The pairs, made at start and when a version is added."""

    def __init__(self, versions: Iterable[int] = (1,), *, bits: int = DEFAULT_BITS) -> None:
        self._bits = bits
        self._lock = threading.Lock()
        self._pairs = {version: _new_pair(bits) for version in sorted(set(versions))}
        if not self._pairs or min(self._pairs) < 1:
            raise ValueError("public key versions: at least one is needed, each of at least 1")

    def versions(self) -> tuple[int, ...]:
        """Return every version, oldest first."""
        return tuple(self._pairs)

    def newest(self) -> int:
        return max(self._pairs)

    def add(self) -> int:
        """Return a new pair under the next version number."""
        with self._lock:
            version = self.newest() + 1
            self._pairs = {**self._pairs, version: _new_pair(self._bits)}
        return version

    def private(self, version: int) -> rsa.RSAPrivateKey:
        return self._pairs[version]

    @cached_property
    def stranger(self) -> rsa.RSAPrivateKey:
        """Return a key that is no version's: what a forger would sign with."""
        return _new_pair(self._bits)

    def public_pem(self, version: int) -> str:
        """Return a version's public key, PEM `PUBLIC KEY`."""
        public = self._pairs[version].public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def _new_pair(bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=PUBLIC_EXPONENT, key_size=bits)
