"""Make RSA and elliptic keys, each once."""

from __future__ import annotations

import base64
import functools

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def private_key(name: str = "first", bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key, the same for the same name and size."""
    return _made(name, bits)


@functools.cache
def _made(_name: str, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@functools.cache
def public_pem(name: str = "first", bits: int = 2048) -> str:
    key = private_key(name, bits).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@functools.cache
def pkcs1_pem(name: str = "first") -> str:
    return private_key(name).public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1).decode()


@functools.cache
def private_pem(name: str = "first") -> str:
    return private_key(name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@functools.cache
def elliptic_pem() -> str:
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def base64_of(pem: str) -> str:
    return base64.b64encode(pem.encode()).decode()


def body_of(pem: str) -> str:
    """A piece of a key's text that no message may hold."""
    return pem.splitlines()[2]
