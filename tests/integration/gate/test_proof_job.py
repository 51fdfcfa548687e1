"""One proof from an AWS that really answers over HTTP: what is signed, and what is never handed out."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from sidecar import proof
from sidecar.clock import SystemClock
from sidecar.emulator.behaviour import Algorithm, Body, Claims
from sidecar.entitlement.answer import AnswerClass, AnsweredBy
from sidecar.gate import proof_job
from sidecar.gate.proof_messages import ProofRequest, ProofResult

from .support import KEYS, PRODUCT, REGION, SECRET_KEY, Answer, Rig, dead_url

NONCE = proof.new_nonce()


def request(rig: Rig, url: str, nonce: str = NONCE, version: int = 1) -> ProofRequest:
    (key,) = rig.public_keys(version)
    return ProofRequest(
        nonce=nonce, product_code=PRODUCT, public_key=key, region=REGION, endpoint_url=url, clock_url=None
    )


def ask(rig: Rig, url: str, nonce: str = NONCE, env: Mapping[str, str] = KEYS, version: int = 1) -> ProofResult:
    with rig.seen_by_sdk(url, env) as seen:
        return proof_job.ask(request(rig, url, nonce, version), seen, SystemClock(), SystemClock())


def verify(rig: Rig, token: str, nonce: str = NONCE) -> proof.Verified:
    return proof.verify(token, nonce, product_code=PRODUCT, public_keys={1: rig.keys.public_pem(1)})


@pytest.mark.parametrize(
    "nonce",
    [NONCE, "n" * 16, "n" * 255, "né\u0301" * 8, "\0\n\t " * 4, "\N{GRINNING FACE}" * 16, '"\\/' * 10],
    ids=["ours", "16", "255", "accents", "controls", "beyond the first plane", "quotes"],
)
def test_aws_signs_the_products_nonce_exactly_as_it_was_sent(rig: Rig, nonce: str) -> None:
    aws = rig.aws()
    found = ask(rig, aws.url, nonce)
    assert (found.verdict, found.asked) == (AnswerClass.ACCEPTED, AnsweredBy.REGISTER_USAGE.value)
    assert found.request_id
    assert verify(rig, found.token, nonce).public_key_version == 1
    assert [call.operation for call in aws.calls()] == ["RegisterUsage"]


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ({"wrong_nonce": True}, "token_nonce"),
        ({"wrong_product": True}, "token_product_code"),
        ({"wrong_version": True}, "token_public_key_version"),
        ({"wrong_key": True}, "token_signature"),
        ({"algorithm": Algorithm.NONE}, "token_algorithm"),
        ({"algorithm": Algorithm.RS256}, "token_algorithm"),
        ({"claims": Claims.CONTRADICTING}, "token_contradicts_itself"),
        ({"iat_offset_seconds": -1000}, "token_iat"),
        ({"exp_past": True}, "token_exp"),
        ({"body": Body.MISSING_SIGNATURE}, "signature_missing"),
    ],
    ids=lambda one: one if isinstance(one, str) else "/".join(one),
)
def test_a_token_that_does_not_verify_is_never_in_the_result(rig: Rig, behaviour: dict[str, Any], reason: str) -> None:
    aws = rig.aws()
    aws.behave(**behaviour)
    found = ask(rig, aws.url)
    assert (found.verdict, found.reason, found.token) == (AnswerClass.DENY, reason, "")
    assert found.asked == AnsweredBy.TOKEN.value


def test_a_refusal_of_aws_has_the_reason_and_hint_of_the_error_table(rig: Rig) -> None:
    aws = rig.aws()
    aws.behave(allowed=False)
    found = ask(rig, aws.url, env=rig.irsa)
    assert (found.verdict, found.reason, found.token) == (AnswerClass.CONFIG, "access_denied", "")
    assert "aws-marketplace:RegisterUsage" in found.hint
    assert "{" not in found.hint


def test_a_denial_says_to_ask_for_the_proof_again(rig: Rig) -> None:
    aws = rig.aws(subscribed=False)
    found = ask(rig, aws.url)
    assert (found.verdict, found.reason) == (AnswerClass.DENY, "customer_not_entitled")
    assert found.hint.endswith("then ask for the proof again.")


@pytest.mark.parametrize("answer", [Answer(status=500), Answer(body=b"<html>"), Answer(status=302)])
def test_what_is_not_aws_signs_nothing_and_is_asked_once(rig: Rig, answer: Answer) -> None:
    web = rig.web(answer)
    found = ask(rig, web.url)
    assert found.token == ""
    assert found.verdict is not AnswerClass.ACCEPTED
    assert len(web.requests) == 1


def test_where_nothing_listens_there_is_a_reason(rig: Rig) -> None:
    found = ask(rig, dead_url())
    assert (found.verdict, found.reason, found.token) == (AnswerClass.RETRY, "aws_unreachable", "")


def test_a_real_child_answers_with_one_line_and_no_credential(rig: Rig) -> None:
    aws = rig.aws()
    child = rig.spawned(request(rig, aws.url))
    try:
        line = child.read_line(time.monotonic() + 30)
    finally:
        child.close()
    assert line is not None
    assert SECRET_KEY.encode() not in line
    found = ProofResult.from_json(line)
    assert verify(rig, found.token)


def test_the_proof_is_verified_by_the_time_of_the_marketplace(rig: Rig) -> None:
    aws = rig.aws()
    found = ask(rig, aws.url)
    with pytest.raises(proof.ProofRejected, match="token_iat"):
        proof.verify(
            found.token,
            NONCE,
            product_code=PRODUCT,
            public_keys={1: rig.keys.public_pem(1)},
            now=datetime(2020, 1, 1, tzinfo=UTC),
        )
