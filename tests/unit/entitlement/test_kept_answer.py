"""A kept answer speaks for the workload that got it, and for nothing else."""

from __future__ import annotations

import json
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from sidecar.entitlement.kept_answer import FORMAT, KeptAnswer, from_text, verify_kept
from sidecar.entitlement.registration import NONCE_BYTES, ProductCode, WorkloadId, make_nonce
from sidecar.errors import TokenRejected
from sidecar.quick_dataclasses import replace
from sidecar.settings import PublicKey

from .tokens import pem, token

POD: Final = WorkloadId("pod-1")
PRODUCT: Final = ProductCode("prod1")
NONCE: Final = make_nonce(bytes(NONCE_BYTES), POD)


@pytest.fixture
def answer(key: RSAPrivateKey) -> KeptAnswer:
    """What was kept a year ago."""
    claims = {"productCode": "prod1", "publicKeyVersion": 1, "nonce": NONCE, "iat": 1_700_000_000}
    return KeptAnswer(product_code="prod1", public_key_version=1, nonce=NONCE, token=token(key, claims))


@pytest.fixture
def keys(key: RSAPrivateKey) -> tuple[PublicKey, ...]:
    return (PublicKey(version=2, pem="not looked at"), PublicKey(version=1, pem=pem(key)))


def why_not(
    answer: KeptAnswer,
    keys: tuple[PublicKey, ...],
    workload: WorkloadId = POD,
    product: ProductCode = PRODUCT,
) -> str:
    with pytest.raises(TokenRejected) as refused:
        verify_kept(answer, workload, product, keys)
    assert not answer.token or answer.token[:40] not in str(refused.value)
    return refused.value.reason


def test_a_kept_answer_proves_again_whatever_its_age(answer: KeptAnswer, keys: tuple[PublicKey, ...]) -> None:
    assert verify_kept(answer, POD, PRODUCT, keys).asked.nonce == NONCE


def test_it_proves_nothing_for_another_workload(answer: KeptAnswer, keys: tuple[PublicKey, ...]) -> None:
    assert why_not(answer, keys, workload=WorkloadId("pod-2")) == "kept_other_workload"


def test_it_proves_nothing_for_another_product(answer: KeptAnswer, keys: tuple[PublicKey, ...]) -> None:
    assert why_not(answer, keys, product=ProductCode("prod2")) == "kept_other_product"
    relabelled = replace(answer, product_code="prod2")
    assert why_not(relabelled, keys, product=ProductCode("prod2")) == "token_product_code"


def test_it_proves_nothing_once_its_key_version_is_gone(answer: KeptAnswer, keys: tuple[PublicKey, ...]) -> None:
    assert why_not(answer, keys[:1]) == "kept_other_key_version"
    assert why_not(answer, ()) == "kept_other_key_version"


def test_it_proves_nothing_under_another_key_of_that_version(answer: KeptAnswer, stranger: RSAPrivateKey) -> None:
    assert why_not(answer, (PublicKey(version=1, pem=pem(stranger)),)) == "token_signature"
    assert why_not(answer, (PublicKey(version=1, pem="junk"),)) == "public_key_unreadable"


def test_a_nonce_bound_to_the_thief_does_not_help_him(answer: KeptAnswer, keys: tuple[PublicKey, ...]) -> None:
    stolen = replace(answer, nonce=make_nonce(bytes(NONCE_BYTES), WorkloadId("pod-2")))
    assert why_not(stolen, keys, workload=WorkloadId("pod-2")) == "token_nonce"


def test_a_changed_token_proves_nothing(answer: KeptAnswer, keys: tuple[PublicKey, ...]) -> None:
    assert why_not(replace(answer, token=answer.token[:-22]), keys) == "token_signature"
    assert why_not(replace(answer, token=""), keys) == "signature_missing"


def test_it_lies_on_disk_as_one_line_and_comes_back_the_same(answer: KeptAnswer) -> None:
    text = answer.as_text()
    assert text.endswith("}\n")
    assert text.count("\n") == 1
    assert from_text(text) == answer


def test_its_repr_does_not_show_the_token(answer: KeptAnswer) -> None:
    assert answer.token[:40] not in repr(answer)


GOOD: Final = {"format": FORMAT, "product_code": "prod1", "public_key_version": 1, "nonce": NONCE, "token": "a.b.c"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "garbage",
        "null",
        "[]",
        "1",
        '"text"',
        "{}",
        "[" * 100_000,
        json.dumps(GOOD)[:-1],
        json.dumps({**GOOD, "format": 2}),
        json.dumps({**GOOD, "format": None}),
        json.dumps({name: value for name, value in GOOD.items() if name != "format"}),
        json.dumps({name: value for name, value in GOOD.items() if name != "token"}),
        json.dumps({**GOOD, "more": 1}),
        json.dumps({**GOOD, "nonce": None}),
        json.dumps({**GOOD, "nonce": 7}),
        json.dumps({**GOOD, "product_code": ["prod1"]}),
        "\0" * 100,
    ],
)
def test_what_is_no_kept_answer_is_refused_as_unreadable(text: str) -> None:
    with pytest.raises(TokenRejected) as refused:
        from_text(text)
    assert refused.value.reason == "kept_unreadable"


@pytest.mark.parametrize("other", [None, 1, ["a"], {}])
def test_a_token_of_another_type_proves_nothing(other: object, answer: KeptAnswer, keys: tuple[PublicKey, ...]) -> None:
    found = from_text(json.dumps({**json.loads(answer.as_text()), "token": other}))
    with pytest.raises(TokenRejected) as refused:
        verify_kept(found, POD, PRODUCT, keys)
    assert refused.value.reason in ("signature_missing", "token_malformed")


@pytest.mark.parametrize("version", ["1", None, 1.5, [1]])
def test_a_version_of_another_type_finds_no_key(
    version: object, answer: KeptAnswer, keys: tuple[PublicKey, ...]
) -> None:
    found = from_text(json.dumps({**json.loads(answer.as_text()), "public_key_version": version}))
    assert why_not(found, keys) == "kept_other_key_version"


def test_half_a_character_in_a_kept_nonce_is_refused_like_any_other(
    answer: KeptAnswer, keys: tuple[PublicKey, ...]
) -> None:
    found = from_text(json.dumps({**json.loads(answer.as_text()), "nonce": NONCE.partition(".")[0] + ".\ud800"}))
    assert why_not(found, keys) == "kept_other_workload"
