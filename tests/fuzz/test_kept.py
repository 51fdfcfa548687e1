"""Kept files that open the gate are among the inputs, and each check that is missing is found."""

from __future__ import annotations

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


OTHER_WORKLOAD = ("if not compare_digest(", "if not (lambda *_: True)(")
OTHER_PRODUCT = ("if kept.product_code != product_code:", "if False:")
UNVERIFIED = (
    "return token.verify(",
    "return VerifiedRegistration(asked=asked, weak_key_bits=None)\n    token.verify(",
)
OF_ANSWER = {
    "other-workload": ("if not nonce_fits(kept.nonce, workload):", "if False:"),
    "other-product": OTHER_PRODUCT,
    "other-version": ("next((one for one in keys if one.version == kept.public_key_version), None)", "keys[0]"),
    "version-of-token": ("PublicKeyVersion(key.version)", "PublicKeyVersion(1)"),
    **dict.fromkeys(("product-of-token", "other-nonce", "signed-by-other-key", "other-algorithm"), UNVERIFIED),
}
OF_PASS = {
    "other-workload": OTHER_WORKLOAD,
    "other-product": OTHER_PRODUCT,
    "other-dimensions": ("if not set(dimensions) <= set(kept.dimensions):", "if False:"),
}
OF_CONTRACT = {
    "other-workload": OTHER_WORKLOAD,
    "other-sku": ("if kept.sku != sku:", "if False:"),
    "other-licenses": ("if (one.name, one.unit, one.value, one.take.value) in then]", "]"),
    "too-old": ("now - GRACE <=", "now - GRACE * 2 <="),
    "ahead": ("<= now + AHEAD_MAX", "<= now + GRACE"),
}
KINDS = (("answer", kept_answer, OF_ANSWER), ("pass", kept_pass, OF_PASS), ("contract", kept_contract, OF_CONTRACT))
MISTAKES = {
    f"{kind}-{name}": (module, right, wrong) for kind, module, found in KINDS for name, (right, wrong) in found.items()
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
