"""What the emulator can do and what is said about it agree."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import pytest

from sidecar.emulator import command, metering_api, sts, world
from sidecar.emulator.behaviour import Behaviour
from sidecar.emulator.faults import FORGING, kinds
from sidecar.emulator.orders import VERBS

PAGE = (Path(__file__).parents[3] / "docs" / "emulator.md").read_text(encoding="utf-8")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    command.add_arguments(made)
    return made


@pytest.mark.parametrize("kind", kinds())
def test_every_fault_is_documented(kind: str) -> None:
    assert f"`{kind}`" in PAGE


@pytest.mark.parametrize("kind", sorted(set(kinds()) - {"claims_camel", "alg_ps256"}))
def test_every_fault_worth_ordering_is_in_the_help(kind: str) -> None:
    assert kind in command.EPILOG


@pytest.mark.parametrize("knob", [field.name for field in fields(Behaviour)])
def test_every_knob_is_documented(knob: str) -> None:
    assert f"`{knob}`" in PAGE


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_documented(verb: str) -> None:
    assert f"`{verb}`" in PAGE


def test_every_flag_is_documented_and_explained() -> None:
    for action in parser()._actions:
        assert action.help
        flag = action.option_strings[-1]
        assert flag == "--help" or f"`{flag}" in PAGE


def test_every_operation_can_be_given_faults() -> None:
    assert set(world.OPERATIONS) == {*metering_api.OPERATIONS, sts.OPERATION}


def test_the_forgeries_are_those_of_the_behaviour() -> None:
    knobs = {knob for turned in FORGING.values() for knob in turned}
    assert knobs <= {field.name for field in fields(Behaviour)}
