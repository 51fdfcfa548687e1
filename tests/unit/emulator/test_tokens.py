"""Tokens, read with another library than the one that made them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sidecar.emulator.behaviour import Algorithm, Behaviour, Claims
from sidecar.emulator.keys import SigningKeys
from sidecar.emulator.tokens import Question, claims, token

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
ASKED = Question(product_code="prod1", public_key_version=1, nonce="n-1")
CAMEL = {"productCode": "prod1", "nonce": "n-1", "publicKeyVersion": 1}
PASCAL = {"ProductCode": "prod1", "Nonce": "n-1", "PublicKeyVersion": 1}


def said(**knobs: Any) -> dict[str, object]:
    return claims(ASKED, Behaviour(**knobs), NOW)


def test_a_token_is_signed_as_aws_signs(keys: SigningKeys) -> None:
    whole = token(ASKED, keys, Behaviour(), NOW)
    assert jwt.get_unverified_header(whole) == {"alg": "PS256", "typ": "JWT"}
    decoded = jwt.decode(whole, keys.public_pem(1), algorithms=["PS256"], options={"verify_iat": False})
    assert decoded == {**CAMEL, "iat": int(NOW.timestamp())}


def test_the_salt_is_thirty_two_bytes(keys: SigningKeys) -> None:
    signed, _, signature = token(ASKED, keys, Behaviour(), NOW).rpartition(".")
    public = load_pem_public_key(keys.public_pem(1).encode())
    assert isinstance(public, rsa.RSAPublicKey)
    exactly = padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=32)
    public.verify(jwt.utils.base64url_decode(signature), signed.encode(), exactly, hashes.SHA256())


def test_each_version_has_its_own_key(keys: SigningKeys) -> None:
    whole = token(replace(ASKED, public_key_version=2), keys, Behaviour(iat=False), NOW)
    assert jwt.decode(whole, keys.public_pem(2), algorithms=["PS256"])["publicKeyVersion"] == 2
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(whole, keys.public_pem(1), algorithms=["PS256"])


def test_claims_are_spelled_as_the_knob_says() -> None:
    assert said(iat=False) == CAMEL
    assert said(iat=False, claims=Claims.PASCAL) == PASCAL
    assert said(iat=False, claims=Claims.BOTH) == {**CAMEL, **PASCAL}


def test_contradicting_claims_are_right_in_one_casing_and_wrong_in_the_other() -> None:
    both = said(iat=False, claims=Claims.CONTRADICTING)
    assert {name: both[name] for name in CAMEL} == CAMEL
    assert not {name for name in PASCAL if both[name] == PASCAL[name]}


def test_iat_can_be_moved_or_left_out() -> None:
    assert said(iat_offset_seconds=-60)["iat"] == int(NOW.timestamp()) - 60
    assert "iat" not in said(iat=False)


def test_the_version_can_be_text() -> None:
    assert said(version_as_text=True)["publicKeyVersion"] == "1"


@pytest.mark.parametrize(
    ("knob", "claim"),
    [("wrong_nonce", "nonce"), ("wrong_product", "productCode"), ("wrong_version", "publicKeyVersion")],
)
def test_a_wrong_claim_leaves_the_others_right(knob: str, claim: str) -> None:
    wrong = said(iat=False, **{knob: True})
    assert {name for name in CAMEL if wrong[name] != CAMEL[name]} == {claim}


def test_a_question_without_nonce_has_an_answer_without() -> None:
    assert "nonce" not in claims(replace(ASKED, nonce=None), Behaviour(), NOW)


def test_hs256_is_keyed_with_the_public_key_itself(keys: SigningKeys) -> None:
    whole = token(ASKED, keys, Behaviour(algorithm=Algorithm.HS256), NOW)
    signed, _, signature = whole.rpartition(".")
    hs256 = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256)
    # The library refuses to prepare a PEM as a shared secret: just what this forgery hopes is forgotten.
    assert hs256.verify(signed.encode(), keys.public_pem(1).encode(), jwt.utils.base64url_decode(signature))


def test_rs256_verifies_as_rs256_and_not_as_ps256(keys: SigningKeys) -> None:
    whole = token(ASKED, keys, Behaviour(algorithm=Algorithm.RS256, iat=False), NOW)
    jwt.decode(whole, keys.public_pem(1), algorithms=["RS256"])
    with pytest.raises(jwt.InvalidAlgorithmError):
        jwt.decode(whole, keys.public_pem(1), algorithms=["PS256"])


def test_an_unsigned_token_has_an_empty_third_part(keys: SigningKeys) -> None:
    assert token(ASKED, keys, Behaviour(algorithm=Algorithm.NONE), NOW).endswith(".")


def test_a_truncated_token_is_shorter(keys: SigningKeys) -> None:
    whole, cut = (token(ASKED, keys, Behaviour(truncated=each), NOW) for each in (False, True))
    assert len(cut) == len(whole) - 20


def test_the_key_size_of_awss_sample_can_be_had() -> None:
    small = SigningKeys((1,), bits=1024)
    public = load_pem_public_key(small.public_pem(1).encode())
    assert isinstance(public, rsa.RSAPublicKey)
    assert public.key_size == 1024


@pytest.mark.parametrize("versions", [(), (0,), (1, -1)])
def test_key_versions_begin_at_one(versions: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        SigningKeys(versions, bits=1024)
