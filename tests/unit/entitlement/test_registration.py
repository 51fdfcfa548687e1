"""The nonce is ours, fresh, and bound to one workload."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.entitlement.registration import (
    NONCE_BYTES,
    NONCE_DOMAIN,
    ProductCode,
    PublicKeyVersion,
    Registration,
    VerifiedRegistration,
    WorkloadId,
    make_nonce,
    nonce_fits,
)

from .tokens import b64

POD = WorkloadId("2f1c7d52-6f6b-4f0e-9d0a-0e2a8f7b1c11")
OTHER = WorkloadId("2f1c7d52-6f6b-4f0e-9d0a-0e2a8f7b1c12")
RANDOM = bytes(range(NONCE_BYTES))


def test_a_nonce_is_the_random_bytes_and_a_digest_of_them_with_the_workload() -> None:
    head, binding = make_nonce(RANDOM, POD).split(".")
    assert head == b64(RANDOM)
    assert binding == hashlib.sha256(b"entitlement-sidecar nonce 1\x00" + RANDOM + POD.encode()).hexdigest()


def test_a_nonce_fits_aws_for_the_longest_workload_names() -> None:
    arn = WorkloadId("arn:aws-us-gov:ecs:us-gov-west-1:123456789012:task/" + "c" * 255 + "/" + "0" * 32)
    assert len(make_nonce(RANDOM, arn)) <= 255


def test_other_random_bytes_make_another_nonce() -> None:
    assert make_nonce(RANDOM, POD) != make_nonce(bytes(NONCE_BYTES), POD)


@pytest.mark.parametrize("size", [0, 16, NONCE_BYTES - 1, NONCE_BYTES + 1, 64])
def test_too_few_or_too_many_random_bytes_make_no_nonce(size: int) -> None:
    with pytest.raises(ValueError, match=str(NONCE_BYTES)):
        make_nonce(os.urandom(size), POD)


def test_a_nonce_fits_the_workload_it_was_made_for() -> None:
    assert nonce_fits(make_nonce(RANDOM, POD), POD)


def test_a_nonce_fits_no_other_workload() -> None:
    assert not nonce_fits(make_nonce(RANDOM, POD), OTHER)
    assert not nonce_fits(make_nonce(RANDOM, POD), WorkloadId(""))
    assert not nonce_fits(make_nonce(RANDOM, POD), WorkloadId(POD + " "))


@pytest.mark.parametrize(
    "nonce",
    [
        "",
        ".",
        "..",
        b64(RANDOM),
        b64(RANDOM) + ".",
        "." + make_nonce(RANDOM, POD).partition(".")[2],
        make_nonce(RANDOM, POD)[:-1],
        make_nonce(RANDOM, POD) + "0",
        make_nonce(RANDOM, POD).upper(),
        make_nonce(RANDOM, POD).replace(".", "\n."),
        make_nonce(RANDOM, POD) + ".",
        "é" + make_nonce(RANDOM, POD),
        # Well bound, but fewer bytes than a nonce has.
        f"{b64(b'short')}.{hashlib.sha256(NONCE_DOMAIN + b'short' + POD.encode()).hexdigest()}",
    ],
)
def test_what_we_did_not_make_fits_nobody(nonce: str) -> None:
    assert not nonce_fits(nonce, POD)


def test_half_a_character_in_a_nonce_fits_nobody() -> None:
    assert not nonce_fits(b64(RANDOM) + ".\ud800", POD)


@settings(max_examples=100, deadline=None, database=None)
@given(
    random=st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES),
    ours=st.text("ab-", max_size=4),
    theirs=st.text("ab-", max_size=4),
)
def test_a_nonce_fits_exactly_its_own_workload(random: bytes, ours: str, theirs: str) -> None:
    assert nonce_fits(make_nonce(random, WorkloadId(ours)), WorkloadId(theirs)) is (ours == theirs)


def test_an_answer_must_repeat_product_version_and_nonce_as_text_in_this_order() -> None:
    asked = Registration(product_code=ProductCode("prod1"), public_key_version=PublicKeyVersion(3), nonce="n")
    assert list(asked.expected_claims().items()) == [
        ("productCode", "prod1"),
        ("publicKeyVersion", "3"),
        ("nonce", "n"),
    ]


def test_what_was_asked_and_what_was_proven_cannot_be_changed_afterwards() -> None:
    asked = Registration(product_code=ProductCode("prod1"), public_key_version=PublicKeyVersion(3), nonce="n")
    proven = VerifiedRegistration(asked=asked, weak_key_bits=None)
    for value, name in ((asked, "nonce"), (proven, "asked")):
        with pytest.raises(AttributeError):
            setattr(value, name, "another")
