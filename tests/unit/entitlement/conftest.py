"""Keys, made once."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey


@pytest.fixture(scope="session")
def key() -> RSAPrivateKey:
    """The seller's key at AWS."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def stranger() -> RSAPrivateKey:
    """A forger's key."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="session")
def short_key() -> RSAPrivateKey:
    """A key as short as the one of AWS's sample."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)
