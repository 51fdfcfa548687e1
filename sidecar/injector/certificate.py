"""Make the certificates with which the API server recognises the injector.

Invariants:
- Keys are ECDSA on P-256. The key of a server's certificate is kept nowhere.
- Certificates are valid from an hour ago: the API server's clock may be behind ours.

Sources: RFC 5280; Kubernetes, "Dynamic Admission Control" (the server's name is `<service>.<namespace>.svc`).
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sidecar.injector.authority import SKEW, Authority

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

AUTHORITY: Final = "entitlement-sidecar-injector"


def make_authority(now: datetime, until: datetime) -> Authority:
    """Return a new authority that signs itself."""
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    # Two authorities of one name would be taken for each other where they are both trusted.
    name = _name(f"{AUTHORITY} {now.isoformat()} {os.urandom(4).hex()}")
    signed = _authority(_builder(name, name, key.public_key(), now, until), key.public_key()).sign(key, _hash())
    return Authority(certificate=_pem(signed), key=_key_pem(key), made_at=now, until=until)


def usable(authority: Authority) -> bool:
    """Return whether the two are a certificate and its key: the Secret can be edited by hand."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        above = x509.load_pem_x509_certificate(authority.certificate.encode())
        key = serialization.load_pem_private_key(authority.key.encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == above.public_key()


def issue(authority: Authority, host: str) -> tuple[str, str]:
    """Return certificate and key, PEM, of a server of this name; valid as long as the authority is."""
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    above = x509.load_pem_x509_certificate(authority.certificate.encode())
    signer = serialization.load_pem_private_key(authority.key.encode(), password=None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise ValueError("the authority's key is of another kind")
    key = ec.generate_private_key(ec.SECP256R1())
    start, until = above.not_valid_before_utc + SKEW, above.not_valid_after_utc
    builder = _builder(_name(AUTHORITY), above.subject, key.public_key(), start, until)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return _pem(builder.add_extension(issuer, critical=False).sign(signer, _hash())), _key_pem(key)


def server_context(certificate: str, key: str) -> ssl.SSLContext:
    """Return the TLS of a server with this certificate. Raises ssl.SSLError where the two do not fit.

    A new one for each certificate: connections that are being opened keep the one that they began with.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # The ssl module reads files alone. Ours has no other name by the time that anyone could look.
    handle, path = tempfile.mkstemp()
    try:
        with os.fdopen(handle, "w") as file:
            file.write(key + certificate)
        context.load_cert_chain(path)
    finally:
        with contextlib.suppress(OSError):
            os.unlink(path)
    return context


def _name(text: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, start: datetime, until: datetime
) -> x509.CertificateBuilder:
    from cryptography import x509

    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start - SKEW).not_valid_after(until)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _authority(builder: x509.CertificateBuilder, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    from cryptography import x509

    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key), critical=False)
    return builder.add_extension(usage, critical=True)


def _hash() -> hashes.SHA256:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _pem(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
