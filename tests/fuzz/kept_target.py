"""Verify kept answers and kept passes, and prove in a second way what is accepted.

An input is a file's text as it is, or has one of three forms, which are completed before they are read, so that the
search goes behind signatures and digests too:

- `S` and the version of the key that signs, then a token's header, its payload and the kept answer, a line each.
  `@NONCE@` is a nonce of this workload, `@OTHER@` one of another, `@TOKEN@` the token.
- `P` and a kept pass, `C` and a kept contract. `@BINDING@` is the digest of its fields for this workload, `@OTHER@` the
  one for another. `@NOW@` is the time of the check, `@OLD@` the last one that is too old.

Invariants:
- What is accepted is for this workload and product, its signature or digest is recomputed here without the product's
  code, and what is asked for is in it. A kept answer and a kept pass may be of any age (the workload binds them); a
  kept contract is seven days old at most.
"""

from __future__ import annotations

import base64
import hashlib
import json
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

import jwt

from sidecar.entitlement import kept_answer, kept_contract, kept_pass
from sidecar.entitlement.registration import ProductCode, WorkloadId, make_nonce
from sidecar.errors import TokenRejected
from sidecar.settings import License, PublicKey, Take

from . import token_target

WORKLOAD: Final = WorkloadId("arn:aws:ecs:us-east-1:111122223333:task/c/t")
ANOTHER: Final = WorkloadId("arn:aws:ecs:us-east-1:111122223333:task/c/u")
PRODUCT: Final = ProductCode("prod1")
SKU: Final = "sku1"
VERSIONS: Final = (1, 2)
DIMENSIONS: Final = ("requests",)
LICENSES: Final = (
    License(name="pro", take=Take.CHECK, any_of="tier"),
    License(name="basic", take=Take.CHECK, any_of="tier"),
)
NOW: Final = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
OLDEST: Final = NOW - timedelta(days=7)
YOUNGEST: Final = NOW + timedelta(minutes=15)
RANDOM: Final = bytes(range(32))
NO_TIMES: Final = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}


class WronglyAccepted(AssertionError):
    """A kept file opens the gate that should not."""


def text_of(data: bytes) -> str:
    """Return the file's text that an input stands for."""
    kind, rest = data[:1], data[1:]
    if kind == b"S":
        return _answer(rest).decode("utf-8", "replace")
    if kind in (b"P", b"C"):
        return _bound(kind, rest.decode("utf-8", "replace"))
    return data.decode("utf-8", "replace")


def run(data: bytes) -> None:
    """Raise WronglyAccepted where what is accepted is not proved."""
    text = text_of(data)
    for accepts, prove in CHECKS:
        try:
            accepts(text)
        except TokenRejected:
            continue
        try:
            prove(json.loads(text))
        except Exception as error:
            raise WronglyAccepted(f"{prove.__name__}: {error!r}: {text}") from error


# -- completing an input -------------------------------------------------------------------------------------------


@cache
def _nonces() -> Mapping[bytes, bytes]:
    return {b"@NONCE@": make_nonce(RANDOM, WORKLOAD).encode(), b"@OTHER@": make_nonce(RANDOM, ANOTHER).encode()}


def _answer(data: bytes) -> bytes:
    for mark, nonce in _nonces().items():
        data = data.replace(mark, nonce)
    version, header, payload, answer = (data.split(b"\n", 3) + [b""] * 3)[:4]
    return answer.replace(b"@TOKEN@", token_target.signed(header, payload, 2 if version == b"2" else 1).encode())


def _bound(kind: bytes, text: str) -> str:
    text = text.replace("@NOW@", NOW.isoformat()).replace("@OLD@", (OLDEST - timedelta(seconds=1)).isoformat())
    try:
        given = json.loads(text)
        for mark, workload in (("@BINDING@", WORKLOAD), ("@OTHER@", ANOTHER)):
            text = text.replace(mark, (_pass_digest if kind == b"P" else _contract_digest)(given, workload))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass  # it is read as it is
    return text


def _pass_digest(given: Mapping[str, Any], workload: str) -> str:
    return _digest(
        "entitlement-sidecar kept pass 1", given["kind"], workload, given["product_code"], given["dimensions"]
    )


def _contract_digest(given: Mapping[str, Any], workload: str) -> str:
    granted = [dict(sorted(one.items())) for one in given["granted"]]
    return _digest("entitlement-sidecar kept contract 1", workload, given["sku"], granted, given["allowed_at"])


def _digest(*said: Any) -> str:
    return hashlib.sha256(json.dumps(said).encode()).hexdigest()


# -- what the product says, and what proves it ---------------------------------------------------------------------


@cache
def _keys() -> tuple[PublicKey, ...]:
    return tuple(PublicKey(version=version, pem=token_target.public_pem(version)) for version in VERSIONS)


def _accepts_answer(text: str) -> None:
    kept_answer.verify_kept(kept_answer.from_text(text), WORKLOAD, PRODUCT, _keys())


def _accepts_pass(text: str) -> None:
    kept_pass.verify_kept(kept_pass.from_text(text), WORKLOAD, PRODUCT, DIMENSIONS)


def _accepts_contract(text: str) -> None:
    kept_contract.verify_kept(kept_contract.from_text(text), WORKLOAD, SKU, LICENSES, (), NOW)


def _prove_answer(given: Mapping[str, Any]) -> None:
    _are_fields(given, "product_code", "public_key_version", "nonce", "token")
    assert given["product_code"] == PRODUCT
    random, _, binding = given["nonce"].partition(".")
    fresh = base64.urlsafe_b64decode(random + "=" * (-len(random) % 4))
    assert len(fresh) == 32
    assert binding == hashlib.sha256(b"entitlement-sidecar nonce 1\0" + fresh + WORKLOAD.encode()).hexdigest()
    version = int(given["public_key_version"])
    public = token_target.key(version).public_key()
    assert version in VERSIONS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the key is short
        claims = jwt.decode(given["token"], public, algorithms=["PS256"], options=NO_TIMES)
    for name, wanted in (("productCode", PRODUCT), ("publicKeyVersion", str(version)), ("nonce", given["nonce"])):
        found = [claims[one] for one in (name, name[0].upper() + name[1:]) if one in claims]
        assert {str(one) for one in found} == {wanted}


def _prove_pass(given: Mapping[str, Any]) -> None:
    _are_fields(given, "kind", "product_code", "dimensions", "binding")
    assert given["kind"] in ("dry_run", "settled")
    assert given["product_code"] == PRODUCT
    assert set(DIMENSIONS) <= set(given["dimensions"])
    assert given["binding"] == _pass_digest(given, WORKLOAD)


def _prove_contract(given: Mapping[str, Any]) -> None:
    _are_fields(given, "sku", "granted", "allowed_at", "binding")
    assert given["sku"] == SKU
    allowed = [one for one in given["granted"] if one.get("name") in ("pro", "basic")]
    assert any((one["unit"], one["value"], one["take"]) == ("Count", "1", "check") for one in allowed)
    instant = datetime.fromisoformat(given["allowed_at"].strip())
    assert OLDEST <= (instant if instant.tzinfo else instant.replace(tzinfo=UTC)) <= YOUNGEST
    assert given["binding"] == _contract_digest(given, WORKLOAD)


def _are_fields(given: Mapping[str, Any], *names: str) -> None:
    assert given["format"] == 1
    assert set(given) == {"format", *names}


CHECKS: Final[tuple[tuple[Callable[[str], None], Callable[[Mapping[str, Any]], None]], ...]] = (
    (_accepts_answer, _prove_answer),
    (_accepts_pass, _prove_pass),
    (_accepts_contract, _prove_contract),
)
