"""Digests without OpenSSL: `hashlib` loads it, 0.6 MiB in every resident process, for what Python has itself.

Invariants:
- The same functions: `hashlib` takes BLAKE2 from there as well, and SHA-256 where there is no OpenSSL. Where a Python
  lacks one of these modules, it is `hashlib`'s.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Final, Protocol


class Digest(Protocol):
    """A digest of what it was given."""

    def update(self, data: bytes, /) -> None:
        """Add these bytes."""

    def digest(self) -> bytes:
        """Return the digest."""

    def hexdigest(self) -> str:
        """Return the digest in hexadecimal."""


def _first(name: str, *modules: str) -> Callable[..., Digest]:
    for module in modules:
        try:
            found: Callable[..., Digest] = getattr(importlib.import_module(module), name)
        except ImportError:
            continue
        return found
    raise ImportError(name)


blake2b: Final = _first("blake2b", "_blake2", "hashlib")
sha256: Final = _first("sha256", "_sha2", "_sha256", "hashlib")
"""`_sha2` since Python 3.12, `_sha256` before."""
