"""Trouble on order, as a client meets it."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

import jwt
import pytest
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError, ReadTimeoutError

from sidecar.emulator import Behaviour, Emulator
from sidecar.emulator.behaviour import Body, Claims

from .conftest import PRODUCT, Aws, client, code, eventually, register


def test_an_error_comes_as_often_as_ordered_and_then_no_more(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "ThrottlingException", times=3)
    answers = [code(lambda: register(aws.url)) for _ in range(4)]
    assert answers == ["ThrottlingException"] * 3 + ["ok"]
    assert [call.answer for call in aws.calls()] == answers


def test_boto3_gets_through_two_internal_errors_by_itself(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "InternalServiceErrorException", times=2)
    patient = client(aws.url, retries={"total_max_attempts": 3, "mode": "standard"})
    assert patient.register_usage(ProductCode=PRODUCT, PublicKeyVersion=1)["Signature"]
    assert len(aws.calls()) == 3


def test_a_fault_for_ever_ends_when_it_is_cleared(aws: Emulator) -> None:
    aws.fault("*", "InternalServiceErrorException", times=None)
    assert [code(lambda: register(aws.url)) for _ in range(3)] == ["InternalServiceErrorException"] * 3
    aws.clear_faults()
    assert code(lambda: register(aws.url)) == "ok"


def test_an_error_carries_the_words_status_and_pause_it_was_given(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "ThrottlingException", message="slow down", status=429, retry_after=1500)
    with pytest.raises(ClientError) as refused:
        register(aws.url)
    response = refused.value.response
    assert response["Error"] == {"Code": "ThrottlingException", "Message": "slow down"}
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["ResponseMetadata"]["HTTPHeaders"]["x-amz-retry-after"] == "1500"


def test_an_internal_error_is_a_500(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "InternalServiceErrorException")
    with pytest.raises(ClientError) as refused:
        register(aws.url)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500


def test_permission_comes_before_an_ordered_error_which_waits(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "ThrottlingException")
    aws.define_caller(access_key="pod-x", allowed=False)
    assert code(lambda: register(aws.url, workload="pod-x")) == "AccessDeniedException"
    assert code(lambda: register(aws.url, workload="pod-a")) == "ThrottlingException"


def test_an_ordered_error_comes_before_the_rules_of_the_operation(aws: Emulator) -> None:
    aws.behave(disabled=True)
    aws.fault("RegisterUsage", "ThrottlingException")
    assert code(lambda: register(aws.url)) == "ThrottlingException"
    assert code(lambda: register(aws.url)) == "DisabledApiException"


def test_a_call_dropped_before_the_work_leaves_no_registration(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "drop_before")
    with pytest.raises(ConnectionClosedError):
        register(aws.url)
    assert aws.registrations() == []
    assert [call.answer for call in aws.calls()] == ["drop_before"]


def test_a_call_dropped_after_the_work_is_remembered(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "drop_after")
    with pytest.raises(ConnectionClosedError):
        register(aws.url)
    assert [each.workload for each in aws.registrations()] == ["pod-a"]
    aws.unsubscribe()
    assert code(lambda: register(aws.url)) == "ok"


def test_a_slow_answer_outlasts_a_read_timeout_and_its_work_is_done(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "slow", seconds=30)
    with pytest.raises(ReadTimeoutError):
        client(aws.url, read_timeout=0.2).register_usage(ProductCode=PRODUCT, PublicKeyVersion=1)
    assert len(aws.registrations()) == 1


def test_a_slow_answer_comes_to_who_waits(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "slow", seconds=0.05)
    assert register(aws.url)["Signature"]


def test_a_hanging_call_ends_when_its_client_goes(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "hang")
    before = threading.active_count()
    with pytest.raises(ReadTimeoutError):
        client(aws.url, read_timeout=0.2).register_usage(ProductCode=PRODUCT, PublicKeyVersion=1)
    eventually(lambda: threading.active_count() <= before)
    assert aws.registrations() == []


def test_stopping_drops_a_hanging_call_at_once(keys: Any) -> None:
    with Emulator(keys=keys) as aws:
        aws.fault("RegisterUsage", "hang")
        ended: list[str] = []
        caller = threading.Thread(target=lambda: ended.append(_fate(aws.url)))
        caller.start()
        eventually(lambda: len(aws.calls()) == 1)
        began = time.monotonic()
    assert time.monotonic() - began < 2
    caller.join(timeout=5)
    assert ended == ["ConnectionClosedError"]


def _fate(url: str) -> str:
    try:
        register(url)
    except BotoCoreError as error:
        return type(error).__name__
    return "answered"


def test_a_stopped_emulator_answers_nobody(keys: Any) -> None:
    with Emulator(keys=keys) as aws:
        port = aws.port
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1)


def test_an_empty_200_looks_like_a_success_without_a_signature(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "empty_200")
    assert "Signature" not in register(aws.url)
    assert aws.registrations() == []


def test_a_web_page_with_200_looks_like_a_success_without_a_signature(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "html_200")
    assert "Signature" not in register(aws.url)
    assert aws.registrations() == []


def test_a_web_page_with_503_has_the_status_for_a_code(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "html_503")
    assert code(lambda: register(aws.url)) == "503"


@pytest.mark.parametrize("body", [Body.MISSING_SIGNATURE, Body.EMPTY])
def test_a_knob_takes_the_signature_out_of_every_success(emulator: Aws, body: Body) -> None:
    aws = emulator(behaviour=Behaviour(body=body))
    assert "Signature" not in register(aws.url)
    assert len(aws.registrations()) == 1


def test_expired_credentials_are_refused_on_order(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "expired_token")
    assert [code(lambda: register(aws.url)) for _ in range(2)] == ["ExpiredTokenException", "ok"]


@pytest.mark.parametrize(("seconds", "words"), [(3600, "is now earlier than"), (-3600, "is still later than")])
def test_a_skewed_clock_refuses_the_signature_and_shows_in_the_date(aws: Emulator, seconds: float, words: str) -> None:
    aws.fault("RegisterUsage", "clock_skew", seconds=seconds)
    with pytest.raises(ClientError) as refused:
        register(aws.url)
    assert refused.value.response["Error"]["Code"] == "InvalidSignatureException"
    assert words in refused.value.response["Error"]["Message"]
    assert "15 min.)" in refused.value.response["Error"]["Message"]


def test_a_skew_of_less_than_fifteen_minutes_is_tolerated(aws: Emulator) -> None:
    aws.fault("RegisterUsage", "clock_skew", seconds=800)
    assert code(lambda: register(aws.url)) == "ok"


@pytest.mark.parametrize("kind", ["wrong_key", "alg_rs256", "alg_hs256", "alg_none", "truncated"])
def test_a_forged_signature_does_not_verify_and_the_next_one_does(aws: Emulator, kind: str) -> None:
    aws.fault("RegisterUsage", kind)
    with pytest.raises(jwt.PyJWTError):
        jwt.decode(register(aws.url)["Signature"], aws.public_key(), algorithms=["PS256"])
    jwt.decode(register(aws.url)["Signature"], aws.public_key(), algorithms=["PS256"])


@pytest.mark.parametrize(
    ("kind", "claim", "asked"),
    [
        ("wrong_nonce", "nonce", "n-1"),
        ("wrong_product", "productCode", PRODUCT),
        ("wrong_version", "publicKeyVersion", 1),
    ],
)
def test_a_forged_claim_is_well_signed_and_not_what_was_asked(
    aws: Emulator, kind: str, claim: str, asked: object
) -> None:
    aws.fault("RegisterUsage", kind)
    claims = jwt.decode(register(aws.url)["Signature"], aws.public_key(), algorithms=["PS256"])
    assert claims[claim] != asked


def test_the_casing_of_claims_is_a_knob(emulator: Aws) -> None:
    aws = emulator(behaviour=Behaviour(claims=Claims.PASCAL, iat=False))
    claims = jwt.decode(register(aws.url)["Signature"], aws.public_key(), algorithms=["PS256"])
    assert claims == {"ProductCode": PRODUCT, "Nonce": "n-1", "PublicKeyVersion": 1}


def test_faults_of_another_operation_do_not_concern_this_one(aws: Emulator) -> None:
    aws.fault("AssumeRoleWithWebIdentity", "AccessDenied")
    assert code(lambda: register(aws.url)) == "ok"
    assert len(aws.state()["faults"]) == 1  # type: ignore[arg-type]
