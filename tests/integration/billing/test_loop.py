"""The metering loop on a real ledger: every rule of sealing, sending and ending, with AWS as a table in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from sidecar.billing.loop import BillingLoop
from sidecar.billing.messages import Submission, SubmissionResult
from sidecar.billing.usage import LedgerUsage
from sidecar.clock import SystemClock
from sidecar.entitlement.hold import Hold
from sidecar.errors import Exit
from sidecar.gate.messages import Report
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.quantities import parse_micros
from sidecar.metering.records import UsageRecord
from sidecar.metering.sealed_request import SealedRequest
from sidecar.metering.states import Action, State
from tests.fakes import Events, FakeChild, FakeClock, hearing, settings

DAY = datetime(2026, 1, 2, tzinfo=UTC)
NOBODY = "http://127.0.0.1:9"
PLACE = Report(answer="retry", reason="asking", hint="", workload="pod-1", region="us-east-1")


def clock_time(words: str) -> datetime:
    hours, minutes, *seconds = (int(part) for part in words.split(":"))
    return DAY + timedelta(hours=hours, minutes=minutes, seconds=seconds[0] if seconds else 0)


def hour(words: str) -> Hour:
    return Hour.at(clock_time(words))


@dataclass
class FakeGate:
    has_opened: bool = True
    hold: Hold | None = None
    holds: list[Hold | None] = field(default_factory=list)

    def set_hold(self, hold: Hold | None) -> None:
        self.hold = hold
        self.holds.append(hold)


@dataclass
class Aws:
    """One quantity for a dimension and hour, for ever; `answers` come first, then the truth."""

    answers: list[Outcome | Callable[[SealedRequest], Outcome]] = field(default_factory=list)
    always: Outcome | None = None
    billed: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    sent: list[SealedRequest] = field(default_factory=list)

    def __call__(self, submission: Submission) -> FakeChild:
        lines = [
            SubmissionResult(outcome=self._answer(one), request_id="r").as_json().encode()
            for one in submission.requests
        ]
        return FakeChild(lines=list(lines))

    def _answer(self, request: SealedRequest) -> Outcome:
        self.sent.append(request)
        if self.answers:
            given = self.answers.pop(0)
            return given(request) if callable(given) else given
        return self.always or self.record(request)

    def record(self, request: SealedRequest) -> Outcome:
        slot = (request.dimension, request.timestamp // 3600)
        quantity, receipt = self.billed.setdefault(slot, (request.quantity, f"receipt-{len(self.billed) + 1}"))
        return Settled(record_id=receipt) if quantity == request.quantity else Refused(code="DuplicateRequestException")

    def lose_the_answer(self, request: SealedRequest) -> Outcome:
        self.record(request)
        return Unknown(code="ReadTimeoutError")

    def bill(self, dimension: str = "requests") -> dict[str, str]:
        return {f"{number % 24:02d}": q for (name, number), (q, _) in sorted(self.billed.items()) if name == dimension}


class Story:
    """One workload's life, told by the clock."""

    def __init__(self, directory: Path, workload: str = PLACE.workload, **more: str) -> None:
        self.directory, self.more = directory, more
        self.place = replace(PLACE, workload=workload)
        self.clock = FakeClock(at=clock_time("10:20"))
        self.aws, self.gate = Aws(), FakeGate()
        self.goes_on = False
        self.passes: list[str] = []
        self.begin()

    def begin(self) -> None:
        given = {"state_dir": str(self.directory), "dimensions": "requests"} | self.more
        self.settings = settings(**given)
        self.settlement = BillingLoop(
            settings=self.settings,
            clock=self.clock,
            gate=self.gate,
            start_child=self.aws,  # type: ignore[arg-type]
            chance=lambda: 0.5,
            rest=self.clock.advance,
            task_goes_on=lambda: self.goes_on,
            keep_pass=lambda workload, names: self.passes.append(f"{workload} {','.join(sorted(names))}"),
        )
        self.usage = LedgerUsage(self.settings, self.settlement, self.clock)
        self.settlement.set_identity(self.place.workload, self.place.region)
        self.settlement.run_once()

    def at(self, words: str) -> Story:
        """A pass at this time of day."""
        moment = clock_time(words)
        self.clock.advance((moment - self.clock.at).total_seconds())
        self.settlement.run_once()
        return self

    def use(
        self, quantity: str, at: str | None = None, dimension: str = "requests", **more: str
    ) -> PushAccepted | PushRefused:
        answers: list[PushAccepted | PushRefused] = []
        event = UsageEvent(
            dimension=dimension,
            micros=parse_micros(quantity),
            at=(at and clock_time(at)) or None,
            **more,  # type: ignore[arg-type]
        )
        ledger = self.settlement.ledger
        assert ledger is not None
        answers.append(ledger.push([event], self.clock.now()))
        return answers[0]

    def records(self) -> dict[str, str]:
        return {f"{one.hour.start:%H} {one.dimension}": one.state.value for one in self.usage.records()}

    def record(self, words: str, dimension: str = "requests") -> UsageRecord:
        assert self.settlement.ledger is not None
        found = self.settlement.ledger.find(hour(words), dimension)
        assert found is not None
        return found

    def balanced(self) -> None:
        assert self.settlement.ledger is not None
        assert all(one.balanced for one in self.settlement.ledger.balances())

    def crash(self) -> Story:
        """The process is gone: nothing is flushed, the lock is free."""
        assert self.settlement.ledger is not None
        self.settlement.ledger.close()
        return self

    def restart(self, **more: str) -> Story:
        """Another process of the same workload, with these settings changed."""
        self.crash()
        self.more |= more
        self.begin()
        return self

    def end(self) -> None:
        self.settlement.stop()
        self.settlement.finish()


@pytest.fixture
def tell(tmp_path: Path) -> Iterator[Callable[..., Story]]:
    stories: list[Story] = []

    def make(**more: str) -> Story:
        stories.append(Story(tmp_path, **more))
        return stories[-1]

    yield make
    for story in stories:
        if story.settlement.ledger:
            story.settlement.ledger.close()


@pytest.fixture(autouse=True)
def events() -> Iterator[Events]:
    with hearing() as heard:
        yield heard


# -- an hour


def test_an_hour_is_billed_once_to_the_unit(tell: Callable[..., Story], events: Events) -> None:
    story = tell()
    story.use("3")
    story.use("4.000000")
    story.at("10:59:59")
    assert story.aws.sent == []
    for moment in ("11:00:30", "11:09:30", "11:10", "12:30"):
        story.at(moment)
    assert story.aws.bill() == {"10": "7"}
    assert len(story.aws.sent) == 1
    said = events.one("record.settled")
    expected = {"quantity": "7", "workload": "pod-1", "region": "us-east-1", "dimension": "requests"}
    assert {name: said[name] for name in expected} == expected
    assert said["metering_record_id"] == "receipt-1"
    assert said["hour"] == "2026-01-02T10:00:00.000Z"
    assert events.of("hour.sealed")
    story.balanced()


def test_sealing_takes_place_within_a_minute_of_the_hours_end(tell: Callable[..., Story]) -> None:
    story = tell()
    story.use("1")
    story.at("11:00:00")
    story.at("11:00:30")
    assert story.record("10:00").state is State.SEALED
    assert story.record("10:00").request is not None
    assert story.record("10:00").request.timestamp == int(clock_time("10:59:59").timestamp())  # type: ignore[union-attr]


def test_the_running_hour_is_never_sealed_by_a_pass(tell: Callable[..., Story]) -> None:
    story = tell()
    story.use("1")
    for minute in range(21, 60):
        story.at(f"10:{minute}")
    assert story.records() == {"10 requests": "open"}


def test_a_record_is_sent_within_ten_minutes(tell: Callable[..., Story]) -> None:
    story = tell()
    story.use("1")
    story.at("11:00:30").at("11:10:00")
    assert story.aws.bill() == {"10": "1"}


def test_an_empty_hour_makes_no_record(tell: Callable[..., Story]) -> None:
    story = tell()
    story.at("11:00:30").at("11:10").at("14:10")
    assert story.aws.sent == []


def test_an_empty_hour_is_reported_where_the_dimension_asks(tell: Callable[..., Story]) -> None:
    story = tell(dimensions='[{"name": "requests", "report_zero": true}]')
    story.at("11:00:30").at("11:10").at("14:10").at("14:20")
    assert story.aws.bill() == {"10": "0", "11": "0", "12": "0", "13": "0"}


def test_nothing_is_sent_before_the_gate_has_opened(tell: Callable[..., Story]) -> None:
    story = tell()
    story.gate.has_opened = False
    story.use("1")
    story.at("11:00:30").at("11:30")
    assert story.aws.sent == []
    assert story.record("10:00").state is State.SEALED
    story.gate.has_opened = True
    story.at("11:31")
    assert story.aws.bill() == {"10": "1"}


def test_what_was_sent_by_an_earlier_process_is_sent_on_although_the_gate_is_shut(tell: Callable[..., Story]) -> None:
    story = tell()
    story.aws.answers = [Refused(code="ThrottlingException")]
    story.use("1")
    story.at("11:00:30").at("11:10")
    story.gate.has_opened = False
    story.restart().at("11:20")
    assert story.aws.bill() == {"10": "1"}


# -- answers


def test_a_lost_answer_does_not_bill_the_hour_twice(tell: Callable[..., Story]) -> None:
    story = tell()
    story.use("7")
    story.aws.answers = [story.aws.lose_the_answer]
    story.at("11:00:30").at("11:10")
    assert story.record("10:00").state is State.SEALED
    story.restart().at("11:20")
    first, second = story.aws.sent
    assert first == second
    assert story.aws.bill() == {"10": "7"}
    assert story.record("10:00").state is State.SETTLED
    story.balanced()


def test_an_outage_of_hours_bills_every_hour_once_it_ends(tell: Callable[..., Story]) -> None:
    story = tell()
    story.aws.always = Refused(code="EndpointConnectionError")
    for at in ("10:30", "11:30", "12:30"):
        story.at(at)
        story.use("1")
    story.at("13:10").at("13:20")
    assert story.aws.bill() == {}
    story.aws.always = None
    story.at("13:40").at("13:50")
    assert story.aws.bill() == {"10": "1", "11": "1", "12": "1"}
    hours = [request.timestamp for request in story.aws.sent[-3:]]
    assert hours == sorted(hours), "oldest first"
    story.balanced()


def test_what_is_too_late_and_certainly_not_billed_goes_into_the_open_hour(
    tell: Callable[..., Story], events: Events
) -> None:
    story = tell()
    story.aws.always = Refused(code="EndpointConnectionError")
    story.use("5")
    for at in ("11:10", "13:10", "15:40", "15:46"):
        story.at(at)
    assert story.record("10:00").state is State.ROLLED_FORWARD
    story.aws.always = None
    story.at("16:01").at("16:10")
    assert story.aws.bill() == {"15": "5"}
    assert events.of("record.expired")
    assert events.of("usage.rolled_forward")
    story.balanced()


def test_what_is_too_late_and_may_have_been_billed_waits_for_a_person(
    tell: Callable[..., Story], events: Events
) -> None:
    story = tell()
    story.use("5")
    story.aws.answers = [story.aws.lose_the_answer]
    story.at("11:00:30")
    story.at("11:10")
    story.aws.always = Refused(code="EndpointConnectionError")
    for at in ("12:10", "15:40", "15:46"):
        story.at(at)
    record = story.record("10:00")
    assert (record.state, record.last_error) == (State.REJECTED, "outcome_unknown")
    story.aws.always = None
    story.at("16:10").at("17:10")
    assert story.aws.bill() == {"10": "5"}, "not billed a second time"
    assert events.of("record.rejected")
    story.balanced()


@pytest.mark.parametrize(("policy", "bill"), [("hold", {"10": "9"}), ("roll_forward", {"10": "9", "11": "5"})])
def test_a_disputed_quantity_is_billed_again_only_where_the_operator_says_so(
    tell: Callable[..., Story], events: Events, policy: str, bill: dict[str, str]
) -> None:
    story = tell(on_dispute=policy)
    story.aws.billed["requests", hour("10:00").number] = ("9", "receipt-of-another")
    story.use("5")
    for at in ("11:00:30", "11:10", "12:00:30", "12:10"):
        story.at(at)
    assert story.aws.bill() == bill
    assert events.of("record.disputed")
    story.balanced()


def test_a_disputed_record_that_is_sent_again_too_late_is_not_billed_in_a_later_hour(
    tell: Callable[..., Story],
) -> None:
    """To send it again is not to bill it again: AWS holds a quantity for that hour."""
    story = tell()
    story.aws.billed["requests", hour("10:00").number] = ("9", "receipt-of-another")
    story.use("5")
    story.at("11:00:30").at("11:10").at("16:30")
    story.usage.apply_action(Action.RETRY, None, None, None)
    story.at("16:31").at("17:00:30").at("17:10")
    assert story.aws.bill() == {"10": "9"}
    assert (story.record("10:00").state, story.record("10:00").last_error) == (State.REJECTED, "outcome_unknown")
    story.balanced()


def test_a_person_settles_what_was_rejected(tell: Callable[..., Story]) -> None:
    story = tell()
    story.aws.answers = [Refused(code="InvalidUsageDimensionException")]
    story.use("5")
    story.at("11:00:30").at("11:10")
    assert story.record("10:00").state is State.REJECTED
    story.at("11:40")
    assert len(story.aws.sent) == 1, "what waits for a person is not sent by itself"
    (record,) = story.usage.apply_action(Action.RETRY, None, None, None)
    assert record.state is State.SEALED
    story.at("11:41")
    assert story.aws.bill() == {"10": "5"}


def test_refused_tags_are_repaired_at_once_and_the_quantity_stays(tell: Callable[..., Story]) -> None:
    story = tell(dimensions='[{"name": "requests", "tags": ["team"]}]')
    story.use("5", tags=(("team", "red"),))  # type: ignore[arg-type]
    story.aws.answers = [Refused(code="InvalidTagException")]
    story.at("11:00:30").at("11:10")
    first, second = story.aws.sent
    assert first.allocations
    assert not second.allocations
    assert first.client_token != second.client_token
    assert (first.quantity, first.timestamp) == (second.quantity, second.timestamp)
    assert story.aws.bill() == {"10": "5"}


def test_expired_credentials_are_refreshed_once_and_then_waited_for(tell: Callable[..., Story]) -> None:
    story = tell()
    story.use("5")
    story.aws.always = Refused(code="ExpiredTokenException")
    story.at("11:00:30").at("11:10")
    assert len(story.aws.sent) == 2, "at once with fresh credentials, then not in the same pass"
    story.aws.always = None
    story.at("11:30")
    assert story.aws.bill() == {"10": "5"}


def test_a_child_that_cannot_be_started_is_tried_again(tell: Callable[..., Story]) -> None:
    story = tell()
    story.use("5")

    def broken(_: object) -> FakeChild:
        raise OSError("no memory")

    story.settlement._start_child = broken  # type: ignore[assignment]
    story.at("11:00:30").at("11:10")
    record = story.record("10:00")
    assert (record.state, record.definite) == (State.SEALED, True)
    story.settlement._start_child = story.aws  # type: ignore[assignment]
    story.at("11:30")
    assert story.aws.bill() == {"10": "5"}


# -- late usage, clocks


def test_usage_for_a_sealed_hour_is_billed_with_the_open_one(tell: Callable[..., Story], events: Events) -> None:
    story = tell()
    story.use("1")
    story.at("11:00:30").at("11:10")
    story.use("2", at="10:40")
    story.use("4")
    story.at("12:00:30").at("12:10")
    assert story.aws.bill() == {"10": "1", "11": "6"}
    said = events.of("record.settled")[-1]
    assert (said["hour"], said["used_in"]) == ("2026-01-02T11:00:00.000Z", ["2026-01-02T10:00:00.000Z"])
    story.balanced()


def test_a_clock_set_back_opens_no_sealed_hour_again(tell: Callable[..., Story], events: Events) -> None:
    story = tell()
    story.use("1")
    story.at("11:00:30").at("11:10")
    story.clock.at = clock_time("10:40")
    story.settlement.run_once()
    assert events.of("clock.jumped")
    story.use("2")
    for at in ("10:59", "11:00:40", "11:20", "11:59", "12:00:40", "12:10"):
        story.at(at)
    assert story.aws.bill() == {"10": "1", "11": "2"}
    assert all(request.timestamp % 3600 == 3599 for request in story.aws.sent)
    story.balanced()


def test_a_suspended_host_seals_the_hour_it_slept_through(tell: Callable[..., Story], events: Events) -> None:
    story = tell()
    story.use("1")
    story.clock.at = clock_time("13:30")
    story.settlement.run_once()
    assert events.one("clock.jumped")["seconds"] == pytest.approx(3 * 3600 + 600)
    story.at("13:31")
    assert story.aws.bill() == {"10": "1"}


def test_a_clock_that_runs_on_time_is_not_said_to_leap(tell: Callable[..., Story], events: Events) -> None:
    story = tell()
    story.at("10:20:30").at("10:21").at("15:00")
    assert events.of("clock.jumped") == []


def test_nothing_is_ever_stamped_in_the_future(tell: Callable[..., Story]) -> None:
    story = tell()
    story.use("1", at="10:24")
    story.at("10:22")
    story.end()
    (request,) = story.aws.sent
    assert request.timestamp <= int(clock_time("10:22").timestamp())


@pytest.mark.parametrize("how", ["end", "recheck"])
def test_what_a_clock_that_was_ahead_sealed_is_not_sent_before_its_time(tell: Callable[..., Story], how: str) -> None:
    story = tell()
    story.use("1")
    story.at("11:00:30").at("10:40")
    if how == "end":
        story.end()
    else:
        story.settlement.send_now()
        story.settlement.run_once()
    assert story.aws.sent == []
    story.restart().at("11:10")
    assert story.aws.bill() == {"10": "1"}


# -- the end


def test_the_end_settles_the_closed_hour_and_the_running_one(tell: Callable[..., Story], events: Events) -> None:
    story = tell()
    story.use("1")
    story.clock.advance(3600)
    story.use("2")
    story.end()
    assert story.aws.bill() == {"10": "1", "11": "2"}
    assert story.aws.sent[-1].timestamp == int(clock_time("11:20").timestamp())
    assert events.of("usage.left_behind") == []
    refused = story.usage
    answers: list[PushAccepted | PushRefused] = []
    refused.push([UsageEvent(dimension="requests", micros=parse_micros("1"))], story.clock.now(), answers.append)
    assert isinstance(answers[0], PushRefused)
    assert answers[0].status == 503


def test_a_restart_after_the_end_rolls_the_rest_of_the_hour_into_the_next(tell: Callable[..., Story]) -> None:
    story = tell()
    story.use("1")
    story.end()
    story.begin()
    story.at("10:40")
    story.use("2")
    story.at("11:00:40").at("11:10").at("12:00:40").at("12:10")
    assert story.aws.bill() == {"10": "1", "11": "2"}
    story.balanced()


def test_where_the_task_goes_on_the_running_hour_stays_open(tell: Callable[..., Story]) -> None:
    story = tell()
    story.goes_on = True
    story.use("1")
    story.end()
    assert story.aws.sent == []
    story.begin()
    story.use("2")
    story.at("11:00:40").at("11:10")
    assert story.aws.bill() == {"10": "3"}


def test_what_cannot_be_settled_at_the_end_is_logged_whole(tell: Callable[..., Story], events: Events) -> None:
    story = tell()
    story.aws.always = Refused(code="EndpointConnectionError")
    story.use("5")
    story.end()
    left = events.one("usage.left_behind")["left"]
    assert left["quantity"] == "5"
    assert left["dimension"] == "requests"
    assert "client_token" in str(left)


def test_what_is_too_late_at_the_end_is_billed_with_the_running_hour(
    tell: Callable[..., Story], events: Events
) -> None:
    story = tell()
    story.use("3")
    story.aws.always = Refused(code="EndpointConnectionError", sent=False)
    for at in ("11:00:30", "11:20", "15:00:30", "15:44:50"):
        story.at(at)
    story.aws.always = None
    story.clock.advance(20)  # no pass since it became too late
    story.use("1")
    story.end()
    assert story.aws.bill() == {"15": "4"}
    assert not events.of("usage.left_behind")


def test_the_last_flush_asks_again_inside_its_budget_and_not_beyond(tell: Callable[..., Story]) -> None:
    story = tell(flush_seconds="10")
    story.aws.answers = [Refused(code="ThrottlingException"), Refused(code="InternalServiceErrorException")]
    story.use("5")
    began = story.clock.monotonic()
    story.end()
    assert story.aws.bill() == {"10": "5"}
    assert story.clock.monotonic() - began < 10


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException"])
def test_the_last_flush_ends_in_time_where_aws_never_takes_it(
    tell: Callable[..., Story], events: Events, code: str
) -> None:
    story = tell(flush_seconds="10")
    story.aws.always = Refused(code=code)
    story.use("5")
    began = story.clock.monotonic()
    story.end()
    assert story.clock.monotonic() - began < 10
    assert events.of("usage.left_behind")


def test_a_gate_that_never_opened_sends_nothing_at_the_end_either(tell: Callable[..., Story], events: Events) -> None:
    story = tell()
    story.gate.has_opened = False
    story.use("5")
    story.end()
    assert story.aws.sent == []
    assert events.one("usage.left_behind")["left"]["quantity"] == "5"


# -- entitlement by metering, overdue


METERED = {"entitlement_check": "meter_usage"}


@pytest.mark.parametrize(("policy", "holds"), [("shut", [Hold.FIRST_METER_DENIED]), ("alert", [])])
def test_not_entitled_to_the_first_real_record_does_what_the_operator_chose(
    tell: Callable[..., Story], events: Events, policy: str, holds: list[Hold]
) -> None:
    story = tell(**METERED, on_first_meter_denied=policy)
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


def test_not_entitled_after_a_yes_shuts_nothing(tell: Callable[..., Story], events: Events) -> None:
    story = tell(**METERED)
    story.use("1")
    story.at("11:00:30").at("11:10")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.use("1")
    story.at("12:00:30").at("12:10")
    assert story.gate.holds == []
    assert events.of("metering.denied") == []


def test_under_register_usage_a_record_shuts_nothing(tell: Callable[..., Story]) -> None:
    story = tell()
    story.use("1")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.at("11:00:30").at("11:10")
    assert story.gate.holds == []


def test_a_denial_is_remembered_across_a_restart(tell: Callable[..., Story]) -> None:
    story = tell(**METERED)
    story.use("1")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.at("11:00:30").at("11:10")
    story.gate = FakeGate()
    story.restart()
    assert story.gate.holds == [Hold.FIRST_METER_DENIED]


@pytest.mark.parametrize("later", ["11:30", "17:10"])
def test_a_denial_is_remembered_though_the_record_was_throttled_since_or_rolled_forward(
    tell: Callable[..., Story], later: str
) -> None:
    story = tell(**METERED)
    story.use("1")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.at("11:00:30").at("11:10")
    story.aws.always = Refused(code="ThrottlingException")
    story.at(later)
    story.gate = FakeGate()
    story.restart()
    assert story.gate.holds == [Hold.FIRST_METER_DENIED]


def test_a_denial_before_a_yes_is_no_denial_after_a_restart(tell: Callable[..., Story]) -> None:
    story = tell(**METERED)
    story.use("1")
    story.aws.always = Refused(code="CustomerNotEntitledException")
    story.at("11:00:30").at("11:10")
    story.aws.always = None
    story.at("11:40")
    story.gate = FakeGate()
    story.restart()
    assert story.gate.holds == []


@pytest.mark.parametrize("hold", list(Hold))
def test_a_hold_that_an_earlier_worker_imposed_ends_with_the_first_yes(tell: Callable[..., Story], hold: Hold) -> None:
    story = tell(**METERED)
    story.use("1")
    story.at("11:00:30").crash()
    story.gate = FakeGate(hold=hold)
    story.begin()
    story.at("11:10")
    assert story.aws.bill() == {"10": "1"}
    assert story.gate.hold is None


@pytest.mark.parametrize(("policy", "holds"), [("shut", [Hold.METERING_OVERDUE]), ("alert", []), ("not_ready", [])])
def test_usage_that_cannot_be_reported_for_two_hours_is_overdue(
    tell: Callable[..., Story], events: Events, policy: str, holds: list[Hold]
) -> None:
    story = tell(on_metering_overdue=policy)
    story.use("1")
    story.aws.always = Refused(code="EndpointConnectionError")
    story.at("11:00:30").at("11:10").at("12:59")
    assert story.settlement.overdue_since is None
    story.at("13:01")
    assert story.settlement.overdue_since == clock_time("11:00")
    assert story.gate.holds == holds
    story.aws.always = None
    story.at("13:20")
    assert story.settlement.overdue_since is None
    assert story.gate.holds == holds + ([None] if holds else [])
    assert events.of("metering.recovered")


def test_an_outage_is_as_old_after_a_restart_as_before(tell: Callable[..., Story]) -> None:
    story = tell(on_metering_overdue="shut")
    story.use("1")
    story.aws.always = Refused(code="EndpointConnectionError")
    story.at("11:00:30").at("11:10").at("13:20")
    story.gate = FakeGate()
    story.restart()
    story.at("13:21")
    assert story.settlement.overdue_since is not None
    assert story.gate.holds == [Hold.METERING_OVERDUE]
    story.aws.always = None
    story.at("13:50")
    assert story.gate.holds == [Hold.METERING_OVERDUE, None]


def test_one_refused_dimension_beside_one_that_settles_is_not_overdue(tell: Callable[..., Story]) -> None:
    story = tell(dimensions="requests,gb")

    def only_gb(request: SealedRequest) -> Outcome:
        return story.aws.record(request) if request.dimension == "gb" else Refused(code="ThrottlingException")

    for start in (10, 11, 12, 13):
        story.use("1", dimension="gb")
        story.use("1")
        story.aws.answers = [only_gb] * 50
        story.at(f"{start + 1}:00:30").at(f"{start + 1}:10")
    assert story.settlement.overdue_since is None


class FullDisk:
    """The ledger cannot be written while this lasts."""

    def __init__(self, story: Story) -> None:
        assert story.settlement.ledger is not None
        self._ledger = story.settlement.ledger
        self._working = self._ledger.check

    def __enter__(self) -> None:
        def full(_: datetime) -> None:
            raise LedgerError("ledger_full")

        self._ledger.check = full  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        self._ledger.check = self._working  # type: ignore[method-assign]


@pytest.mark.parametrize(("policy", "holds"), [("shut", [Hold.METERING_OVERDUE]), ("alert", []), ("not_ready", [])])
def test_a_disk_that_is_full_for_two_hours_makes_metering_overdue(
    tell: Callable[..., Story], events: Events, policy: str, holds: list[Hold]
) -> None:
    story = tell(on_metering_overdue=policy)
    with FullDisk(story):
        story.at("10:30").at("12:29")
        assert story.settlement.overdue_since is None
        story.at("12:30").at("12:31")
    assert story.settlement.overdue_since == clock_time("10:30")
    assert story.gate.holds == holds
    assert "ledger" in events.one("metering.overdue")["hint"]
    story.at("12:40")
    assert story.settlement.overdue_since is None
    assert story.gate.holds == holds + ([None] if holds else [])
    assert events.of("metering.recovered")


def test_usage_that_waits_behind_a_full_disk_is_overdue_from_its_own_hours_end(tell: Callable[..., Story]) -> None:
    story = tell(on_metering_overdue="shut")
    story.use("1")
    story.aws.always = Refused(code="EndpointConnectionError")
    story.at("11:00:30").at("11:30")
    with FullDisk(story):
        story.at("11:40").at("13:00")
    assert story.settlement.overdue_since == clock_time("11:00")
    story.at("13:10")
    assert story.gate.holds == [Hold.METERING_OVERDUE], "the disk works, AWS takes nothing"
    story.aws.always = None
    story.at("13:40")
    assert story.gate.holds == [Hold.METERING_OVERDUE, None]


def test_a_gate_that_overdue_usage_shut_opens_with_the_disk_though_an_amount_waits_for_the_next_hour(
    tell: Callable[..., Story],
) -> None:
    gone = tell()
    gone.use("1")
    gone.crash()
    story = tell(workload="pod-2", on_metering_overdue="shut")
    with FullDisk(story):
        story.at("10:50").at("12:50")
    story.clock.at = clock_time("10:55")  # back in the hour that takes it
    story.settlement.run_once()
    assert story.settlement.waiting is not None
    assert story.settlement.waiting.rolled == 1
    assert story.settlement.overdue_since is None
    assert story.gate.holds == [Hold.METERING_OVERDUE, None]


def test_a_disk_that_fails_now_and_then_is_not_overdue(tell: Callable[..., Story], events: Events) -> None:
    story = tell(on_metering_overdue="shut")
    for start in (10, 11, 12, 13):
        with FullDisk(story):
            story.at(f"{start}:21").at(f"{start}:59")
        story.at(f"{start + 1}:10")
    assert (story.settlement.overdue_since, story.gate.holds) == (None, [])
    assert events.of("metering.overdue") == []


def test_a_full_disk_does_nothing_to_a_gate_before_it_opens(tell: Callable[..., Story], events: Events) -> None:
    story = tell(on_metering_overdue="shut")
    story.gate.has_opened = False
    with FullDisk(story):
        story.at("10:21").at("18:00")
        assert (story.settlement.overdue_since, story.gate.holds) == (None, [])
        assert events.of("metering.overdue") == []
        story.gate.has_opened = True
        story.at("18:01")
    assert story.gate.holds == [Hold.METERING_OVERDUE], "as with AWS, it counts from before"


def test_a_ledger_that_opens_and_fails_at_once_does_not_begin_the_count_anew(
    tell: Callable[..., Story], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell().crash()

    def full(*_: object) -> None:
        raise LedgerError("ledger_full")

    monkeypatch.setattr(Ledger, "prune", full)
    story = tell(on_metering_overdue="shut")
    story.at("11:21")
    assert story.settlement.ledger is None
    story.at("12:20")
    assert story.settlement.overdue_since == clock_time("10:20")


def test_a_fault_that_ended_before_the_gate_opened_does_not_count(tell: Callable[..., Story]) -> None:
    story = tell(on_metering_overdue="shut")
    story.gate.has_opened = False
    with FullDisk(story):
        story.at("10:21")
    story.at("18:00")
    story.gate.has_opened = True
    with FullDisk(story):
        story.at("18:01")
    assert (story.settlement.overdue_since, story.gate.holds) == (None, [])


def test_a_ledger_that_cannot_be_opened_makes_metering_overdue_and_one_that_opens_late_does_not(
    tell: Callable[..., Story], events: Events
) -> None:
    first = tell()
    second = tell(on_metering_overdue="shut")
    second.at("12:19")
    first.crash()
    second.at("12:19:30").at("18:00")
    assert (second.settlement.overdue_since, second.gate.holds) == (None, [])
    third = tell(on_metering_overdue="shut")
    third.at("12:20")
    assert third.settlement.overdue_since == clock_time("10:20")
    assert third.gate.holds == [Hold.METERING_OVERDUE]
    assert len(events.of("metering.overdue")) == 1


def test_a_clock_that_starts_decades_behind_on_a_full_disk_is_not_overdue_once_it_is_right(
    tell: Callable[..., Story],
) -> None:
    story = tell(on_metering_overdue="shut")
    with FullDisk(story):
        story.at("10:21")
        story.clock.at += timedelta(days=20_000)
        story.settlement.run_once()
    assert (story.settlement.overdue_since, story.gate.holds) == (None, [])


# -- a clock that was ahead


def far_ahead(tell: Callable[..., Story], **more: str) -> Story:
    """The ledger began ten years ahead, and then the clock was set right."""
    story = tell(**more)
    story.crash()
    for file in story.directory.glob("ledger-*"):
        file.unlink()
    story.clock.at += timedelta(days=3652)
    story.begin()
    story.clock.at = clock_time("10:20")
    story.settlement.run_once()
    return story


def test_usage_that_counts_in_an_hour_far_ahead_is_said_once_and_overdue_in_time(
    tell: Callable[..., Story], events: Events
) -> None:
    story = far_ahead(tell, on_metering_overdue="shut")
    assert events.of("usage.postponed") == [], "nothing waits yet"
    story.use("5")
    story.at("10:21").at("10:22").at("12:20")
    said = events.one("usage.postponed")
    assert (said["open_hour"][:13], said["now"][:16]) == ("2036-01-02T10", "2026-01-02T10:21")
    assert said["quantities"] == {"requests": "5"}
    assert "clock" in said["hint"]
    assert said["levelname"] == "ERROR"
    assert (story.settlement.overdue_since, story.gate.holds) == (None, [])
    story.at("12:21")
    assert story.settlement.overdue_since == clock_time("10:21")
    assert story.gate.holds == [Hold.METERING_OVERDUE]
    assert "clock" in events.one("metering.overdue")["hint"]
    assert story.settlement.waiting is not None
    assert story.settlement.waiting.open_from == Hour.at(clock_time("10:20") + timedelta(days=3652)), (
        "it never goes back"
    )


def test_once_the_far_hour_has_come_usage_is_billed_and_nothing_is_overdue(tell: Callable[..., Story]) -> None:
    story = far_ahead(tell, on_metering_overdue="shut")
    story.use("5")
    story.at("10:21").at("12:21")
    story.clock.at += timedelta(days=3652)
    story.settlement.run_once()
    assert story.settlement.postponed is None
    assert (story.settlement.overdue_since, story.gate.hold) == (None, None)
    assert story.aws.bill() == {"10": "5"}
    story.balanced()


def test_a_new_workload_on_the_volume_bills_now_what_waited_for_a_far_hour(tell: Callable[..., Story]) -> None:
    """What the hint says to do."""
    gone = far_ahead(tell)
    gone.use("5")
    gone.at("10:21").crash()
    story = tell(workload="pod-2")
    story.at("10:40").at("11:00:40").at("11:10")
    assert story.settlement.postponed is None
    assert story.aws.bill() == {"10": "5"}
    story.balanced()


def test_an_hour_closed_early_by_the_end_of_the_workload_is_no_far_hour(
    tell: Callable[..., Story], events: Events
) -> None:
    story = tell(on_metering_overdue="shut")
    story.use("1")
    story.end()
    story.begin()
    story.use("2")
    story.at("10:40").at("10:59").at("11:30").at("12:50")
    assert events.of("usage.postponed") == []
    assert (story.settlement.overdue_since, story.gate.holds) == (None, [])


# -- faults


def test_a_disk_that_fails_is_said_once_and_recovered_from(tell: Callable[..., Story], events: Events) -> None:
    story = tell()
    ledger = story.settlement.ledger
    assert ledger is not None
    working = ledger.check

    def full(_: datetime) -> None:
        raise LedgerError("ledger_full")

    ledger.check = full  # type: ignore[method-assign]
    story.at("10:21").at("10:22")
    assert [event["reason"] for event in events.of("ledger.failed")] == ["ledger_full"]
    ledger.check = working  # type: ignore[method-assign]
    story.at("10:23")
    assert events.of("ledger.recovered")
    assert story.settlement.fault is None


@pytest.mark.parametrize(("opened", "ends"), [(False, [Exit.SOFTWARE]), (True, [])])
def test_a_loop_that_breaks_is_named_and_ends_the_process_only_while_the_gate_is_shut(
    tell: Callable[..., Story], events: Events, opened: bool, ends: list[Exit]
) -> None:
    story = tell()
    story.gate.has_opened = opened
    ended: list[Exit] = []
    story.settlement._end = lambda code, _text: ended.append(code)

    def broken(_: datetime) -> None:
        raise ZeroDivisionError

    assert story.settlement.ledger is not None
    story.settlement.ledger.check = broken  # type: ignore[method-assign]
    story.settlement.send_now()
    story.settlement._run()
    assert story.settlement.stopped_loop == "metering"
    assert events.of("loop.stopped")
    assert ended == ends


def test_a_ledger_that_is_locked_is_opened_when_it_is_free(tell: Callable[..., Story]) -> None:
    first = tell()
    first.use("1")
    second = tell()
    assert second.settlement.ledger is None
    answers: list[PushAccepted | PushRefused] = []
    second.usage.push([UsageEvent(dimension="requests", micros=parse_micros("1"))], second.clock.now(), answers.append)
    assert isinstance(answers[0], PushRefused)
    assert (answers[0].status, answers[0].reason) == (503, "ledger_locked")
    first.crash()
    second.at("10:25")
    assert second.settlement.ledger is not None


def test_a_ledger_that_cannot_be_opened_is_tried_again_after_a_pause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    given = settings(state_dir=str(tmp_path / "file"), dimensions="requests")
    looked = threading.Semaphore(0)

    class Counting(BillingLoop):
        def run_once(self) -> None:
            super().run_once()
            looked.release()

    settlement = Counting(settings=given, clock=SystemClock(), gate=FakeGate())
    settlement.set_identity(PLACE.workload, PLACE.region)
    settlement.start()
    assert looked.acquire(timeout=10), "at once"
    assert not looked.acquire(timeout=0.5), "and then not without a pause"
    assert settlement.fault is not None
    settlement.stop()
    while not settlement.stopped():
        looked.acquire(timeout=0.01)


def test_before_it_is_known_who_is_metered_a_push_is_refused(tmp_path: Path) -> None:
    clock = FakeClock()
    of = settings(state_dir=str(tmp_path), dimensions="requests")
    settlement = BillingLoop(settings=of, clock=clock, gate=FakeGate())
    answers: list[PushAccepted | PushRefused] = []
    usage = LedgerUsage(of, settlement, clock)
    usage.push([UsageEvent(dimension="requests", micros=parse_micros("1"))], clock.now(), answers.append)
    assert isinstance(answers[0], PushRefused)
    assert (answers[0].status, answers[0].reason) == (503, "workload_unknown")
    assert usage.refusals == {"workload_unknown": 1}


def test_usage_of_a_dead_workload_on_the_volume_is_billed_by_the_next(
    tell: Callable[..., Story], events: Events
) -> None:
    first = tell()
    first.use("3")
    first.crash()
    story = tell()
    story.settlement.set_identity(PLACE.workload, PLACE.region)
    assert story.settlement.ledger is not None
    story.settlement.ledger.close()
    story.settlement = BillingLoop(
        settings=story.settings,
        clock=story.clock,
        gate=story.gate,
        start_child=story.aws,  # type: ignore[arg-type]
    )
    story.settlement.set_identity("pod-2", "us-east-1")
    story.settlement.run_once()
    assert events.one("usage.adopted")["quantities"] == {"requests": "3"}
    story.at("11:00:40").at("11:10")
    assert story.aws.bill() == {"10": "3"}


def test_a_ledger_of_another_workload_that_cannot_be_read_is_said(tell: Callable[..., Story], events: Events) -> None:
    story = tell()
    (story.directory / "ledger-other.sqlite3").write_bytes(b"rubbish" * 1000)
    story.at("10:40")
    said = events.one("usage.adoption_failed")
    assert (said["reason"], said["path"]) == ("ledger_corrupt", str(story.directory / "ledger-other.sqlite3"))


# -- what nobody bills by itself


def test_usage_of_a_dimension_that_is_no_longer_configured_is_said_once_and_billed_once_it_is_back(
    tell: Callable[..., Story], events: Events
) -> None:
    story = tell(dimensions="requests,b")
    story.use("2", dimension="b")
    story.restart(dimensions="requests")
    story.at("10:30").at("11:10").at("18:30")
    said = events.one("usage.unconfigured")
    assert said["quantities"] == {"b": "2"}
    assert said["path"] == str(story.settlement.ledger.path)  # type: ignore[union-attr]
    assert "SIDECAR_DIMENSIONS" in said["hint"]
    assert said["levelname"] == "ERROR"
    story.restart(dimensions="requests,b")
    assert story.settlement.unconfigured == {}
    story.at("19:00:40").at("19:10")
    assert story.aws.bill("b") == {"18": "2"}
    assert len(events.of("usage.unconfigured")) == 1


def test_a_dimension_that_is_gone_and_owes_nothing_or_too_little_is_not_said(
    tell: Callable[..., Story], events: Events
) -> None:
    story = tell(dimensions="requests,b")
    story.use("2.5", dimension="b")
    story.at("11:00:40").at("11:10")
    story.restart(dimensions="requests").at("11:20").at("12:30")
    assert story.aws.bill("b") == {"10": "2"}
    assert events.of("usage.unconfigured") == []


def test_usage_a_dead_workload_left_of_a_dimension_that_is_not_configured_is_named(
    tell: Callable[..., Story], events: Events
) -> None:
    gone = tell(dimensions="requests,b")
    gone.use("3")
    gone.use("2", dimension="b")
    gone.crash()
    story = tell(workload="pod-2")
    story.at("10:50").at("11:30")
    said = events.one("usage.adopted")
    assert (said["quantities"], said["left"], said["left_unconfigured"]) == ({"requests": "3"}, 1, {"b": "2"})
    assert events.one("usage.unconfigured")["quantities"] == {"b": "2"}
    assert events.one("usage.unconfigured")["path"] == said["path"]
    assert story.settlement.estates.unconfigured == {"b": Decimal(2)}
    story.restart(dimensions="requests,b")
    assert story.settlement.estates.unconfigured == {}
    story.at("12:00:40").at("12:10")
    assert story.aws.bill("b") == {"11": "2"}


def test_records_of_a_dead_workload_that_wait_for_a_person_are_named_once(
    tell: Callable[..., Story], events: Events
) -> None:
    gone = tell()
    gone.use("5")
    gone.aws.always = Refused(code="InvalidUsageDimensionException")
    gone.at("11:00:40").at("11:10")
    gone.use("2")
    gone.aws.always = Unknown(code="ReadTimeoutError")
    gone.at("12:00:40").at("12:10").crash()
    story = tell(workload="pod-2")
    story.at("10:50").at("11:30")
    said = [
        {name: event[name] for name in ("gone_workload", "hour", "dimension", "quantity", "state", "reason")}
        for event in events.of("usage.orphaned")
    ]
    ten = {"hour": "2026-01-02T10:00:00.000Z", "quantity": "5", "reason": "InvalidUsageDimensionException"}
    eleven = {"hour": "2026-01-02T11:00:00.000Z", "quantity": "2", "reason": "outcome_unknown"}
    common = {"gone_workload": "pod-1", "dimension": "requests", "state": "rejected"}
    assert said == [common | ten, common | eleven]
    first = events.of("usage.orphaned")[0]
    assert Path(first["path"]).exists()
    assert "CloudTrail" in first["hint"]
    assert first["levelname"] == "ERROR"
    assert [one["quantity"] for one in story.settlement.estates.orphaned] == ["5", "2"]
    assert len(events.of("usage.adopted")) == 1


def test_a_dead_workload_that_left_nothing_or_only_what_is_taken_over_is_no_error(
    tell: Callable[..., Story], events: Events
) -> None:
    gone = tell()
    gone.use("5")
    gone.at("11:00:40").at("11:10")
    gone.use("2")
    gone.crash()
    story = tell(workload="pod-2")
    story.at("11:40")
    assert events.of("usage.orphaned") == events.of("usage.unconfigured") == []
    assert (story.settlement.estates.orphaned, story.settlement.estates.unconfigured) == ((), {})


def test_a_living_workloads_records_are_not_orphans(tell: Callable[..., Story], events: Events) -> None:
    living = tell()
    living.use("5")
    living.aws.always = Refused(code="InvalidUsageDimensionException")
    living.at("11:00:40").at("11:10")
    story = tell(workload="pod-2")
    story.at("11:40")
    assert events.of("usage.orphaned") == []
    assert story.settlement.estates.orphaned == ()


def test_quantities_are_decimals_all_the_way(tell: Callable[..., Story]) -> None:
    story = tell(dimensions='[{"name": "requests", "decimals": 3, "scale": "0.001"}]')
    for _ in range(3):
        story.use("0.1")
    story.use("1000")
    story.at("11:00:30").at("11:10")
    assert story.aws.bill() == {"10": "1"}
    assert story.settlement.balances[0].waiting == Decimal("0.0003")
    story.balanced()
