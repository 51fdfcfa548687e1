"""Digests are hashlib's, their comparison is hmac's, and neither loads OpenSSL."""

from __future__ import annotations

import hashlib
import hmac
import subprocess
import sys

import pytest

from sidecar import digests


@pytest.mark.parametrize("data", [b"", b"a", b"\x00" * 1000])
def test_digests_are_hashlibs(data: bytes) -> None:
    assert digests.sha256(data).hexdigest() == hashlib.sha256(data).hexdigest()
    assert digests.sha1(data).digest() == hashlib.sha1(data, usedforsecurity=False).digest()
    asked = {"digest_size": 16, "person": b"p", "key": b"k"}
    assert digests.blake2b(data, **asked).digest() == hashlib.blake2b(data, **asked).digest()  # type: ignore[arg-type]


def test_a_python_without_one_of_the_modules_has_hashlibs() -> None:
    assert digests._first("no_such_module.sha256", "_sha1.sha256", "hashlib.sha256") is hashlib.sha256
    with pytest.raises(ImportError, match=r"no_such_module\.sha256"):
        digests._first("no_such_module.sha256")


@pytest.mark.parametrize(("one", "other"), [(b"abc", b"abc"), (b"abc", b"abx"), (b"abc", b"abcd"), (b"", b"")])
def test_the_comparison_is_hmacs(one: bytes, other: bytes) -> None:
    assert digests.compare_digest(one, other) == hmac.compare_digest(one, other) == (one == other)


def test_openssl_is_not_loaded() -> None:
    code = "import sys, sidecar.digests; sys.exit(bool({'hashlib', '_hashlib', '_ssl', 'hmac'} & set(sys.modules)))"
    # Without an environment: coverage, where it measures, would load it.
    assert subprocess.run([sys.executable, "-c", code], env={}, check=False).returncode == 0
