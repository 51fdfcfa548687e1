"""The loop that keeps seats: what it asks for and when, what it shows, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import pytest

from sidecar.entitlement.answer import AnswerClass
from sidecar.entitlement.hold import Shown
from sidecar.entitlement.seats import HeldSeat
from sidecar.entitlement.status import Status
from sidecar.gate.counts import Counts
from sidecar.gate.license_loop import LicenseLoop
from sidecar.gate.license_messages import CHECK_IN, RENEW, TERM, LicenseRequest, SeatResult, TermResult
from sidecar.gate.messages import CheckResult, KeptStatus, WorkloadIdentity
from sidecar.quick_dataclasses import dataclass, field, replace
from tests.fakes.child import POD, FakeChild
from tests.fakes.clock import NOON, FakeClock
from tests.fakes.config import settings
from tests.fakes.log import Events

SKU: Final = "prod-4kq7example2x"
ARN: Final = "arn:aws:license-manager::294406891311:license:l-1"
TOKEN: Final = "token-of-the-seat"
HOUR: Final = timedelta(hours=1)
AWAY: Final = SeatResult(answer="retry", reason="unreachable", hint="It is asked on.", unknown=True)
REFUSED: Final = SeatResult(answer="deny", reason="no_entitlements_allowed", hint="Buy more.", over=True)


def seat(
    expires_at: datetime = NOON + HOUR, taken_at: datetime = NOON, name: str = "seats", unit: str = "Count"
) -> HeldSeat:
    return HeldSeat(
        name=name,
        unit=unit,
        value="1",
        consumption_token=TOKEN,
        expires_at=expires_at,
        region="us-east-1",
        license_arn=ARN,
        taken_at=taken_at,
    )


def opened(*held: HeldSeat) -> CheckResult:
    granted = tuple(
        {"name": one.name, "unit": one.unit, "value": one.value, "take": "seat", "license_arn": ARN} for one in held
    )
    return CheckResult(answer="accepted", reason="licenses_allowed", hint="", granted=granted, held=held)


@dataclass(kw_only=True)
class FakeGate:
    """A gate that is open."""

    result: CheckResult
    identity: WorkloadIdentity = POD
    has_opened: bool = True
    shown: list[Shown | None] = field(default_factory=list)
    rechecks: int = 0
    counts: Counts = field(default_factory=Counts)

    def set_seat_hold(self, shown: Shown | None) -> None:
        self.shown.append(shown)

    def recheck(self) -> int:
        self.rechecks += 1
        return 0


@dataclass(kw_only=True)
class Story:
    """A loop, its gate, and the children it starts, in turn."""

    clock: FakeClock = field(default_factory=FakeClock)
    held: tuple[HeldSeat, ...] = field(default_factory=lambda: (seat(),))
    policy: str = "hold"
    on_denied: str = "hold"
    waiting: list[list[Any]] = field(default_factory=list)
    requests: list[LicenseRequest] = field(default_factory=list)
    children: list[FakeChild] = field(default_factory=list)
    flushed: Callable[[], bool] = lambda: True
    restarts: bool = False
    replaced: list[bool] = field(default_factory=lambda: [False])
    """Answers, in turn; the last one stays."""

    def __post_init__(self) -> None:
        self.gate = FakeGate(result=opened(*self.held))
        self.loop = LicenseLoop(
            settings=settings(
                entitlement_check="checkout_license",
                product_sku=SKU,
                licenses='[{"name": "seats", "take": "seat"}]',
                on_seat_lost=self.policy,
                on_denied=self.on_denied,
                reask_seconds="300",
            ),
            gate=self.gate,
            clock=self.clock,
            budget_seconds=1.0,
            flushed=lambda: self.flushed(),
            task_keeps_running=lambda: self.restarts,
            is_replaced=lambda: self.replaced.pop(0) if len(self.replaced) > 1 else self.replaced[0],
            start_child=self._start,  # type: ignore[arg-type]
            chance=lambda: 0.0,
        )
        self.loop.take_over(self.gate.result)
        self.loop.term.ask_at = None

    def _start(self, request: LicenseRequest) -> FakeChild:
        self.requests.append(request)
        said = self.waiting.pop(0) if self.waiting else [AWAY] * len(request.seats)
        self.children.append(FakeChild(lines=[one.as_json().encode() for one in [*said, KeptStatus(kept=True)]]))
        return self.children[-1]

    def after(self, minutes: float, *said: Any) -> LicenseLoop:
        """The loop after a pass so much later, in which a child says this."""
        if said:
            self.waiting.append(list(said))
        self.clock.advance(minutes * 60)
        self.loop.run_once()
        return self.loop

    def extended(self) -> SeatResult:
        now = self.clock.now()
        return SeatResult(seat=seat(now + timedelta(minutes=90), now))

    @property
    def state(self) -> Any:
        return self.loop.keeper.seats.all[0].state


@pytest.fixture
def story() -> Story:
    return Story()


# -- extended


def test_a_seat_is_extended_half_way_to_its_expiration_and_not_before(story: Story) -> None:
    story.after(29)
    assert story.requests == []
    story.after(1, SeatResult(seat=seat(NOON + 2 * HOUR, NOON + HOUR / 2)))
    (request,) = story.requests
    assert (request.action, request.sku, request.workload, request.seats) == (RENEW, SKU, "6f1c", (seat(),))
    assert story.state.expires_at == NOON + 2 * HOUR
    story.after(44)
    assert len(story.requests) == 1


def test_the_token_that_aws_returned_is_the_one_that_is_extended_next(story: Story) -> None:
    newer = replace(seat(NOON + HOUR, NOON + HOUR / 2), consumption_token="newer")
    story.after(30, SeatResult(seat=newer))
    story.after(15)
    assert story.requests[1].seats[0].consumption_token == "newer"


def test_before_the_gate_opens_nothing_is_asked(story: Story) -> None:
    story.gate.has_opened = False
    story.after(31)
    assert story.requests == []


def test_a_clock_that_jumped_has_every_seat_asked_about(story: Story, events: Events) -> None:
    story.after(1)
    story.clock.at -= 5 * HOUR
    story.loop.run_once()
    assert [one.action for one in story.requests] == [RENEW]
    assert events.one("seat.clock_jumped")


def test_a_clock_that_goes_on_has_nothing_asked(story: Story) -> None:
    story.after(1)
    story.after(1)
    assert story.requests == []


def test_a_person_may_have_seats_asked_about(story: Story) -> None:
    story.loop.ask_now()
    story.loop.run_once()
    assert [one.action for one in story.requests] == [RENEW, TERM]


def test_a_checkout_of_unknown_outcome_keeps_its_client_token(story: Story) -> None:
    story.after(30, replace(AWAY, over=True))
    story.after(1, AWAY)
    first, second = (one.client_tokens for one in story.requests)
    assert first == second
    story.after(1, replace(AWAY, unknown=False))
    story.after(2)
    assert story.requests[3].client_tokens != first


def test_a_client_token_is_not_repeated_after_ten_minutes(story: Story) -> None:
    story.after(30, AWAY)
    story.after(11)
    assert story.requests[0].client_tokens != story.requests[1].client_tokens


def test_a_child_without_an_answer_is_a_failure_of_each_seat() -> None:
    story = Story(held=(seat(), seat(name="others")))
    story.after(30, story.extended())
    states = {one.held.name: one.state for one in story.loop.keeper.seats.all}
    assert states["seats"].fault is None
    assert states["others"].fault is not None
    assert states["others"].fault.reason == "child_failed"


# -- lost


def test_a_seat_that_expired_while_aws_was_away_is_lost_and_loud(story: Story, events: Events) -> None:
    story.after(30)
    assert events.one("seat.extension_failed")["reason"] == "unreachable"
    assert events.of("seat.lost") == []
    story.after(30)
    said = events.one("seat.lost")
    assert (said["on_seat_lost"], said["reason"], said["license"]) == ("hold", "unreachable", "seats")
    story.after(1)
    assert len(events.of("seat.lost")) == 1, "told once"
    assert story.gate.shown == [], "hold: the gate stays open"
    assert story.loop.contract[0] == 1


def test_of_two_seats_of_one_name_each_loss_is_told(events: Events) -> None:
    story = Story(held=(seat(), seat(unit="Gigabytes")))
    story.after(30)
    assert [one["unit"] for one in events.of("seat.extension_failed")] == ["Count", "Gigabytes"]
    story.after(30)
    assert [one["unit"] for one in events.of("seat.lost")] == ["Count", "Gigabytes"]
    assert (story.loop.keeper.losses, story.loop.contract[0]) == (2, 2)


@pytest.mark.parametrize("on_denied", ["hold", "exit"])
@pytest.mark.parametrize(
    ("policy", "words"), [("hold", "the gate stays open meanwhile"), ("shut", "the gate opens then")]
)
def test_the_hint_of_a_lost_seat_says_what_becomes_of_the_gate(
    policy: str, words: str, on_denied: str, events: Events
) -> None:
    story = Story(policy=policy, on_denied=on_denied)
    story.after(60, replace(AWAY, answer="deny"))
    ends = (policy, on_denied) == ("shut", "exit")
    assert ("the sidecar ends now" if ends else words) in events.one("seat.lost")["hint"].lower()


def test_with_shut_a_lost_seat_shuts_the_gate_until_it_is_taken_again(events: Events) -> None:
    story = Story(policy="shut")
    story.after(30)
    story.after(30)
    begin, shown = story.gate.shown
    assert begin is None
    assert shown is not None
    assert (shown[0], shown[1]) == (Status.UNAVAILABLE, "seat_lost")
    story.after(1, replace(story.extended(), taken_again=True))
    assert story.gate.shown == [None, shown, None]
    assert events.one("seat.taken_again")


@pytest.mark.parametrize(
    ("answer", "status"), [("deny", Status.DENIED), ("config", Status.MISCONFIGURED), ("retry", Status.UNAVAILABLE)]
)
def test_a_lost_seat_shows_what_the_last_answer_means(answer: str, status: Status) -> None:
    story = Story(policy="shut")
    story.after(60, replace(AWAY, answer=answer))
    shown = story.gate.shown[-1]
    assert shown is not None
    assert shown[0] is status


def test_a_refusal_loses_the_seat_and_its_token(story: Story, events: Events) -> None:
    story.after(30, REFUSED)
    assert events.one("seat.lost")["reason"] == "no_entitlements_allowed"
    story.after(4)
    assert len(story.requests) == 1, "asked again after the operator's pause"
    story.after(2)
    assert story.requests[1].seats[0].consumption_token == ""


def test_a_seat_that_fails_for_a_while_and_is_extended_was_never_lost(story: Story, events: Events) -> None:
    story.after(30)
    story.after(29, story.extended())
    assert events.of("seat.lost") == []
    assert events.one("seat.extended")
    assert story.loop.keeper.counts == {"extended": 1, "taken_again": 0, "failed": 1}


def test_no_event_has_a_token(story: Story, events: Events) -> None:
    story.after(30, story.extended())
    story.after(45)
    story.after(60, REFUSED)
    assert TOKEN not in repr([one.__dict__ for one in events.records]) + repr(story.loop.keeper.seats.all)
    assert all(TOKEN not in repr(one.as_json()) for one in story.loop.keeper.seats.all)


# -- seats from a check


def test_seats_of_an_older_check_do_not_replace_newer_ones(story: Story) -> None:
    story.after(30, story.extended())
    newer = story.state
    story.loop.take_over(story.gate.result)
    assert story.state is newer


def test_a_worker_that_knows_no_seat_has_the_check_run_again() -> None:
    story = Story(held=())
    story.gate.result = replace(opened(seat()), held=())
    story.loop.run_once()
    assert story.gate.rechecks == 1


def test_a_worker_after_one_that_shut_the_gate_opens_it_once_the_seat_is_held() -> None:
    story = Story(held=(), policy="shut")
    story.gate.result = opened(seat())
    story.after(1)
    assert story.gate.shown == [], "the seat is not known yet"
    story.loop.take_over(opened(seat(taken_at=story.clock.now())))
    story.after(1)
    story.after(1)
    assert story.gate.shown == [None]


DENIED: Final = CheckResult(answer="deny", reason="no_entitlements_allowed", hint="Buy more.", code="X")


def following(*answers: CheckResult, policy: str = "shut") -> Story:
    """A worker that follows one with a seat; its rechecks gave these answers."""
    story = Story(held=(), policy=policy)
    story.gate.result = replace(opened(seat()), held=())
    for answer in answers:
        story.gate.counts.answered(answer, story.clock.now())
    return story


@pytest.mark.parametrize("policy", ["hold", "shut"])
def test_a_seat_that_a_worker_cannot_take_over_is_lost(policy: str, events: Events) -> None:
    story = following(DENIED, policy=policy)
    story.after(1, REFUSED)
    said = events.one("seat.lost")
    assert (said["license"], said["reason"], said["on_seat_lost"]) == ("seats", "no_entitlements_allowed", policy)
    assert story.loop.contract[0] == 1
    statuses = [shown[0] for shown in story.gate.shown if shown]
    assert statuses == ([Status.DENIED] if policy == "shut" else [])
    assert story.requests[0].seats[0].consumption_token == ""
    story.after(6, story.extended())
    assert events.one("seat.taken_again")
    assert story.gate.shown[-1:] == ([None] if policy == "shut" else [])
    assert story.gate.rechecks == 0


def test_a_seat_that_is_held_though_the_check_was_denied_is_not_lost(events: Events) -> None:
    story = following(DENIED)
    story.after(1, story.extended())
    assert events.of("seat.lost") == []
    assert [shown for shown in story.gate.shown if shown] == []


@pytest.mark.parametrize("answer", ["retry", "config"])
def test_a_check_that_aws_does_not_decide_loses_no_seat(answer: str, events: Events) -> None:
    story = following(replace(DENIED, answer=answer))
    story.after(1)
    assert (events.of("seat.lost"), story.requests, story.gate.rechecks) == ([], [], 1)


def test_a_contract_without_seats_runs_no_check_again() -> None:
    story = Story(held=())
    story.loop.run_once()
    assert story.gate.rechecks == 0


# -- the end


def test_seats_are_checked_in_at_the_end(story: Story, events: Events) -> None:
    story.waiting.append([SeatResult()])
    story.loop.finish()
    assert [one.action for one in story.requests] == [CHECK_IN]
    assert events.one("seat.checked_in")["license"] == "seats"


def test_seats_stay_where_only_the_container_restarts(story: Story, events: Events) -> None:
    story.restarts = True
    story.loop.finish()
    assert story.requests == []
    assert events.one("seat.left")["reason"] == "container_restarts"


def test_seats_stay_where_another_worker_follows(story: Story, events: Events) -> None:
    story.replaced = [True]
    story.loop.finish()
    assert story.requests == []
    assert events.one("seat.left")["reason"] == "worker_replaced"


def test_seats_are_checked_in_where_the_supervisor_turns_out_to_end_too(story: Story, events: Events) -> None:
    story.replaced = [True, True, False]
    story.waiting.append([SeatResult()])
    story.loop.finish()
    assert [one.action for one in story.requests] == [CHECK_IN]
    assert events.one("seat.checked_in")


def test_a_seat_that_aws_does_not_take_back_is_named(story: Story, events: Events) -> None:
    story.waiting.append([replace(AWAY, reason="access_denied", answer="config")])
    story.loop.finish()
    assert events.one("seat.left")["reason"] == "access_denied"


def test_a_seat_whose_token_aws_does_not_know_is_not_checked_in(story: Story) -> None:
    story.after(30, REFUSED)
    story.loop.finish()
    assert [one.action for one in story.requests] == [RENEW]


def test_the_final_flush_goes_first(story: Story) -> None:
    flushed = threading.Event()
    looks: list[int] = []

    def ended() -> bool:
        looks.append(len(story.requests))
        if len(looks) == 2:
            flushed.set()
        return flushed.is_set()

    story.flushed = ended
    story.loop.finish()
    assert looks == [0, 0]
    assert [one.action for one in story.requests] == [CHECK_IN]


def test_a_flush_that_lasts_does_not_keep_seats_from_being_checked_in(story: Story) -> None:
    story.flushed = lambda: False
    story.loop.finish()
    assert [one.action for one in story.requests] == [CHECK_IN]


def test_a_real_thread_ends_with_its_seats_checked_in(story: Story, events: Events) -> None:
    story.waiting.append([SeatResult()])
    story.loop.start()
    story.loop.stop()
    assert events.wait_for("seat.checked_in")
    assert story.loop._ended.wait(5)
    assert story.loop.stopped_loop is None


# -- the end of the contract


def term(story: Story, days: float) -> None:
    story.loop.term.ask_at = story.clock.now()
    ends_at = story.clock.now() + timedelta(days=days)
    story.after(0, TermResult(ends_at=ends_at.isoformat(), status="AVAILABLE"))


def test_the_end_of_a_contract_is_told_ahead_and_once_a_stage(events: Events) -> None:
    story = Story(held=())
    story.loop.term.of(ARN, story.clock.now())
    term(story, 20)
    term(story, 19)
    assert events.one("contract.ending")["within_days"] == 30
    term(story, 0.5)
    assert [one["within_days"] for one in events.of("contract.ending")] == [30, 1]
    story.after(24 * 60)
    assert events.one("contract.ended")
    assert story.loop.contract == (0, 0)
    term(story, 365)
    assert events.one("contract.renewed")


def test_a_contract_that_is_far_from_its_end_is_not_news(events: Events) -> None:
    story = Story(held=())
    story.loop.term.of(ARN, story.clock.now())
    term(story, 365)
    assert [name for name in events.names() if name.startswith("contract.")] == []
    assert story.loop.term.unknown is None


def test_an_end_that_may_not_be_read_is_told_once_and_asked_rarely(events: Events) -> None:
    story = Story(held=())
    story.loop.term.of(ARN, story.clock.now())
    for _ in range(2):
        story.after(6 * 60 + 1, TermResult(answer=AnswerClass.CONFIG.value, reason="access_denied", hint="Allow it."))
    assert len(events.of("contract.end_unknown")) == 1
    assert len(story.requests) == 2
    story.after(60)
    assert len(story.requests) == 2
