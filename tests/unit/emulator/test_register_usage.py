"""The rules alone: which comes first, and what each lets through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sidecar.emulator.behaviour import Behaviour, Platform, Reask
from sidecar.emulator.callers import Caller
from sidecar.emulator.refusals import Refusal
from sidecar.emulator.register_usage import Circumstances, judge

POD = Caller(
    workload="pod-a",
    account="123456789012",
    platform=Platform.EKS,
    region="us-east-1",
    allowed=True,
    role="app",
)
LAPTOP = replace(POD, platform=Platform.NONE)
GOOD = Circumstances(
    product_codes=("prod1",),
    key_versions=(1,),
    subscribed=True,
    registered=False,
    denied=False,
    behaviour=Behaviour(),
)
QUESTION: dict[str, object] = {"ProductCode": "prod1", "PublicKeyVersion": 1, "Nonce": "n"}


def verdict(caller: Caller = POD, region: str = "us-east-1", known: Circumstances = GOOD, **question: Any) -> str:
    body = {name: value for name, value in {**QUESTION, **question}.items() if value is not ...}
    try:
        judge(caller, region, body, known)
    except Refusal as refused:
        return refused.code
    return "ok"


def test_a_good_question_is_answered() -> None:
    assert verdict() == "ok"


def test_the_first_rule_broken_names_the_answer() -> None:
    """Everything is wrong; repaired one by one, in the order of precedence."""
    known = replace(GOOD, behaviour=Behaviour(disabled=True), subscribed=False)
    wrong = {"ProductCode": "prod9", "PublicKeyVersion": 9, "Nonce": "n" * 256}
    assert verdict(LAPTOP, "eu-west-1", known, **wrong) == "DisabledApiException"
    known = replace(known, behaviour=Behaviour())
    assert verdict(LAPTOP, "eu-west-1", known, **wrong) == "PlatformNotSupportedException"
    assert verdict(POD, "eu-west-1", known, **wrong) == "InvalidRegionException"
    assert verdict(POD, "us-east-1", known, **wrong) == "ValidationException"
    wrong["Nonce"] = "n"
    assert verdict(known=known, **wrong) == "InvalidProductCodeException"
    wrong["ProductCode"] = "prod1"
    assert verdict(known=known, **wrong) == "InvalidPublicKeyVersionException"
    wrong["PublicKeyVersion"] = 1
    assert verdict(known=known, **wrong) == "CustomerNotEntitledException"
    assert verdict(known=replace(known, subscribed=True), **wrong) == "ok"


@pytest.mark.parametrize(
    "question",
    [
        {"ProductCode": ...},
        {"ProductCode": 7},
        {"ProductCode": "p" * 256},
        {"ProductCode": "no spaces"},
        {"PublicKeyVersion": ...},
        {"PublicKeyVersion": 0},
        {"PublicKeyVersion": "1"},
        {"PublicKeyVersion": 1.0},
        {"PublicKeyVersion": True},
        {"Nonce": "n" * 256},
        {"Nonce": 7},
    ],
)
def test_a_parameter_outside_the_model_is_a_validation_error(question: dict[str, Any]) -> None:
    assert verdict(**question) == "ValidationException"


@pytest.mark.parametrize("question", [{"Nonce": ...}, {"Nonce": ""}, {"Nonce": "ü" * 255}])
def test_any_nonce_up_to_the_limit_is_fine(question: dict[str, Any]) -> None:
    assert verdict(**question) == "ok"


def test_an_empty_product_code_is_valid_and_unknown() -> None:
    assert verdict(ProductCode="") == "InvalidProductCodeException"


def test_a_validation_error_lists_everything_wrong() -> None:
    with pytest.raises(Refusal) as refused:
        judge(POD, "us-east-1", {"PublicKeyVersion": 0}, GOOD)
    assert refused.value.message.startswith("2 validation errors detected: Value at 'productCode'")
    assert "Value at 'publicKeyVersion'" in refused.value.message


def test_a_registered_workload_skips_platform_and_entitlement_and_nothing_else() -> None:
    known = replace(GOOD, registered=True, subscribed=False)
    assert verdict(LAPTOP, known=known) == "ok"
    assert verdict(known=known, PublicKeyVersion=2) == "InvalidPublicKeyVersionException"
    assert verdict(region="eu-west-1", known=known) == "InvalidRegionException"


def test_a_denied_workload_is_answered_again_unless_denials_stick() -> None:
    denied = replace(GOOD, denied=True)
    assert verdict(known=denied) == "ok"
    sticky = replace(denied, behaviour=Behaviour(reask=Reask.STICKY))
    assert verdict(known=sticky) == "CustomerNotEntitledException"
    assert verdict(known=replace(sticky, denied=False)) == "ok"
