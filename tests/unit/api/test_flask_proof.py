"""The route of the proof: what it takes, and its replies."""

from __future__ import annotations

import json
from typing import Any

import pytest
from werkzeug.test import Client, TestResponse

from sidecar.api.flask_app import application
from sidecar.api.flask_proof import HTTP_STATUS
from sidecar.api.ports import NoProof, ProofRefused
from sidecar.proof import new_nonce
from tests.fakes.view import FakeProofs, FakeView

NONCE = "n" * 16


def post(body: object, proofs: FakeProofs | None = None) -> TestResponse:
    view = FakeView(proofs=proofs or FakeProofs())
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Client(application(view)).post("/v1/proof", data=data)


def refused(found: TestResponse, status: int, reason: str) -> str:
    assert (found.status_code, found.content_type) == (status, "application/problem+json")
    body = json.loads(found.data)
    assert (body["status"], body["reason"]) == (status, reason)
    return str(body["detail"])


def test_the_token_is_the_whole_answer_and_no_cache_may_keep_it() -> None:
    found = post({"nonce": NONCE})
    assert (found.status_code, found.content_type) == (200, "application/json")
    assert json.loads(found.data) == {"token": "a.b.c"}
    assert found.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "nonce",
    [NONCE, "n" * 255, new_nonce(), "né\u0301" * 8, " " * 16, "\0\n\t" * 8, "\N{GRINNING FACE}" * 255, '"\\' * 20],
    ids=["16", "255", "ours", "accents", "blanks", "controls", "255 beyond the first plane", "quotes"],
)
def test_the_nonce_is_handed_on_exactly_as_it_was_sent(nonce: str) -> None:
    proofs = FakeProofs()
    assert post({"nonce": nonce}, proofs).status_code == 200
    assert post(json.dumps({"nonce": nonce}, ensure_ascii=False).encode(), proofs).status_code == 200
    assert proofs.nonces == [nonce, nonce]


@pytest.mark.parametrize("length", [0, 1, 15, 256, 10_000])
def test_a_nonce_of_another_length_is_refused_with_length_rule_and_fix(length: int) -> None:
    proofs = FakeProofs()
    detail = refused(post({"nonce": "n" * length}, proofs), 422, "nonce_length")
    assert f"has {length} characters" in detail
    assert "16 to 255" in detail
    assert "32 random bytes" in detail
    assert proofs.nonces == []


MALFORMED: dict[str, Any] = {
    "empty": b"",
    "no JSON": b"nonce=abc",
    "not UTF-8": b'{"nonce": "' + b"\xff" * 20 + b'"}',
    "a list": [NONCE],
    "text": NONCE,
    "null": None,
    "no nonce": {},
    "another field": {"nonce": NONCE, "product_code": "cheaper"},
    "another spelling": {"Nonce": NONCE},
    "twice": b'{"nonce": "aaaaaaaaaaaaaaaa", "nonce": "bbbbbbbbbbbbbbbb"}',
    "a number": {"nonce": 1234567890123456},
    "null inside": {"nonce": None},
    "a list inside": {"nonce": [NONCE]},
    "half a character": b'{"nonce": "aaaaaaaaaaaaaaaa\\ud800"}',
    "deep": b"[" * 20_000,
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_body_that_says_no_nonce_is_refused_and_asks_nobody(case: str) -> None:
    proofs = FakeProofs()
    detail = refused(post(MALFORMED[case], proofs), 400, "bad_request")
    assert detail.endswith(".")
    assert proofs.nonces == []


@pytest.mark.parametrize("why", list(NoProof), ids=lambda one: one.value)
def test_a_refusal_has_its_status_reason_and_hint_and_nothing_of_the_nonce(why: NoProof) -> None:
    answer = ProofRefused(why=why, reason="some_reason", hint="Do this.", retry_after_seconds=9)
    found = post({"nonce": NONCE}, FakeProofs(answer=answer))
    assert refused(found, HTTP_STATUS[why], "some_reason") == "Do this."
    assert found.headers["Retry-After"] == "9"
    assert found.headers["Cache-Control"] == "no-store"
    assert NONCE not in found.text


def test_a_refusal_for_good_has_no_retry_after() -> None:
    answer = ProofRefused(why=NoProof.DENIED, reason="customer_not_entitled", hint="Subscribe.")
    assert "Retry-After" not in post({"nonce": NONCE}, FakeProofs(answer=answer)).headers


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_only_post_asks_for_a_proof(method: str) -> None:
    found = getattr(Client(application(FakeView())), method)("/v1/proof")
    refused(found, 405, "method_not_allowed")
