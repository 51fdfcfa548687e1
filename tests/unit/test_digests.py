"""Digests are hashlib's, and do not load OpenSSL."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from sidecar import digests


@pytest.mark.parametrize("data", [b"", b"a", b"\x00" * 1000])
def test_digests_are_hashlibs(data: bytes) -> None:
    assert digests.sha256(data).hexdigest() == hashlib.sha256(data).hexdigest()
    asked = {"digest_size": 16, "person": b"p", "key": b"k"}
    assert digests.blake2b(data, **asked).digest() == hashlib.blake2b(data, **asked).digest()  # type: ignore[arg-type]


def test_a_python_without_one_of_the_modules_has_hashlibs() -> None:
    assert digests._first("sha256", "no_such_module", "hashlib") is hashlib.sha256
    with pytest.raises(ImportError):
        digests._first("sha256", "no_such_module")


def test_openssl_is_not_loaded() -> None:
    code = "import sys, sidecar.digests; sys.exit(bool({'hashlib', '_hashlib', '_ssl'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
