"""Kept files that open the gate are among the inputs, and each check that is missing is found."""

from __future__ import annotations

from types import ModuleType

import pytest

from sidecar.entitlement import kept_answer, kept_contract, kept_pass
from sidecar.errors import TokenRejected

from . import kept_target
from .__main__ import CORPUS
from .broken import with_mistake

ACCEPTED = {"answer", "answer-second-key", "pass", "contract"}
INPUTS = {one.name: one.read_bytes() for one in sorted((CORPUS / "kept").iterdir())}


def opens(data: bytes) -> bool:
    text = kept_target.text_of(data)
    for accepts, _ in kept_target.CHECKS:
        try:
            accepts(text)
        except TokenRejected:
            continue
        return True
    return False


def test_what_is_whole_opens_the_gate_and_what_misses_one_thing_does_not() -> None:
    assert {name for name, data in INPUTS.items() if opens(data)} == ACCEPTED


UNCHECKED = "return VerifiedRegistration(asked=asked, weak_key_bits=None)\n    token.verify("
MISTAKES: dict[str, tuple[ModuleType, str, str]] = {
    "answer-other-workload": (kept_answer, "if not nonce_fits(kept.nonce, workload):", "if False:"),
    "answer-other-product": (kept_answer, "if kept.product_code != product_code:", "if False:"),
    "answer-other-version": (
        kept_answer,
        "next((one for one in keys if one.version == kept.public_key_version), None)",
        "keys[0]",
    ),
    "answer-version-of-token": (kept_answer, "PublicKeyVersion(key.version)", "PublicKeyVersion(1)"),
    "answer-product-of-token": (kept_answer, "return token.verify(", UNCHECKED),
    "answer-other-nonce": (kept_answer, "return token.verify(", UNCHECKED),
    "answer-signed-by-other-key": (kept_answer, "return token.verify(", UNCHECKED),
    "answer-other-algorithm": (kept_answer, "return token.verify(", UNCHECKED),
    "pass-other-workload": (kept_pass, "if not hmac.compare_digest(", "if not (lambda *_: True)("),
    "pass-other-product": (kept_pass, "if kept.product_code != product_code:", "if False:"),
    "pass-other-dimensions": (kept_pass, "if not set(dimensions) <= set(kept.dimensions):", "if False:"),
    "contract-other-workload": (kept_contract, "if not hmac.compare_digest(", "if not (lambda *_: True)("),
    "contract-other-sku": (kept_contract, "if kept.sku != sku:", "if False:"),
    "contract-other-licenses": (
        kept_contract,
        "if (one.name, one.unit, one.value, one.take.value) in then]",
        "]",
    ),
    "contract-too-old": (kept_contract, "now - GRACE <=", "now - GRACE * 2 <="),
    "contract-ahead": (kept_contract, "<= now + AHEAD_MAX", "<= now + GRACE"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_check_that_is_missing_is_a_finding(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module, right, wrong = MISTAKES[name]
    kept_target.run(INPUTS[name])
    monkeypatch.setattr(kept_target, module.__name__.rpartition(".")[2], with_mistake(module, right, wrong))
    with pytest.raises(kept_target.WronglyAccepted):
        kept_target.run(INPUTS[name])


def test_each_input_that_misses_one_thing_has_its_mistake() -> None:
    assert {name for name in INPUTS if not name.startswith("seed-")} - ACCEPTED == MISTAKES.keys()
