"""What the emulator can do and what is said about it agree."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import pytest
from botocore.session import Session

from sidecar.emulator import access_tokens, flags, get_entitlements, license_manager, metering_api, sqs, state, sts
from sidecar.emulator.behaviour import Behaviour, DryRunStatus, LateFrom, OffPlatform, OtherAllocations, TagCharacters
from sidecar.emulator.callers import FIELDS
from sidecar.emulator.control import VERBS
from sidecar.emulator.customers import CUSTOMER_FIELDS, Subscription
from sidecar.emulator.faults import FORGING, kinds
from sidecar.emulator.notices import Notice, Role
from sidecar.emulator.saas_behaviour import (
    BatchAnswer,
    BothIds,
    EndedLicense,
    FinalHour,
    MalformedCode,
    MonthGrace,
    NoticeLicense,
    SameRecord,
    TokenAgain,
    UnknownIdentifier,
)

CHOICES = (
    *(DryRunStatus, LateFrom, OffPlatform, OtherAllocations, TagCharacters),
    *(BatchAnswer, BothIds, EndedLicense, FinalHour, MalformedCode, MonthGrace, NoticeLicense, SameRecord),
    *(TokenAgain, UnknownIdentifier, Subscription, Notice, Role),
)
PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "emulator.md").read_text(encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    flags.add_arguments(made)
    return made


@pytest.mark.parametrize("kind", kinds())
def test_every_fault_is_documented(kind: str) -> None:
    assert f"`{kind}`" in PAGE


@pytest.mark.parametrize("kind", sorted(set(kinds()) - {"claims_camel", "alg_ps256"}))
def test_every_fault_worth_ordering_is_in_the_help(kind: str) -> None:
    assert kind in flags.EPILOG


@pytest.mark.parametrize("knob", [field.name for field in fields(Behaviour)])
def test_every_knob_is_documented(knob: str) -> None:
    assert f"`{knob}`" in PAGE


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb: str) -> None:
    assert f"`{verb}`" in PAGE


@pytest.mark.parametrize("choice", [each.value for kind in CHOICES for each in kind])
def test_every_choice_of_a_metering_knob_is_documented(choice: object) -> None:
    assert f"`{choice}`" in PAGE or f"{choice} or " in PAGE or f" or {choice}" in PAGE


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_of_a_caller_is_documented(field: str) -> None:
    assert f'"{field}"' in PAGE or f"`{field}`" in PAGE


@pytest.mark.parametrize("field", CUSTOMER_FIELDS)
def test_every_field_of_a_customer_is_documented(field: str) -> None:
    assert f"`{field}`" in PAGE


@pytest.mark.parametrize("operation", state.OPERATIONS)
def test_every_operation_is_documented_and_in_the_help(operation: str) -> None:
    assert f"\n## {operation}\n" in PAGE
    assert operation in flags.EPILOG


def test_every_error_of_metering_is_documented() -> None:
    ordered = {"InternalServiceErrorException", "ThrottlingException"}
    for name in errors("meteringmarketplace", "MeterUsage") - ordered | {"DryRunOperation", "UnauthorizedException"}:
        assert f"`{name}`" in PAGE


@pytest.mark.parametrize(
    ("service", "operation"),
    [
        ("meteringmarketplace", "BatchMeterUsage"),
        ("meteringmarketplace", "ResolveCustomer"),
        ("marketplace-entitlement", "GetEntitlements"),
    ],
)
def test_every_error_of_saas_is_in_its_section(service: str, operation: str) -> None:
    section = PAGE.partition(f"\n## {operation}\n")[2].partition("\n## ")[0]
    for name in errors(service, operation) - {"InternalServiceErrorException", "ThrottlingException"}:
        assert f"`{name}`" in section


def errors(service: str, operation: str) -> set[str]:
    """Return the errors that botocore's model has of an operation."""
    return {shape.name for shape in Session().get_service_model(service).operation_model(operation).error_shapes}


def test_every_flag_is_documented_and_explained() -> None:
    for action in parser()._actions:
        assert action.help
        flag = action.option_strings[-1]
        assert flag == "--help" or f"`{flag}" in PAGE


def test_every_operation_can_be_given_faults() -> None:
    metering = {*metering_api.OPERATIONS, get_entitlements.OPERATION}
    licensing = {*license_manager.OPERATIONS, access_tokens.OPERATION}
    assert set(state.OPERATIONS) == {*metering, *licensing, *sqs.OPERATIONS, sts.OPERATION, sts.IDENTITY}


def test_the_forgeries_are_those_of_the_behaviour() -> None:
    knobs = {knob for turned in FORGING.values() for knob in turned}
    assert knobs <= {field.name for field in fields(Behaviour)}
