"""Sealed hours reach AWS once, whatever AWS answers: a real store, and an AWS whose answers are written down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from sidecar.metering.batch_call import Answered, BatchRequest, RecordAnswer, RecordKey, Wire
from sidecar.metering.events import UsageEvent
from sidecar.metering.outcomes import Refused, Unknown
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, field
from sidecar.saas import sending
from sidecar.saas.customers import Customer, CustomerKey, CustomerState
from sidecar.saas.leading import Leading
from sidecar.saas.log_events import SaasEvents
from sidecar.saas.notice_handler import NoticeHandler
from sidecar.saas.records import CustomerEvent
from sidecar.saas.sending import Sender
from sidecar.saas.sql_store import SqlStore, open_store
from sidecar.settings import Dimension, QuantityField
from tests.fakes.clock import FakeClock
from tests.fakes.log import logged_events

AT = datetime(2026, 11, 20, 10, 30, tzinfo=UTC)
SEALING = datetime(2026, 11, 20, 11, 0, 20, tzinfo=UTC)
Outcome = Answered | Refused | Unknown


@dataclass(frozen=True)
class Reply:
    outcome: Outcome
    request_id: str = "request-1"


@dataclass
class Aws:
    """Answers by a function of the request; settles everything by default."""

    answer: Callable[[BatchRequest], Outcome] = field(default=lambda request: settled(request))
    calls: list[tuple[str, BatchRequest]] = field(default_factory=list)
    refreshed: list[str] = field(default_factory=list)

    def send(self, region: str, request: BatchRequest) -> Reply:
        self.calls.append((region, request))
        return Reply(self.answer(request))

    def refresh(self, region: str) -> None:
        self.refreshed.append(region)


class NoPause:
    def wait(self) -> None:
        """Let the next call leave at once."""


def key_of(record: Wire) -> RecordKey:
    return RecordKey.of(record, int(str(record["Timestamp"])))


def settled(request: BatchRequest) -> Answered:
    results = (RecordAnswer(key=key_of(one), status="Success", record_id="id") for one in request.records)
    return Answered(results=tuple(results), unprocessed=())


def license_of(n: int) -> CustomerKey:
    return CustomerKey(aws_account_id=f"{n:012}", license_arn=f"arn:aws:license-manager::1:license:l-{n}")


@dataclass
class World:
    store: SqlStore
    aws: Aws

    def sender(self, **changed: Any) -> Sender:
        given: dict[str, Any] = {
            "region": "us-east-1",
            "quantity_field": QuantityField.AUTO,
            "roll_forward_disputed": False,
            "chance": lambda: 0.5,
        }
        return Sender(self.store, self.aws, NoPause(), SaasEvents(), **given | changed)

    def customers(self, count: int, products: int = 1) -> None:
        for n in range(1, count + 1):
            key = license_of(n)
            self.store.keep_customer(
                Customer(
                    key=key,
                    product_code=f"prod{1 + (n - 1) * products // count}",
                    aws_account_id=key.aws_account_id,
                    license_arn=key.license_arn,
                    resolved_at=AT,
                    state_since=AT,
                )
            )

    def use(self, n: int, at: datetime = AT, dimension: str = "requests") -> object:
        return self.store.accept([CustomerEvent(license_of(n), UsageEvent(dimension, 7_000_000))], at)

    def run(self, now: datetime = SEALING, sender: Sender | None = None) -> None:
        with self.store.leader() as leads:
            assert leads
            (sender or self.sender()).run(now)

    def states(self) -> dict[State, int]:
        found = [record.usage.state for record in self.store.records()]
        return {state: found.count(state) for state in found}


@pytest.fixture
def world(url: str) -> Iterator[World]:
    store = open_store(url, [Dimension(name="requests"), Dimension(name="gb")], AT)
    yield World(store, Aws())
    store.close()


@pytest.mark.slow
def test_an_hour_is_sent_only_after_it_closed_and_once(world: World) -> None:
    world.customers(1)
    world.use(1)
    world.run(AT)
    assert world.aws.calls == []
    world.run()
    world.run(SEALING + timedelta(minutes=5))
    assert len(world.aws.calls) == 1
    assert world.states() == {State.SETTLED: 1}


@pytest.mark.slow
def test_thirty_customers_are_two_calls(world: World) -> None:
    world.customers(30)
    for n in range(1, 31):
        world.use(n)
    world.run()
    assert [len(request.records) for _, request in world.aws.calls] == [25, 5]
    assert world.states() == {State.SETTLED: 30}


def test_one_bad_record_of_25_is_found_and_the_others_are_billed_once(world: World) -> None:
    billed: list[RecordKey] = []

    def answer(request: BatchRequest) -> Outcome:
        if any(one["LicenseArn"] == license_of(13).license_arn for one in request.records):
            return Refused(code="InvalidLicenseException")
        billed.extend(map(key_of, request.records))
        return settled(request)

    world.aws.answer = answer
    world.customers(25)
    for n in range(1, 26):
        world.use(n)
    world.run()
    assert world.states() == {State.SETTLED: 24, State.REJECTED: 1}
    assert len(billed) == len(set(billed)) == 24
    assert len(world.aws.calls) <= 11, "five levels, two calls each, and the first"


@pytest.mark.slow
def test_what_was_not_processed_is_sent_again_unchanged(world: World) -> None:
    world.customers(2)
    world.use(1)
    world.use(2)
    world.aws.answer = lambda request: Answered(
        results=settled(request).results[:1], unprocessed=(key_of(request.records[1]),)
    )
    world.run()
    assert world.states() == {State.SETTLED: 1, State.SEALED: 1}
    world.aws.answer = settled
    world.run(SEALING + timedelta(minutes=10))
    assert world.states() == {State.SETTLED: 2}
    (_, first), (_, second) = world.aws.calls
    assert second.records[0] in first.records


def test_a_duplicate_after_a_lost_answer_settles_and_a_first_one_is_disputed(world: World) -> None:
    def duplicate(request: BatchRequest) -> Answered:
        results = (RecordAnswer(key=key_of(one), status="DuplicateRecord", record_id="") for one in request.records)
        return Answered(results=tuple(results), unprocessed=())

    world.customers(2)
    world.use(1)
    world.aws.answer = lambda request: Unknown(code="ReadTimeoutError")
    world.run()
    assert world.states() == {State.SEALED: 1}
    world.use(2, SEALING)
    world.aws.answer = duplicate
    world.run(SEALING + timedelta(hours=1))
    found = {record.customer: record.usage.state for record in world.store.records()}
    assert found == {license_of(1): State.SETTLED, license_of(2): State.DISPUTED}


@pytest.mark.slow
def test_a_call_that_is_held_stops_the_pass_and_loses_nothing(world: World) -> None:
    world.customers(30)
    for n in range(1, 31):
        world.use(n)
    world.aws.answer = lambda request: Refused(code="ExpiredTokenException")
    world.run()
    assert len(world.aws.calls) == 1
    assert world.aws.refreshed == ["us-east-1"]
    world.aws.answer = settled
    world.run(SEALING + timedelta(minutes=30))
    assert world.states() == {State.SETTLED: 30}


def refusing(first: int, last: int, code: str) -> Callable[[BatchRequest], Outcome]:
    """Return what refuses the calls with a license of these numbers, and settles every other."""
    theirs = {license_of(n).license_arn for n in range(first, last + 1)}

    def answer(request: BatchRequest) -> Outcome:
        refused = any(one["LicenseArn"] in theirs for one in request.records)
        return Refused(code=code) if refused else settled(request)

    return answer


def test_a_call_that_is_held_for_its_product_holds_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "DUE_MAX", 5)
    world.customers(60, products=2)
    for n in range(1, 61):
        world.use(n)
    world.aws.answer = refusing(1, 30, "InvalidProductCodeException")
    world.run()
    assert world.states() == {State.SEALED: 30, State.SETTLED: 30}
    assert len([one for _, one in world.aws.calls if isinstance(world.aws.answer(one), Refused)]) == 1, "asked once"
    errors = {record.usage.last_error for record in world.store.records() if record.usage.state is State.SEALED}
    assert errors == {"InvalidProductCodeException"}
    world.aws.answer = settled
    world.run(SEALING + timedelta(hours=2))
    assert world.states() == {State.SETTLED: 60}


@pytest.mark.parametrize(
    "outcome",
    [
        Refused(code="ThrottlingException"),
        Refused(code="AccessDeniedException"),
        Refused(code="ExpiredTokenException"),
        Unknown(code="ReadTimeoutError"),
    ],
    ids=lambda one: one.code,
)
def test_a_call_that_is_held_for_its_account_stops_the_pass_for_every_product(world: World, outcome: Outcome) -> None:
    world.customers(2, products=2)
    world.use(1)
    world.use(2)
    world.aws.answer = lambda request: outcome
    world.run()
    assert len(world.aws.calls) == 1
    assert world.states() == {State.SEALED: 2}


def test_a_region_that_is_not_served_holds_no_other_region(world: World) -> None:
    world.customers(2, products=2)
    world.use(1)
    world.use(2)
    world.aws.answer = lambda request: Refused(code="ThrottlingException")
    world.run(SEALING, world.sender(region="eu-west-1"))
    world.use(2, SEALING)
    later = SEALING + timedelta(hours=1)
    world.aws.calls.clear()
    world.aws.answer = lambda request: (
        Refused(code="DisabledApiException") if world.aws.calls[-1][0] == "eu-west-1" else settled(request)
    )
    world.run(later)
    assert [region for region, _ in world.aws.calls] == ["eu-west-1", "us-east-1"], "one call, for both products"
    assert world.states() == {State.SEALED: 2, State.SETTLED: 1}


@pytest.mark.slow
def test_a_record_keeps_the_region_that_it_was_sealed_for(world: World) -> None:
    world.customers(1)
    world.use(1)
    world.aws.answer = lambda request: Refused(code="ThrottlingException")
    world.run()
    world.aws.answer = settled
    world.run(SEALING + timedelta(minutes=30), world.sender(region="eu-west-1"))
    assert [region for region, _ in world.aws.calls] == ["us-east-1", "us-east-1"]


def test_a_customer_that_ends_is_sealed_with_its_running_hour_and_others_are_not(world: World) -> None:
    world.customers(2)
    for n in (1, 2):
        world.use(n)
    world.store.set_state(license_of(1), CustomerState.ENDING, AT)
    world.run(AT + timedelta(minutes=1))
    assert world.aws.calls == []
    world.run(AT + timedelta(minutes=29))
    assert world.aws.calls == [], "the hour after the notice is still the customer's"
    world.use(1, SEALING)
    world.use(2, SEALING)
    world.run(AT + timedelta(minutes=46))
    sent = [one["LicenseArn"] for _, request in world.aws.calls for one in request.records]
    assert sorted(map(str, sent)) == [license_of(1).license_arn] * 2 + [license_of(2).license_arn]
    assert getattr(world.use(1, AT + timedelta(minutes=47)), "reason", "") == "customer_closed"
    assert getattr(world.use(2, AT + timedelta(minutes=47)), "accepted", 0) == 1


def test_a_pass_reads_no_customer_that_it_is_not_about(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A seller may have a hundred thousand of them, and a pass is every two seconds."""
    world.customers(2)
    world.use(1)
    world.store.set_state(license_of(2), CustomerState.ENDED, AT)
    monkeypatch.setattr(SqlStore, "customers", lambda *_: pytest.fail("every customer was read"))
    world.run()
    assert world.states() == {State.SETTLED: 1}


@pytest.mark.slow
def test_what_was_refused_as_not_subscribed_is_sent_again_once_it_is(world: World) -> None:
    world.customers(1)
    world.use(1)
    world.aws.answer = lambda request: Answered(
        results=(RecordAnswer(key=key_of(request.records[0]), status="CustomerNotSubscribed", record_id=""),),
        unprocessed=(),
    )
    world.run()
    assert world.states() == {State.REJECTED: 1}
    world.aws.answer = settled
    sender = world.sender()
    with world.store.leader():
        sender.send_again(world.store.records(), SEALING + timedelta(minutes=5))
        sender.run(SEALING + timedelta(minutes=5))
    assert world.states() == {State.SETTLED: 1}


@pytest.mark.slow
def test_what_aws_goes_on_refusing_is_sent_again_once_for_each_notice(world: World) -> None:
    world.customers(1)
    world.use(1)
    world.aws.answer = lambda request: Answered(
        results=(RecordAnswer(key=key_of(request.records[0]), status="CustomerNotSubscribed", record_id=""),),
        unprocessed=(),
    )
    clock = FakeClock(SEALING)
    leading = Leading(world.store, world.sender(), NoticeHandler(world.store, ["prod1"]), clock, None)

    def calls_after_an_hour() -> int:
        for _ in range(6):
            clock.advance(600)
            leading.run_once()
        return len(world.aws.calls)

    with world.store.leader():
        leading.run_once()
        assert calls_after_an_hour() == 1
        world.store.set_state(license_of(1), CustomerState.ACTIVE, clock.now())
        assert calls_after_an_hour() == 2
        world.store.set_state(license_of(1), CustomerState.ACTIVE, clock.now())
        assert calls_after_an_hour() == 3


def test_a_clock_that_jumped_is_logged_and_costs_nothing(world: World) -> None:
    """Ahead by a day and back: each event is billed once, in an hour that was open."""
    clock = FakeClock(AT)
    leading = Leading(world.store, world.sender(), NoticeHandler(world.store, ["prod1"]), clock, None)
    world.customers(1)
    with logged_events() as events, world.store.leader():
        leading.run_once()
        clock.advance(2)
        leading.run_once()
        assert not events.of("clock.jumped")
        for hours in (24, -24):
            world.use(1, clock.now())
            clock.at += timedelta(hours=hours)
            leading.run_once()
        world.use(1, clock.now())
        clock.advance(25 * 3600)
        leading.run_once()
    assert [one["seconds"] for one in events.of("clock.jumped")] == [86400, -86400]
    assert sum(Decimal(str(one["QuantityAsDecimal"])) for _, call in world.aws.calls for one in call.records) == 21


@pytest.mark.slow
def test_what_aws_refused_for_another_reason_is_not_sent_again(world: World) -> None:
    world.customers(1)
    world.use(1)
    world.aws.answer = lambda request: Refused(code="InvalidUsageDimensionException")
    world.run()
    with world.store.leader():
        world.sender().send_again(world.store.records(), SEALING + timedelta(minutes=5))
    assert world.states() == {State.REJECTED: 1}
