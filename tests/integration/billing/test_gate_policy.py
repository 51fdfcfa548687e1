"""A denied first record shuts the gate where that is set."""

from __future__ import annotations

import pytest

from sidecar.entitlement.hold import SHOWN, Hold
from sidecar.metering.outcomes import Refused
from tests.fakes.log import Events
from tests.integration.billing.support import (
    FakeGate,
    MakeStory,
)

METERED = {"entitlement_check": "meter_usage"}


@pytest.mark.parametrize(("policy", "holds"), [("shut", [Hold.FIRST_METER_DENIED]), ("alert", [])])
def test_a_denied_first_record_does_what_the_setting_says(
    make_story: MakeStory, events: Events, policy: str, holds: list[Hold]
) -> None:
    story = make_story(**METERED, on_first_meter_denied=policy)
    story.use("1")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.at("11:00:30").at("11:10").at("11:30").at("12:30")
    assert story.gate.holds == holds
    assert len(events.of("metering.denied")) == 1
    story.aws.always = None
    story.at("13:10")
    assert story.aws.bill()["10"] == "1"
    assert story.gate.holds == holds + ([None] if holds else [])
    assert story.passes == ["pod-1 requests"]


@pytest.mark.parametrize(("on_denied", "ends"), [("exit", True), ("hold", False)])
def test_the_hint_of_a_denial_that_ends_the_process_promises_no_record(
    make_story: MakeStory, on_denied: str, ends: bool
) -> None:
    story = make_story(**METERED, on_denied=on_denied)
    story.use("1")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.at("11:00:30").at("11:10")
    assert story.gate.holds == [Hold.FIRST_METER_DENIED]
    _, _, hint = story.gate.shown or SHOWN[Hold.FIRST_METER_DENIED]
    assert ("SIDECAR_ON_DENIED=exit" in hint, "by itself" in hint) == (ends, not ends)


def test_a_denial_after_a_settled_record_shuts_nothing(make_story: MakeStory, events: Events) -> None:
    story = make_story(**METERED)
    story.use("1")
    story.at("11:00:30").at("11:10")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.use("1")
    story.at("12:00:30").at("12:10")
    assert story.gate.holds == []
    assert events.of("metering.denied") == []


def test_under_register_usage_a_denied_record_shuts_nothing(make_story: MakeStory) -> None:
    story = make_story()
    story.use("1")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.at("11:00:30").at("11:10")
    assert story.gate.holds == []


def test_a_denial_is_remembered_across_a_restart(make_story: MakeStory) -> None:
    story = make_story(**METERED)
    story.use("1")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.at("11:00:30").at("11:10")
    story.gate = FakeGate()
    story.restart()
    assert story.gate.holds == [Hold.FIRST_METER_DENIED]


@pytest.mark.parametrize("later", ["11:30", "17:10"])
def test_a_denial_is_remembered_whatever_became_of_its_record(make_story: MakeStory, later: str) -> None:
    """The record was throttled since, or rolled forward."""
    story = make_story(**METERED)
    story.use("1")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.at("11:00:30").at("11:10")
    story.aws.always = Refused(code="ThrottlingException")
    story.at(later)
    story.gate = FakeGate()
    story.restart()
    assert story.gate.holds == [Hold.FIRST_METER_DENIED]


def test_a_denial_before_a_settled_record_is_not_remembered(make_story: MakeStory) -> None:
    story = make_story(**METERED)
    story.use("1")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.at("11:00:30").at("11:10")
    story.aws.always = None
    story.at("11:40")
    story.gate = FakeGate()
    story.restart()
    assert story.gate.holds == []


@pytest.mark.parametrize("hold", list(Hold))
def test_a_hold_of_an_earlier_worker_ends_with_the_first_settled_record(make_story: MakeStory, hold: Hold) -> None:
    story = make_story(**METERED)
    story.use("1")
    story.at("11:00:30").crash()
    story.gate = FakeGate(hold=hold)
    story.begin()
    story.at("11:10")
    assert story.aws.bill() == {"10": "1"}
    assert story.gate.hold is None
