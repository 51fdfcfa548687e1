"""Compare, after every step, the ledgers' books with what the product was told and with what AWS billed.

Invariants (each to the last decimal):
- Accepted = settled + waiting in each ledger, and all of it is what the product was told is kept.
- What AWS bills = settled + what a lost answer hides; `slack` is what a person, or SIDECAR_ON_DISPUTE, made of it.
- A record that AWS holds is never called certainly not billed, and never counted again by itself.
- The gate is open only by AWS's answer to this workload, and is not shut by metering unless that is set.
- Nothing is put aside as indigestible, and no loop broke.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from decimal import Decimal

from sidecar.ledger import records
from sidecar.metering.hours import Hour
from sidecar.metering.records import UsageRecord
from sidecar.metering.resolution import Resolution
from sidecar.metering.states import Action, State
from sidecar.quick_dataclasses import dataclass, field
from sidecar.settings import EntitlementCheck, OnDispute, OnFirstMeterDenied, OnMeteringOverdue
from tests.simulation.aws import Aws, Key, hour_start
from tests.simulation.books import Book
from tests.simulation.model import Model
from tests.simulation.pod import Pod
from tests.simulation.violation import Violation

ZERO = Decimal(0)
Connect = Callable[[str], sqlite3.Connection | None]


@dataclass
class Auditor:
    """Knows what the books were after the last step."""

    aws: Aws
    model: Model
    slack: dict[str, Decimal] = field(default_factory=dict)
    """By dimension, what AWS billed beyond the books because a person said otherwise."""
    unsettled: dict[Key, UsageRecord] = field(default_factory=dict)
    decided: set[Key] = field(default_factory=set)
    """Records about which a person decided."""
    checks: int = 0

    def check(self, books: Iterable[Book], find: Finder, person: Resolution | None, may_roll: bool) -> None:
        """Raise Violation unless everything holds.

        `person`: what a person did in this step, its workload named; `may_roll`: by setting.
        """
        self.checks += 1
        books = list(books)
        for book in books:
            if book.unbalanced:
                raise Violation(f"accepted is not settled + waiting: {book.unbalanced}")
        self._accepted(books)
        now = {key: record for book in books for key, record in book.unsettled.items()}
        for key in self.unsettled.keys() - now.keys():
            self._gone(key, self.unsettled[key], find, person, may_roll)
        self._late(now, find)
        self._causes(now)
        self.unsettled = now
        self._bill(books, now)

    # -- what the product was told -----------------------------------------------------------------

    def _accepted(self, books: list[Book]) -> None:
        origins = {origin for book in books for origin in book.origins}
        accepted = added(pair for book in books for pair in book.accepted.items())
        for book in books:
            for number, dimension, amount in book.handed:
                if f"{book.name}:{number}" in origins:
                    accepted[dimension] -= amount  # the taker has it on disk; the giver has not noted that yet
        events = sum(book.events for book in books)
        if not self.model.settle(accepted, events):
            raise Violation(
                f"accepted differs: ledgers {shown(accepted)} in {events} events, told {shown(self.model.accepted)} in"
                f" {self.model.events}, unclear pushes {len(self.model.unclear)}"
            )

    # -- what AWS bills ----------------------------------------------------------------------------

    def _gone(self, key: Key, before: UsageRecord, find: Finder, person: Resolution | None, may_roll: bool) -> None:
        """Judge a record that was unsettled before this step and is not any more."""
        held = self.aws.billed.get(key, ZERO)
        theirs = person is not None and person.covers(before) and person.workload == key[0]
        by_person = theirs and before.state in (State.REJECTED, State.DISPUTED)
        if by_person and person is not None:
            self.decided.add(key)
            counted = {Action.CONFIRM: before.quantity, Action.ACCEPT_AWS: person.quantity or ZERO}
            self._allow(key[1], held - counted.get(person.action, ZERO))
            return
        state = find(key)
        if state is State.SETTLED:
            if key not in self.aws.billed or held != before.quantity:
                raise Violation(f"settled, and AWS has {held} for {named(key)}, not {before.quantity}")
        elif state is State.ROLLED_FORWARD:
            if held and not may_roll:
                raise Violation(f"billed twice: AWS has {held} for {named(key)}, and it was rolled forward")
            self._allow(key[1], held)
        elif state is None and self.pruned(key):
            return  # long ago, in a step of weeks; the sums say what became of it
        else:
            raise Violation(f"lost: {named(key)} was {before.state.value} and is {state}")

    def pruned(self, key: Key) -> bool:
        """Return whether a record is so old that the ledger keeps only what it came to."""
        return self.aws.clock.now() - hour_start(key) > records.RETENTION

    def _late(self, now: dict[Key, UsageRecord], find: Finder) -> None:
        for key in self.aws.fresh_late:
            if key in now:
                continue
            if key not in self.decided:
                state = find(key)
                if state is State.SETTLED or (state is None and self.pruned(key)):
                    continue  # its repeat was answered in the same step: AWS has it once, and the sums say so
                raise Violation(f"billed twice: {named(key)} arrived late, and no record waits for its answer")
            self._allow(key[1], self.aws.billed[key])
        self.aws.fresh_late.clear()

    def _causes(self, now: dict[Key, UsageRecord]) -> None:
        """Raise Violation where a record waits for a person without a cause."""
        for key, record in now.items():
            if record.interrupted:
                self.aws.doubtful.add(key)  # a process died, or its disk failed, while it was sent
            if record.state is State.DISPUTED and key not in self.aws.reported:
                raise Violation(f"disputed, and nobody else reported: {named(key)}, {record.last_error}")
            if record.state is State.REJECTED and key not in self.aws.doubtful | self.aws.reported:
                raise Violation(f"rejected, and AWS's answers were certain: {named(key)}, {record.last_error}")

    def _allow(self, dimension: str, amount: Decimal) -> None:
        self.slack[dimension] = self.slack.get(dimension, ZERO) + amount

    def _bill(self, books: list[Book], now: dict[Key, UsageRecord]) -> None:
        said = added(pair for book in books for pair in book.billed.items())
        hidden: dict[str, Decimal] = {}
        for key, record in now.items():
            held = self.aws.billed.get(key)
            if held is None:
                continue
            if record.definite and record.state is State.SEALED:
                raise Violation(f"AWS has {held} for {named(key)}, which the ledger calls certainly not billed")
            if held != record.quantity:
                raise Violation(f"AWS has {held} for {named(key)}, and sealed are {record.quantity}")
            hidden[key[1]] = hidden.get(key[1], ZERO) + held
        for name, billed in self.aws.by_dimension.items():
            known = said.get(name, ZERO) + hidden.get(name, ZERO) + self.slack.get(name, ZERO)
            if billed != known:
                raise Violation(
                    f"AWS bills {billed} of {name}: settled {said.get(name)}, hidden {hidden.get(name)}, said by a"
                    f" person {self.slack.get(name)}"
                )


class Finder:
    """Finds what became of records."""

    def __init__(self, connect: Connect) -> None:
        """`connect` returns a connection to a workload's ledger, if it is there."""
        self._connect = connect

    def __call__(self, key: Key) -> State | None:
        connection = self._connect(key[0])
        record = connection and records.find(connection, Hour.numbered(key[2]), key[1])
        return record.state if record else None


def check_gate(pod: Pod, aws: Aws, grants_before: int) -> None:
    """Raise Violation where the gate is open without AWS's answer, or shut though nothing says so."""
    gate, settings = pod.gate, pod.settings
    if gate.state.entitled:
        pod.opened_once = True
        kept = gate.result.from_kept_answer and grants_before > 0
        if not kept and aws.grants[pod.workload] <= grants_before:
            raise Violation(f"the gate is open without an answer of AWS to {pod.workload}: {gate.state}")
    elif pod.opened_once and not _may_shut(pod):
        raise Violation(f"the gate was shut again: {gate.state}, with {settings.on_metering_overdue}")
    if gate.stopped_loop or pod.loop.monitor.dead:
        raise Violation("a loop broke")
    if len(pod.loop.quarantine):
        raise Violation(f"put aside: {[one.as_json() for one in pod.loop.quarantine]}")


def _may_shut(pod: Pod) -> bool:
    settings = pod.settings
    first = settings.entitlement_check is EntitlementCheck.METER_USAGE
    return settings.on_metering_overdue is OnMeteringOverdue.SHUT or (
        first and settings.on_first_meter_denied is OnFirstMeterDenied.SHUT
    )


def may_roll(pod: Pod) -> bool:
    """Return whether a setting has disputed quantities billed again."""
    return pod.settings.on_dispute is OnDispute.ROLL_FORWARD


def added(pairs: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    """Return sums by name."""
    found: dict[str, Decimal] = {}
    for name, amount in pairs:
        found[name] = found.get(name, ZERO) + amount
    return found


def named(key: Key) -> str:
    """Return a record as a person reads it."""
    return f"{key[1]} of {key[0]} in {Hour.numbered(key[2])}"


def shown(amounts: dict[str, Decimal]) -> str:
    """Return amounts as a person reads them."""
    return ", ".join(f"{name} {amount}" for name, amount in sorted(amounts.items()) if amount) or "nothing"
