"""The product's verifier and the sidecar's give the verdict of each vector, and the product's file stands alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest

import sidecar.proof
from sidecar import proof
from sidecar.entitlement import token
from sidecar.entitlement.registration import ProductCode, PublicKeyVersion, Registration
from sidecar.errors import TokenRejected
from tests.fakes.keys import private_key, public_pem
from tests.fakes.peer import Peer
from tests.unit.entitlement.tokens import CLAIMS
from tests.unit.entitlement.tokens import token as signed
from tests.vectors import make

FILE: Final = json.loads(make.PATH.read_text())
NOW: Final = datetime.fromisoformat(FILE["now"])
VECTORS: Final = [{**FILE, **one} for one in FILE["vectors"]]


def verdict(vector: dict[str, Any]) -> str | None:
    keys = {int(version): pem for version, pem in vector["public_keys"].items()}
    try:
        proof.verify(vector["token"], vector["nonce"], product_code=vector["product_code"], public_keys=keys, now=NOW)
    except proof.ProofRejected as exc:
        return exc.reason
    return None


def sidecars_verdict(vector: dict[str, Any]) -> str | None:
    ((version, pem),) = vector["public_keys"].items()
    asked = Registration(
        product_code=ProductCode(vector["product_code"]),
        public_key_version=PublicKeyVersion(int(version)),
        nonce=vector["nonce"],
    )
    try:
        token.verify(vector["token"], token.public_key(pem), asked, NOW)
    except TokenRejected as exc:
        return exc.reason
    return None


# -- the vectors


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["name"])
def test_the_products_verifier_gives_the_verdict_of_the_vector(vector: dict[str, Any]) -> None:
    assert verdict(vector) == vector["reason"]


@pytest.mark.parametrize(
    "vector", [one for one in VECTORS if len(one["public_keys"]) == 1], ids=lambda one: one["name"]
)
def test_the_sidecars_verifier_gives_the_verdict_of_the_vector(vector: dict[str, Any]) -> None:
    assert sidecars_verdict(vector) == vector["reason"]


def test_the_vectors_are_those_that_the_command_makes() -> None:
    made = make.vectors(make.fresh_keys())
    assert [(one["name"], one["reason"]) for one in made] == [(one["name"], one["reason"]) for one in FILE["vectors"]]


def test_the_vectors_are_many_and_of_every_reason() -> None:
    assert len(VECTORS) > 150
    assert len({one["reason"] for one in VECTORS}) == 13  # none, and each that `verify` documents


# -- verifying


def test_a_proof_is_verified_by_the_time_of_this_host() -> None:
    now = int(datetime.now(UTC).timestamp())
    key, keys = private_key(), {1: public_pem()}
    fresh, old = (signed(key, {**CLAIMS, "iat": at}) for at in (now, now - 1000))
    found = proof.verify(fresh, make.NONCE, product_code="prod1", public_keys=keys)
    assert (found.public_key_version, found.weak_key_bits) == (1, None)
    with pytest.raises(proof.ProofRejected, match="token_iat"):
        proof.verify(old, make.NONCE, product_code="prod1", public_keys=keys)


def test_a_nonce_is_new_each_time_and_of_a_length_that_aws_takes() -> None:
    nonces = {proof.new_nonce() for _ in range(100)}
    assert len(nonces) == 100
    assert {len(one) for one in nonces} == {43}


def test_the_leeway_is_fifteen_minutes() -> None:
    assert timedelta(minutes=15) == proof.LEEWAY


# -- asking


def reply(status: str, body: str, headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n{body}".encode()


def test_asking_sends_the_nonce_and_the_bearer_token_and_returns_what_came() -> None:
    with Peer([reply("200 OK", '{"token": "a.b.c"}')]) as peer:
        assert proof.ask("n" * 16, peer.url, api_token="secret") == "a.b.c"
    (asked,) = peer.requests
    assert (asked.method, asked.target, json.loads(asked.body)) == ("POST", "/v1/proof", {"nonce": "n" * 16})
    assert asked.headers["authorization"] == "Bearer secret"


def test_a_refusal_of_the_sidecar_has_its_reason_and_when_to_ask_again() -> None:
    body = '{"reason": "asked_just_now", "detail": "Ask again."}'
    answer = reply("429 Too Many Requests", body, "Retry-After: 9\r\n")
    with Peer([answer]) as peer, pytest.raises(proof.NoProof) as refused:
        proof.ask("n" * 16, peer.url)
    found = refused.value
    assert (found.status, found.reason, found.hint, found.retry_after_seconds) == (
        429,
        "asked_just_now",
        "Ask again.",
        9,
    )


@pytest.mark.parametrize("body", ["", "OK", "[]", '{"entitled": true}', '{"token": null}', '{"token": ["a"]}'])
def test_a_stub_that_answers_200_to_everything_proves_nothing(body: str) -> None:
    with Peer([reply("200 OK", body)]) as peer:
        nonce = proof.new_nonce()
        found = proof.ask(nonce, peer.url)
        with pytest.raises(proof.ProofRejected):
            proof.verify(found, nonce, product_code="prod1", public_keys={1: FILE["public_keys"]["1"]})


def test_asking_uses_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Peer([reply("200 OK", '{"token": "t"}')]) as peer:
        assert proof.ask("n" * 16, peer.url) == "t"


# -- standing alone

ALONE: Final = """
import sys
import proof
proof.new_nonce()
token, nonce, pem = sys.argv[1:]
assert proof.verify(token, nonce, product_code="prod1", public_keys={1: pem}).public_key_version == 1
print(sorted({name.partition(".")[0] for name in sys.modules} & {"sidecar", "flask", "botocore", "yaml"}))
"""


def test_the_file_alone_verifies_without_the_package(tmp_path: Path) -> None:
    shutil.copy(sidecar.proof.__file__, tmp_path / "proof.py")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{ALONE}"
    fresh = signed(private_key(), {**CLAIMS, "iat": int(datetime.now(UTC).timestamp())})
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, fresh, make.NONCE, public_pem()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
