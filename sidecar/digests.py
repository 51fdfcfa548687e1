"""Digests without OpenSSL: `hashlib` and `hmac` load it, 0.7 MiB in every resident process, for what Python has itself.

Invariants:
- The functions come from Python's own modules in C. BLAKE2 is the one that `hashlib` has, too; SHA-1, SHA-256 and the
  comparison are those that `hashlib` and `hmac` take where there is no OpenSSL. Where a Python lacks one of these
  modules, its function is `hashlib`'s or `hmac`'s.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final, Protocol, Self


class Digest(Protocol):
    """A digest of what it was given."""

    def update(self, data: bytes, /) -> None:
        """Add these bytes."""

    def copy(self) -> Self:
        """Return another one, which was given the same."""

    def digest(self) -> bytes:
        """Return the digest."""

    def hexdigest(self) -> str:
        """Return the digest in hexadecimal."""


def _first(*places: str) -> Any:
    for module, _, name in (place.partition(".") for place in places):
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError):
            continue
    raise ImportError(" or ".join(places))


blake2b: Final[Callable[..., Digest]] = _first("_blake2.blake2b", "hashlib.blake2b")
sha1: Final[Callable[..., Digest]] = _first("_sha1.sha1", "hashlib.sha1")
"""For names alone: nothing that must hold against an attacker."""
sha256: Final[Callable[..., Digest]] = _first("_sha2.sha256", "_sha256.sha256", "hashlib.sha256")
"""`_sha2` since Python 3.12, `_sha256` before."""
compare_digest: Final[Callable[[bytes, bytes], bool]] = _first("_operator._compare_digest", "hmac.compare_digest")
"""Takes as long whichever byte is the first to differ."""
