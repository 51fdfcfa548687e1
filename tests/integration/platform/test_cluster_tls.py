"""The TLS to the Kubernetes API, against a server with a certificate of its own authority."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sidecar.platform.cluster_tls import cluster_tls

CREATE = ssl.create_default_context


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> None:
    """Connect and shake hands. Raises what the client raises."""
    here, there = socket.socketpair()

    def serve() -> None:
        try:
            server.wrap_socket(there, server_side=True).close()
        except OSError:
            there.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with client.wrap_socket(here, server_hostname=name) as connected:
            assert connected.version()
    finally:
        here.close()
        thread.join()


def authority_and_server(directory: Path) -> ssl.SSLContext:
    """Write a `ca.crt` without key identifiers, as old clusters have it. Returns the TLS of a server by it."""
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("kubernetes", "kube-apiserver")]
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in names]
    days = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
    made = [
        x509.CertificateBuilder(names[0], name, key.public_key(), x509.random_serial_number(), *days)
        .add_extension(x509.BasicConstraints(ca=name is names[0], path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(keys[0], hashes.SHA256())
        for name, key in zip(names, keys, strict=True)
    ]
    pems = [one.public_bytes(Encoding.PEM) for one in made]
    secret = keys[1].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "ca.crt").write_bytes(pems[0])
    (directory / "server.pem").write_bytes(pems[1] + secret)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.pem")
    return context


@pytest.fixture
def server(tmp_path: Path) -> ssl.SSLContext:
    return authority_and_server(tmp_path)


@pytest.fixture(params=["as this Python has it", "as Python 3.13 has it"])
def default(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `ssl` gives by default, here and in later versions."""

    def strict(*arguments: Any, **more: Any) -> ssl.SSLContext:
        context = CREATE(*arguments, **more)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    if "3.13" in request.param:
        monkeypatch.setattr(ssl, "create_default_context", strict)


@pytest.mark.usefixtures("default")
def test_an_authority_without_key_identifiers_is_accepted(server: ssl.SSLContext, tmp_path: Path) -> None:
    handshake(server, cluster_tls(tmp_path), "127.0.0.1")


def test_the_certificate_of_these_tests_is_one_that_python_3_13_refuses(server: ssl.SSLContext, tmp_path: Path) -> None:
    strict = CREATE(cafile=str(tmp_path / "ca.crt"))
    strict.verify_flags |= ssl.VERIFY_X509_STRICT
    with pytest.raises(ssl.SSLCertVerificationError, match=r"Missing (Authority|Subject) Key Identifier"):
        handshake(server, strict, "127.0.0.1")


@pytest.mark.usefixtures("default")
def test_another_authority_is_refused(server: ssl.SSLContext, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    authority_and_server(other)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(server, cluster_tls(other), "127.0.0.1")


@pytest.mark.usefixtures("default")
def test_another_name_is_refused(server: ssl.SSLContext, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        handshake(server, cluster_tls(tmp_path), "127.0.0.2")


def test_a_mount_without_ca_crt_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        cluster_tls(tmp_path)
