"""The route of the proof: what it takes, and its replies."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from sidecar.api.ports import NoProof, ProofRefused
from sidecar.api.proof import HTTP_STATUS
from sidecar.api.reply import API, LISTENER
from sidecar.api.router import Router
from sidecar.proof import new_nonce
from tests.fakes.view import FakeProofs, FakeView
from tests.unit.api.support import RouterReply

ROOT = Path(__file__).parents[3]
NONCE = "n" * 16


def post(body: object, proofs: FakeProofs | None = None) -> RouterReply:
    view = FakeView(proofs=proofs or FakeProofs())
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return RouterReply(Router(view), "/v1/proof", "POST", API, **{"wsgi.input": BytesIO(data)})


def refused(found: RouterReply, status: int, reason: str) -> str:
    assert found.refused(status, reason)
    return str(found.json["detail"])


def test_the_token_is_the_whole_answer_and_no_cache_may_keep_it() -> None:
    found = post({"nonce": NONCE})
    assert (found.status, found.headers["Content-Type"]) == (200, "application/json")
    assert found.json == {"token": "a.b.c"}
    assert found.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "nonce",
    [NONCE, "n" * 255, new_nonce(), "né\u0301" * 8, " " * 16, "\0\n\t" * 8, "\N{GRINNING FACE}" * 255, '"\\' * 20],
    ids=["16", "255", "ours", "accents", "blanks", "controls", "255 beyond the first plane", "quotes"],
)
def test_the_nonce_is_handed_on_exactly_as_it_was_sent(nonce: str) -> None:
    proofs = FakeProofs()
    assert post({"nonce": nonce}, proofs).status == 200
    assert post(json.dumps({"nonce": nonce}, ensure_ascii=False).encode(), proofs).status == 200
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
    assert NONCE.encode() not in found.body


def test_a_refusal_for_good_has_no_retry_after() -> None:
    answer = ProofRefused(why=NoProof.DENIED, reason="customer_not_entitled", hint="Subscribe.")
    assert "Retry-After" not in post({"nonce": NONCE}, FakeProofs(answer=answer)).headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_post_asks_for_a_proof(method: str) -> None:
    found = RouterReply(Router(FakeView()), "/v1/proof", method, API)
    assert found.refused(405, "method_not_allowed")
    assert set(found.headers["Allow"].split(", ")) == {"POST"}


def test_a_proof_waits_for_aws_so_no_poller_answers_it() -> None:
    router = Router(FakeView())
    assert not router.is_nonblocking({LISTENER: API, "PATH_INFO": "/v1/proof"})
    assert router.deferred_handler(API, "POST", "/v1/proof") is None


def test_a_proof_needs_no_flask() -> None:
    program = """
import sys
from tests.unit.api.test_proof import post, NONCE
for name in [name for name in sys.modules if name.split(".")[0] in ("flask", "werkzeug")]:
    raise SystemExit(name + " came with the test")
assert post({"nonce": NONCE}).status == 200
assert "flask" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
