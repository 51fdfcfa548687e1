"""`verify`: 0 verified, 77 rejected, 78 without a readable key."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import jwt
import pytest

from sidecar.cli.verify import verify
from sidecar.errors import SettingsError
from tests.fakes.config import PRODUCT
from tests.fakes.keys import base64_of, body_of, elliptic_pem, private_key, private_pem, public_pem

NONCE = "a-nonce"
CLAIMS = {"productCode": PRODUCT, "publicKeyVersion": 1, "nonce": NONCE}
Capture = pytest.CaptureFixture[str]


def token(name: str = "first", algorithm: str = "PS256", bits: int = 2048, **changes: Any) -> str:
    return jwt.encode(CLAIMS | changes, private_key(name, bits), algorithm=algorithm)


@pytest.fixture
def key(tmp_path: Path) -> str:
    path = tmp_path / "key.pem"
    path.write_text(public_pem())
    return str(path)


def ends(text: str, key: str, version: int = 1, code: str = PRODUCT, nonce: str = NONCE) -> int:
    return int(verify(text, key, version, code, nonce))


def test_a_token_that_verifies_is_0(key: str, capsys: Capture) -> None:
    assert ends(token(), key) == 0
    out, err = capsys.readouterr()
    assert out == f"verified: product {PRODUCT}, public key version 1\n"
    assert err == ""


def test_an_old_token_verifies(key: str) -> None:
    assert ends(token(iat=1), key) == 0


def piped(text: str) -> io.TextIOWrapper:
    """Standard input with `text` on it."""
    return io.TextIOWrapper(io.BytesIO(text.encode()), encoding="utf-8")


@pytest.mark.parametrize("text", ["{token}", "{token}\n", "  {token}\r\n"])
def test_a_token_is_read_from_stdin(key: str, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", piped(text.replace("{token}", token())))
    assert ends("-", key) == 0


@pytest.mark.parametrize("text", ["", "\n", "nonsense", "a.b.c", "x" * 40_000])
def test_text_on_stdin_that_is_no_token_is_77(key: str, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr("sys.stdin", piped(text))
    assert ends("-", key) == 77


def test_binary_stdin_is_77(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\xff\xfe"), encoding="utf-8"))
    assert ends("-", key) == 77


def test_a_key_in_base64_is_accepted(tmp_path: Path) -> None:
    path = tmp_path / "key.b64"
    path.write_text(base64_of(public_pem()) + "\n")
    assert ends(token(), str(path)) == 0


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (lambda: token("second"), "token_signature"),
        (lambda: token(algorithm="RS256"), "token_algorithm"),
        (lambda: jwt.encode(CLAIMS, "k" * 32, algorithm="HS256"), "token_algorithm"),
        (lambda: jwt.encode(CLAIMS, None, algorithm="none"), "token_algorithm"),
        (lambda: token(productCode="other"), "token_product_code"),
        (lambda: token(publicKeyVersion=2), "token_public_key_version"),
        (lambda: token(nonce="other"), "token_nonce"),
        (lambda: token(Nonce="other"), "token_contradicts_itself"),
        (lambda: token()[:-8], ""),
        (lambda: "", "signature_missing"),
    ],
)
def test_a_token_that_does_not_verify_is_77_with_the_reason(key: str, capsys: Capture, made: Any, reason: str) -> None:
    text = made()
    assert ends(text, key) == 77
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"rejected ({reason}")
    assert not text or text.split(".")[-1] not in err or not text.split(".")[-1]
    assert text[:40] not in err or not text


@pytest.mark.parametrize("asked", [{"version": 2}, {"code": "other"}, {"nonce": "other"}, {"nonce": ""}])
def test_a_token_of_another_registration_is_77(key: str, asked: dict[str, Any]) -> None:
    assert ends(token(), key, **asked) == 77


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_short_key_is_warned_of(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "key.pem"
    path.write_text(public_pem("short", 1024))
    assert ends(token("short", bits=1024), str(path)) == 0
    assert "1024 bits" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("nothing", "not a PEM public key"),
        (private_pem(), "private key"),
        (elliptic_pem(), "not an RSA key"),
        ("é", "ascii"),
    ],
)
def test_without_a_readable_key_the_token_is_not_verified(tmp_path: Path, content: str | None, words: str) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError) as caught:
        ends(token(), str(path))
    assert words in str(caught.value)
    assert body_of(private_pem()) not in str(caught.value)


def test_a_malformed_key_is_a_settings_error(tmp_path: Path) -> None:
    inside = base64.b64decode("".join(public_pem().splitlines()[1:-1]))
    broken = base64.b64encode(inside[:60]).decode()
    path = tmp_path / "key.pem"
    path.write_text(f"-----BEGIN PUBLIC KEY-----\n{broken}\n-----END PUBLIC KEY-----\n")
    with pytest.raises(SettingsError):
        ends(token(), str(path))
