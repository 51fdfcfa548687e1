"""A dimension of a contract is drawn from its license: sealed, drawn once, and never twice without a person."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.api.flask_usage import as_json
from sidecar.billing.messages import Submission
from sidecar.metering.hours import Hour
from sidecar.metering.license_dispositions import qualified
from sidecar.metering.outcomes import Refused, Settled, Unknown
from sidecar.metering.resolution import Resolution
from sidecar.metering.states import Action, State
from tests.fakes.child import FakeChild
from tests.fakes.log import Events
from tests.integration.billing.support import MakeStory, Story, hour

LICENSES = '[{"name": "pro", "take": "check"}, {"name": "pages", "take": "drawdown", "dimension": "requests"}]'
CONTRACT = {
    "entitlement_check": "checkout_license",
    "product_sku": "prod-4kq7example2x",
    "licenses": LICENSES,
    "dimensions": "requests,metered",
}
USED_UP = Refused(code="NoEntitlementsAllowedException")


def contract(make_story: MakeStory, **more: str) -> Story:
    return make_story(**{**CONTRACT, **more})


def one_hour(story: Story, of: int = 10, quantity: str = "3") -> None:
    """Use something in an hour, and let it be sealed and sent."""
    story.at(f"{of}:20").use(quantity)
    story.at(f"{of + 1}:00:30").at(f"{of + 1}:10")


def exported(story: Story) -> list[dict[str, Any]]:
    assert story.loop.ledger is not None
    lines, _ = story.loop.ledger.export_page("")
    return [json.loads(line) for line in lines]


def test_a_drawn_dimension_is_checked_out_and_another_is_metered(make_story: MakeStory) -> None:
    story = contract(make_story)
    story.use("2", dimension="metered")
    one_hour(story)
    sent = {request.dimension: request for request in story.aws.sent}
    assert set(sent) == {"metered", "requests"}
    assert sent["metered"].drawdown is None
    pool = sent["requests"].drawdown
    assert pool
    assert (pool.sku, pool.name, pool.unit) == ("prod-4kq7example2x", "pages", "Count")
    assert len(sent["requests"].client_token) == 32
    assert story.record("10:00").state is State.SETTLED
    story.balanced()


def test_what_is_below_a_whole_unit_is_carried(make_story: MakeStory) -> None:
    story = contract(make_story)
    one_hour(story, 10, "2.6")
    one_hour(story, 11, "0.4")
    assert story.aws.bill() == {"10": "2", "11": "1"}
    story.balanced()


def test_each_checkout_has_a_token_of_its_own_also_for_the_same_hour_again(make_story: MakeStory) -> None:
    """Where the ledger is lost the hour may be sealed again: under the same token AWS could take it for a repeat."""
    tokens = set()
    for _ in range(2):
        story = contract(make_story)
        one_hour(story)
        tokens |= {request.client_token for request in story.aws.sent}
        story.crash()
        for file in story.directory.glob("ledger-*"):
            file.unlink()
    assert len(tokens) == 2


def test_an_empty_pool_is_loud_waits_for_days_and_is_drawn_once_there_is_more(
    make_story: MakeStory, events: Events
) -> None:
    story = contract(make_story)
    story.aws.always = USED_UP
    one_hour(story)
    story.at("16:30").at("34:00")
    assert story.record("10:00").state is State.SEALED
    assert {event["levelname"] for event in events.of("record.held")} == {"ERROR"}
    assert {event["license"] for event in events.of("record.held")} == {"pages"}
    assert events.of("metering.overdue")
    story.aws.always = None
    story.at("35:00")
    assert story.aws.bill() == {"10": "3"}
    assert {request.client_token for request in story.aws.sent} == {story.aws.sent[0].client_token}
    story.balanced()


@pytest.mark.parametrize("code", ["AccessDeniedException", "RateLimitExceededException"])
def test_a_held_drawdown_is_a_warning_where_nobody_must_buy(make_story: MakeStory, events: Events, code: str) -> None:
    story = contract(make_story)
    story.aws.answers = [Refused(code=qualified(code))]
    one_hour(story)
    assert {event["levelname"] for event in events.of("record.held")} == {"WARNING"}


def test_a_lost_answer_waits_for_a_person_and_is_not_repeated(make_story: MakeStory, events: Events) -> None:
    story = contract(make_story)
    story.aws.answers = [story.aws.lose_the_answer]
    one_hour(story)
    story.at("12:10").restart().at("13:10").at("18:00")
    assert len(story.aws.sent) == 1
    record = story.record("10:00")
    assert (record.state, record.last_error) == (State.REJECTED, "outcome_unknown")
    (event,) = events.of("record.rejected")
    assert (event["reason"], event["aws_error"]) == ("outcome_unknown", "outcome_unknown")
    story.balanced()


class Gone(BaseException):
    """The process is gone."""


def test_a_kill_between_the_mark_and_the_answer_draws_nothing_twice(make_story: MakeStory) -> None:
    story = contract(make_story)
    aws = story.aws

    def draw_and_die(submission: Submission) -> FakeChild:
        for request in submission.requests:
            aws.record(request)
        raise Gone

    story.at("10:20").use("3")
    story.at("11:00:30")
    story.loop._opened.submitter._start_child = draw_and_die  # type: ignore[union-attr, assignment]
    with pytest.raises(Gone):
        story.at("11:10")
    story.restart().at("11:20").at("12:30")
    assert story.aws.sent == [], "the next process repeats nothing"
    record = story.record("10:00")
    assert (record.state, record.last_error, record.definite) == (State.REJECTED, "outcome_unknown", False)
    assert aws.bill() == {"10": "3"}
    story.balanced()


def test_the_same_kill_of_a_metered_hour_is_repeated(make_story: MakeStory) -> None:
    story = make_story()
    story.at("10:20").use("3")
    story.at("11:00:30")

    def die(submission: Submission) -> FakeChild:
        raise Gone

    story.loop._opened.submitter._start_child = die  # type: ignore[union-attr, assignment]
    with pytest.raises(Gone):
        story.at("11:10")
    story.restart().at("11:20")
    assert story.record("10:00").state is State.SETTLED


@pytest.mark.parametrize(
    ("action", "bill", "states"),
    [
        (Action.RETRY, {"10": "3"}, ["settled"]),
        (Action.ROLL_FORWARD, {"10": "3", "11": "3"}, ["rolled_forward", "settled"]),
        (Action.CONFIRM, {"10": "3"}, ["settled"]),
    ],
)
def test_a_person_decides_about_what_may_have_been_drawn(
    make_story: MakeStory, action: Action, bill: dict[str, str], states: list[str]
) -> None:
    story = contract(make_story)
    story.aws.answers = [story.aws.lose_the_answer]
    one_hour(story)
    story.usage.resolve(
        Resolution(
            action=action,
            workload=None,
            hour=Hour.at(hour("10:00").start),
            dimension="requests",
            record_id="request-1" if action is Action.CONFIRM else None,
        )
    )
    story.at("11:20").at("12:00:30").at("12:10")
    assert story.aws.bill() == bill
    assert [line["state"] for line in exported(story) if line["dimension"] == "requests"] == states
    story.balanced()


def test_a_retry_by_a_person_that_is_lost_again_waits_again(make_story: MakeStory) -> None:
    story = contract(make_story)
    story.aws.answers = [Unknown(code="ReadTimeoutError")] * 2
    one_hour(story)
    story.usage.resolve(Resolution(action=Action.RETRY))
    story.at("11:20").at("12:10")
    first, second = story.aws.sent
    assert first == second
    assert story.record("10:00").state is State.REJECTED


def test_what_was_sealed_for_metering_is_metered_though_the_setting_changed(make_story: MakeStory) -> None:
    story = make_story(dimensions="requests")
    story.gate.has_opened = False
    story.at("10:20").use("3")
    story.at("11:00:30")
    story.gate.has_opened = True
    story.restart(**CONTRACT).at("11:10")
    assert [request.drawdown for request in story.aws.sent] == [None]
    one_hour(story, 11)
    assert story.aws.sent[-1].drawdown is not None


def test_the_last_hour_is_drawn_at_the_end(make_story: MakeStory) -> None:
    story = contract(make_story)
    story.at("10:20").use("3")
    story.end()
    assert story.aws.bill() == {"10": "3"}


def test_export_and_list_say_how_a_record_is_billed(make_story: MakeStory) -> None:
    story = contract(make_story)
    story.use("2", dimension="metered")
    one_hour(story)
    assert {line["dimension"]: line["kind"] for line in exported(story)} == {
        "metered": "meter_usage",
        "requests": "drawdown",
    }
    (drawn,) = [line for line in exported(story) if line["kind"] == "drawdown"]
    assert drawn["requests"][0]["body"]["drawdown"] == {"sku": "prod-4kq7example2x", "name": "pages", "unit": "Count"}
    story.at("11:20").use("1")
    shown = {
        (one["state"], one["dimension"]): one["kind"] for one in (as_json("w", one) for one in story.usage.records())
    }
    assert shown == {
        ("settled", "metered"): "meter_usage",
        ("settled", "requests"): "drawdown",
        ("open", "requests"): None,
    }


def test_the_answers_of_a_drawdown_are_settled_with_awss_request_id(make_story: MakeStory) -> None:
    story = contract(make_story)
    story.aws.answers = [Settled(record_id="request-1")]
    one_hour(story)
    assert story.record("10:00").record_id == "request-1"


def test_what_a_gone_workload_may_have_drawn_is_not_drawn_for_another(make_story: MakeStory, events: Events) -> None:
    gone = contract(make_story)
    gone.at("10:20").use("3")
    gone.at("11:00:30").use("2")

    def die(submission: Submission) -> FakeChild:
        raise Gone

    gone.loop._opened.submitter._start_child = die  # type: ignore[union-attr, assignment]
    with pytest.raises(Gone):
        gone.at("11:10")
    gone.crash()
    other = contract(make_story, workload="pod-2")
    other.at("11:20").at("12:00:30").at("12:10")
    assert list(other.aws.bill().values()) == ["2"], "only what was never sealed"
    (orphan,) = events.of("usage.orphaned")
    assert (orphan["hour"][11:13], orphan["quantity"], orphan["reason"]) == ("10", "3", "outcome_unknown")
    other.balanced()


def test_what_a_gone_workload_had_sealed_and_not_sent_is_drawn_with_the_open_hour(make_story: MakeStory) -> None:
    gone = contract(make_story)
    gone.at("10:20").use("3")
    gone.at("11:00:30")
    gone.crash()
    other = contract(make_story, workload="pod-2")
    other.at("11:20").at("12:00:30").at("12:10")
    assert list(other.aws.bill().values()) == ["3"]
    other.balanced()
