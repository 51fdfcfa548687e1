"""Whatever happens in whatever order, the ledger agrees with a model that only adds and subtracts.

The model knows pushes, seals and answers, in plain decimals; it asks the ledger for nothing but the states and
quantities of records. For max, last and unique it keeps what each hour came to.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import event as noted
from hypothesis import strategies as st

from sidecar.ledger.ledger import Ledger
from sidecar.metering.decide import Policy, decide, decide_if_late
from sidecar.metering.events import PushAccepted, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.outcomes import Outcome, Refused, Settled, Unknown
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import Action, IllegalTransition, State
from sidecar.quick_dataclasses import dataclass, field, replace
from sidecar.settings.dimensions import Aggregation, Dimension, Scope
from tests.integration.ledger.support import OWNER, Story, event, make

SCALES = ("1", "0.001", "2.5", "1000")
KINDS = tuple(Aggregation)
WAITING = (State.SEALED, State.DISPUTED, State.EXPIRED, State.REJECTED)


def dimensions(chance: random.Random) -> tuple[Dimension, ...]:
    """One of each aggregation and a second sum, counted as chance has it."""
    made = []
    for number, kind in enumerate((*KINDS, Aggregation.SUM)):
        tags = ("tenant",) if kind is Aggregation.SUM and chance.random() < 0.7 else ()
        made.append(
            Dimension(
                name=f"{kind.value}{number}",
                aggregation=kind,
                scale=Decimal(chance.choice(SCALES)),
                decimals=chance.choice((0, 0, 2, 6)),
                tags=tags,
                report_zero=chance.random() < 0.2,
                scope=Scope.POD,
            )
        )
    return tuple(made)


@dataclass
class Model:
    """What one ledger must hold, by dimension."""

    dimensions: dict[str, Dimension]
    open_from: Hour
    sums: dict[tuple[str, Hour], Decimal] = field(default_factory=dict)
    values: dict[tuple[str, Hour], list[tuple[datetime, Decimal, str | None, bool]]] = field(default_factory=dict)
    closed: dict[str, Decimal] = field(default_factory=dict)
    settled: dict[str, Decimal] = field(default_factory=dict)
    taken: dict[str, UsageEvent] = field(default_factory=dict)
    sealed: set[tuple[Hour, str]] = field(default_factory=set)

    def push(self, one: UsageEvent, now: datetime) -> None:
        at = one.at or now
        hour = max(Hour.at(at), self.open_from)
        amount = Decimal(one.micros) / 1_000_000
        if self.dimensions[one.dimension].aggregation is Aggregation.SUM:
            self.sums[one.dimension, hour] = self.sums.get((one.dimension, hour), Decimal(0)) + amount
        else:
            self.values.setdefault((one.dimension, hour), []).append((at, amount, one.key, one.at is not None))

    def comes_to(self, name: str, hour: Hour) -> Decimal:
        dimension, values = self.dimensions[name], self.values.get((name, hour), [])
        if dimension.aggregation is Aggregation.SUM:
            amount = self.sums.get((name, hour), Decimal(0))
        elif dimension.aggregation is Aggregation.MAX:
            amount = max((value for _, value, *_ in values), default=Decimal(0))
        elif dimension.aggregation is Aggregation.LAST:
            amount = latest(values)
        else:
            amount = Decimal(len({key for _, _, key, _ in values}))
        return amount * dimension.scale

    def hours(self, name: str) -> list[Hour]:
        return [hour for known, hour in (*self.sums, *self.values) if known == name]

    def accepted(self, name: str) -> Decimal:
        return self.closed.get(name, Decimal(0)) + sum(self.comes_to(name, hour) for hour in self.hours(name))

    def close(self, hour: Hour) -> None:
        for name in self.dimensions:
            self.closed[name] = self.closed.get(name, Decimal(0)) + self.comes_to(name, hour)
            self.sums.pop((name, hour), None)
            self.values.pop((name, hour), None)
        self.open_from = max(self.open_from, hour.next)

    def settle(self, record: UsageRecord) -> None:
        self.settled[record.dimension] = self.settled.get(record.dimension, Decimal(0)) + record.quantity


def latest(values: list[tuple[datetime, Decimal, str | None, bool]]) -> Decimal:
    """The last of them: one without an instant of its own is later than everything before it."""
    found, since = Decimal(0), datetime.min.replace(tzinfo=UTC)
    for at, value, _, stated in values:
        if not stated or at >= since:
            found, since = value, at
    return found


class Simulation:
    """A workload, its model, and chance."""

    def __init__(self, directory: Path, seed: int) -> None:
        self.chance = random.Random(seed)
        kinds = dimensions(self.chance)
        self.story = Story(directory, dimensions=kinds)
        self.policy = Policy(workload=OWNER.workload, roll_forward_disputed=self.chance.random() < 0.5)
        self.ledger = self.story.open()
        self.model = Model(dimensions={one.name: one for one in kinds}, open_from=self.ledger.open_from())
        self.numbers = iter(range(10**6))
        self.day = 0
        """Minutes the clock went forward since ids were last forgotten."""

    # -- what can happen ---------------------------------------------------------------------------

    def push(self) -> None:
        kinds = self.chance.sample(list(self.model.dimensions.values()), 2)
        batch = [self.an_event(kinds) for _ in range(self.chance.randrange(1, 6))]
        answer = self.story.push(self.ledger, *batch)
        if not isinstance(answer, PushAccepted):
            assert answer.reason == "hour_sealed", answer
            late = batch[answer.index or 0]
            assert late.at is not None
            assert Hour.at(late.at) < self.model.open_from
            return
        fresh = [one for one in batch if one.id not in self.model.taken]
        fresh = [one for at, one in enumerate(fresh) if one.id is None or one not in fresh[:at]]
        assert answer == PushAccepted(accepted=len(fresh), duplicates=len(batch) - len(fresh))
        for one in fresh:
            self.model.push(one, self.story.now)
            if one.id is not None:
                self.model.taken[one.id] = one

    def an_event(self, kinds: Sequence[Dimension]) -> UsageEvent:
        if self.model.taken and self.chance.random() < 0.15:
            return self.chance.choice(list(self.model.taken.values()))
        kind = self.chance.choice(kinds)
        tags = (("tenant", self.chance.choice("abc")),) if kind.tags and self.chance.random() < 0.7 else ()
        far = (-400, -90) if kind.aggregation is Aggregation.SUM or self.chance.random() < 0.05 else ()
        minutes = self.chance.choice((None, None, -9, -3, 3, 5, *far))
        quantity = self.chance.choice(("0", "1", "0.000001", "2147483647", "7.25", str(self.chance.randrange(10**6))))
        return event(
            kind.name,
            quantity,
            id=f"id-{next(self.numbers)}" if self.chance.random() < 0.7 else None,
            at=None if minutes is None else self.story.now + timedelta(minutes=minutes),
            tags=tags,
            key=self.chance.choice("wxyz") if kind.aggregation is Aggregation.UNIQUE else None,
        )

    def seal(self) -> None:
        """As the agent does: every closed hour in order."""
        for hour in sorted({*self.ledger.open_hours(), Hour.at(self.story.now).previous}):
            if hour.closed(self.story.now):
                self.note(self.ledger.seal(hour, self.story.now, make(self.story.now)))
                if hour >= self.model.open_from:
                    self.model.close(hour)

    def note(self, records: tuple[UsageRecord, ...]) -> None:
        for record in records:
            assert record.request is not None
            assert (record.hour, record.dimension) not in self.model.sealed, "sealed twice"
            self.model.sealed.add((record.hour, record.dimension))
            start = int(record.hour.start.timestamp())
            assert start <= record.request.timestamp < start + 3600
            assert record.request.timestamp <= self.story.now.timestamp()

    def send(self) -> None:
        for record in self.ledger.due(self.story.now)[: self.chance.randrange(1, 4)]:
            decision = decide_if_late(record, self.story.now)
            if decision is None:
                self.ledger.mark_sending([record])
                if self.chance.random() < 0.1:
                    self.restart()  # before the answer was kept: nobody knows it
                    continue
                decision = decide(record, self.answer(), self.story.now, self.policy, self.chance.random())
            noted(decision.disposition.value)
            self.ledger.save(
                decision.record, self.story.now, outcome=decision.reason, roll_forward=decision.roll_forward
            )
            if decision.record.state is State.SETTLED:
                self.model.settle(record)

    def answer(self) -> Outcome:
        codes = ("ThrottlingException", "InternalServiceErrorException", "DuplicateRequestException")
        codes += ("TimestampOutOfBoundsException", "InvalidTagException", "IdempotencyConflictException")
        codes += ("InvalidProductCodeException", "InvalidUsageAllocationsException")
        settled = Settled(record_id=f"m-{next(self.numbers)}")
        return self.chance.choice(
            (settled, settled, Unknown(code="child_failed"), Refused(code=self.chance.choice(codes)))
        )

    def act(self) -> None:
        records = [one for state in WAITING for one in self.ledger.in_state(state)]
        if not records:
            return
        record, what = (
            self.chance.choice(records),
            self.chance.choice((Action.RETRY, Action.ROLL_FORWARD, Action.CONFIRM, Action.ACCEPT_AWS)),
        )
        receipt = "by-hand" if what is Action.CONFIRM else None
        billed = Decimal(self.chance.randrange(9)) if what is Action.ACCEPT_AWS else None
        act = self.ledger.apply_action
        try:
            act(record.hour, record.dimension, what, self.story.now, record_id=receipt, quantity=billed)
        except IllegalTransition:
            assert record.state is State.SEALED or (billed is not None and record.definite)
            return
        if what in (Action.CONFIRM, Action.ACCEPT_AWS):
            self.model.settle(record)

    def restart(self) -> None:
        self.story.close()
        self.ledger = self.story.open()

    def pass_time(self) -> None:
        self.move(self.chance.choice((5, 40, 60, 150, 420)))

    def jump(self) -> None:
        self.move(self.chance.choice((-600, -70, -5, 1500)))

    def move(self, minutes: int) -> None:
        self.story.now += timedelta(minutes=minutes)
        self.day += max(minutes, 0)
        if self.day >= 24 * 60:  # from now on an id may be known or not
            self.day, self.model.taken = 0, {}

    def end(self) -> None:
        """The last seal, then the container comes back."""
        hour = Hour.at(self.story.now)
        if hour < self.model.open_from or any(one < hour for one in self.ledger.open_hours()):
            return
        self.note(self.ledger.seal_last(hour, self.story.now, make(self.story.now)))
        for name, later in list(self.model.sums):
            if later > hour:
                self.model.closed[name] = self.model.closed.get(name, Decimal(0)) + self.model.comes_to(name, later)
                del self.model.sums[name, later]
        self.model.close(hour)
        assert not isinstance(self.story.push(self.ledger, event(KINDS[0].value + "0")), PushAccepted)
        self.restart()

    # -- what holds --------------------------------------------------------------------------------

    def hold(self) -> None:
        balances = {one.dimension: one for one in self.ledger.balances()}
        left = self.ledger.unsettled()
        for name in self.model.dimensions:
            one = balances[name]
            assert one.balanced, one
            assert one.accepted == self.model.accepted(name), name
            assert one.settled == self.model.settled.get(name, 0), name
            assert one.waiting == one.accepted - one.settled
            assert one.waiting == sum(Decimal(str(it["quantity"])) for it in left if it["dimension"] == name), name
        assert self.ledger.open_from() == self.model.open_from
        assert all(hour >= self.model.open_from for hour in self.ledger.open_hours())


STEPS = ("push",) * 5 + ("seal", "send", "pass_time") * 2 + ("act", "restart", "jump", "end")


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from(STEPS), min_size=10, max_size=30))
def test_the_ledger_agrees_with_the_model_after_every_step(
    seed: int, steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    simulation = Simulation(tmp_path_factory.mktemp("ledger"), seed)
    for step in steps:
        getattr(simulation, step)()
        simulation.hold()
    simulation.story.close()


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.integers(0, 2**32), steps=st.lists(st.sampled_from(STEPS), min_size=5, max_size=20))
def test_an_adopted_ledger_and_its_adopter_hold_what_one_held(
    seed: int, steps: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    simulation = Simulation(tmp_path_factory.mktemp("ledger"), seed)
    for step in steps:
        getattr(simulation, step)()
    before = {one.dimension: one for one in simulation.ledger.balances()}
    simulation.story.close()
    owner = replace(OWNER, workload="pod-2")
    adopter = Story(
        simulation.story.directory, owner=owner, dimensions=simulation.story.dimensions, now=simulation.story.now
    )
    ours: Ledger = adopter.open()
    for _ in range(2):
        assert [one.skipped for one in ours.adopt(adopter.now)] == [""]
    simulation.restart()
    taken = {one.dimension: one for one in ours.balances()}
    for one in simulation.ledger.balances():
        there, whole = taken[one.dimension], before[one.dimension]
        assert one.balanced
        assert there.balanced
        assert one.accepted + there.accepted == whole.accepted, "each unit in one of the two"
        assert (one.settled, there.settled) == (whole.settled, 0)
    assert {one["left"] for one in simulation.ledger.unsettled()} <= {"record"}, "for a person; the rest was taken"
    left = simulation.ledger.unsettled()
    assert all(one["state"] in ("rejected", "disputed") or not one["definite"] for one in left)
    adopter.close()
    simulation.story.close()


def test_the_model_notices_a_unit_that_is_lost(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path, 1)
    simulation.story.push(simulation.ledger, event("sum0", "1"))
    with pytest.raises(AssertionError):
        simulation.hold()
    simulation.story.close()
