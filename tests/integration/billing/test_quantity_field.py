"""Quantities go in the decimal field; where AWS refuses it, the same hour goes in the integer field, once."""

from __future__ import annotations

from decimal import Decimal

import pytest

from sidecar.metering.outcomes import Outcome, Refused
from sidecar.metering.sealed_request import QuantityKind, Repair, SealedRequest
from sidecar.metering.states import State
from tests.fakes.log import Events
from tests.integration.billing.support import Aws, MakeStory, Story

DECIMAL, INTEGER = QuantityKind.DECIMAL, QuantityKind.INTEGER
GB = '[{"name": "requests", "decimals": 2}]'


def no_decimals(aws: Aws) -> None:
    """Let this AWS refuse the decimal field, however often."""

    def answer(request: SealedRequest) -> Outcome:
        return aws.record(request) if request.kind is INTEGER else Refused(code="ValidationException")

    aws.answers = [answer] * 20


def one_hour(story: Story, of: str, quantity: str = "3") -> None:
    """Use something in an hour, and let it be sealed and sent."""
    story.at(f"{of}:20").use(quantity)
    story.at(f"{int(of) + 1}:00:30").at(f"{int(of) + 1}:10")


def kinds(story: Story) -> list[QuantityKind]:
    return [request.kind for request in story.aws.sent]


@pytest.mark.parametrize(("field", "kind"), [("auto", DECIMAL), ("decimal", DECIMAL), ("integer", INTEGER)])
def test_a_whole_quantity_goes_in_the_field_that_is_set(make_story: MakeStory, field: str, kind: QuantityKind) -> None:
    story = make_story(quantity_field=field)
    one_hour(story, "10")
    assert kinds(story) == [kind]
    assert story.aws.bill() == {"10": "3"}


def test_a_refused_decimal_field_costs_one_call_until_the_next_start(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    no_decimals(story.aws)
    one_hour(story, "10")
    one_hour(story, "11")
    assert kinds(story) == [DECIMAL, INTEGER, INTEGER]
    assert len({request.client_token for request in story.aws.sent}) == 3
    assert story.aws.bill() == {"10": "3", "11": "3"}
    assert len(events.of("quantity.decimal_refused")) == 1
    story.balanced()
    story.restart()
    one_hour(story, "12")
    assert kinds(story)[3:] == [DECIMAL, INTEGER]
    story.balanced()


def test_both_requests_of_a_repaired_hour_stand_in_the_audit_copy(make_story: MakeStory) -> None:
    story = make_story()
    no_decimals(story.aws)
    one_hour(story, "10")
    record = story.record("10:00")
    assert (record.state, record.repairs, record.quantity) == (State.SETTLED, (Repair.INTEGER_FIELD,), Decimal(3))
    first, second = story.aws.sent
    assert (first.timestamp, first.quantity) == (second.timestamp, second.quantity)


def test_a_forced_decimal_field_is_not_replaced(make_story: MakeStory, events: Events) -> None:
    story = make_story(quantity_field="decimal")
    no_decimals(story.aws)
    one_hour(story, "10")
    assert kinds(story) == [DECIMAL]
    assert story.record("10:00").state is State.REJECTED
    assert not events.of("quantity.decimal_refused")


def test_a_fraction_is_never_cut_to_fit_the_integer_field(make_story: MakeStory) -> None:
    story = make_story(dimensions=GB)
    no_decimals(story.aws)
    one_hour(story, "10", "3")
    one_hour(story, "11", "3.5")
    assert kinds(story) == [DECIMAL, INTEGER, DECIMAL]
    assert story.record("11:00").state is State.REJECTED
    assert story.aws.bill() == {"10": "3"}
    story.balanced()


def test_what_both_fields_are_refused_for_is_not_blamed_on_the_field(make_story: MakeStory, events: Events) -> None:
    story = make_story()
    story.aws.answers = [Refused(code="ValidationException")] * 2
    one_hour(story, "10")
    assert story.record("10:00").state is State.REJECTED
    one_hour(story, "11")
    assert kinds(story) == [DECIMAL, INTEGER, DECIMAL]
    assert not events.of("quantity.decimal_refused")


def test_what_was_sealed_is_sent_as_it_was_sealed_after_the_setting_changes(make_story: MakeStory) -> None:
    story = make_story(quantity_field="integer")
    story.gate.has_opened = False
    story.at("10:20").use("3")
    story.at("11:00:30")
    story.gate.has_opened = True
    story.restart(quantity_field="decimal").at("11:10")
    assert kinds(story) == [INTEGER]
    assert story.aws.bill() == {"10": "3"}
