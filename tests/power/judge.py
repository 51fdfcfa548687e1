"""Judge what a power failure left, with the real ledger: what was acknowledged is there, and the numbers are exact."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from sidecar.ledger import kept_file
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.ledger import Ledger
from sidecar.metering.events import PushAccepted, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.push_group import PushResult
from sidecar.metering.states import State
from sidecar.quick_dataclasses import dataclass, field
from tests.power import usage
from tests.power.workload import digest

BATCH = 1_000
"""Events that one push may have."""


@dataclass
class Said:
    """What a process had said until the power failed."""

    begun: list[str] = field(default_factory=list)
    acknowledged: set[str] = field(default_factory=set)
    sealed: dict[tuple[int, str], str] = field(default_factory=dict)
    settled: dict[tuple[int, str], str] = field(default_factory=dict)
    keeping: dict[str, int] = field(default_factory=dict)
    """By file, the newest version that was begun."""
    kept: dict[str, int] = field(default_factory=dict)
    """By file, the newest version that was acknowledged."""
    refused: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    calls: int = 0
    """Calls of its process that could have failed."""

    @classmethod
    def of(cls, marks: Iterable[Mapping[str, Any]]) -> Said:
        """Return what marks come to."""
        said = cls()
        for mark in marks:
            said.take(mark)
        return said

    def take(self, mark: Mapping[str, Any]) -> None:
        """Add one mark."""
        match mark:
            case {"begun": push}:
                self.begun.append(push)
            case {"acknowledged": push}:
                self.acknowledged.add(push)
            case {"sealed": [hour, dimension, request]}:
                self.sealed[hour, dimension] = request
            case {"settled": [hour, dimension, record]}:
                self.settled[hour, dimension] = record
            case {"keeping": [name, version]}:
                self.keeping[name] = version
            case {"kept": [name, version]}:
                self.kept[name] = version
            case {"refused": reason}:
                self.refused.append(reason)
            case {"calls": number}:
                self.calls = number
            case {"wrong": what}:
                self.wrong.append(what)
            case _:
                raise AssertionError(mark)


def problems(directory: Path, said: Said, life: int, doubts: list[Path]) -> list[str]:
    """Return what is wrong with the files in `directory`; it is written to, as after a restart."""
    return [*said.wrong, *_kept_problems(directory, said), *_ledger_problems(directory, said, life, doubts)]


def _kept_problems(directory: Path, said: Said) -> Iterator[str]:
    for name, path in usage.kept_paths(directory).items():
        oldest, newest = said.kept.get(name, -1), said.keeping.get(name, -1)
        possible = [usage.kept_text(name, number) if number >= 0 else None for number in range(oldest, newest + 1)]
        if kept_file.read(path) not in (possible or [None]):
            yield f"{name} is no version from {oldest} to {newest}"


def _ledger_problems(directory: Path, said: Said, life: int, doubts: list[Path]) -> Iterator[str]:
    now = usage.begin_of(life) + usage.LIFE / 2
    try:
        ledger = Ledger.open(directory, usage.OWNER, usage.DIMENSIONS, now, on_doubt=doubts.append)
    except LedgerError as exc:
        yield f"the ledger does not open: {exc.reason} {exc.detail}"
        return
    try:
        if ledger.set_aside:
            yield f"the ledger was set aside as {ledger.set_aside.name}"
        yield from _record_problems(ledger, said)
        yield from _push_problems(ledger, said, now)
        for balance in ledger.balances():
            expected = usage.owed(said.begun, balance.dimension)
            if balance.accepted != expected or not balance.balanced:
                yield f"{balance.dimension} has {balance}, and {expected} was pushed"
    except LedgerError as exc:
        yield f"the ledger fails in use: {exc.reason} {exc.detail}"
    finally:
        ledger.close()


def problems_of_two(directory: Path, said: Said, life: int, doubts: list[Path]) -> list[str]:
    """Return what is wrong with the files of two workloads, of which the second takes over what the first has left."""
    return [*said.wrong, *_kept_problems(directory, said), *_adoption_problems(directory, said, life, doubts)]


def _adoption_problems(directory: Path, said: Said, life: int, doubts: list[Path]) -> Iterator[str]:
    """Take everything over: what was pushed to either is counted in one of them, once."""
    now = usage.begin_of(life) + usage.LIFE / 2
    accepted = {one.name: Decimal(0) for one in usage.DIMENSIONS}
    for owner in (usage.SUCCESSOR, usage.OWNER):
        try:
            ledger = Ledger.open(directory, owner, usage.DIMENSIONS, now, on_doubt=doubts.append)
        except LedgerError as exc:
            yield f"the ledger of {owner.workload} does not open: {exc.reason} {exc.detail}"
            return
        with closing(ledger):
            if ledger.set_aside:
                yield f"the ledger was set aside as {ledger.set_aside.name}"
            if owner is usage.SUCCESSOR:
                left = [one for one in ledger.adopt(now) if one.skipped or one.claimed or one.unanswered or one.orphans]
                yield from (f"not taken over: {one}" for one in left)
                yield from _push_problems(ledger, said, now)
            for balance in ledger.balances():
                accepted[balance.dimension] += balance.accepted
                if not balance.balanced:
                    yield f"{owner.workload}: {balance}"
    for name, amount in accepted.items():
        if amount != (expected := usage.owed(said.begun, name)):
            yield f"{name}: {amount} in both ledgers, and {expected} was pushed"


def _record_problems(ledger: Ledger, said: Said) -> Iterator[str]:
    for (hour, dimension), request in said.sealed.items():
        record = ledger.find(Hour.numbered(hour), dimension)
        if record is None or digest(record) != request:
            yield f"{dimension} in {hour} was sealed as {request} and is {record and digest(record)}"
        elif (settled := said.settled.get((hour, dimension))) and (record.state, record.record_id) != (
            State.SETTLED,
            settled,
        ):
            yield f"{dimension} in {hour} was settled and is {record.state.value}"


def _push_problems(ledger: Ledger, said: Said, now: datetime) -> Iterator[str]:
    """Push everything again: what was acknowledged is known, and the rest counts once."""
    known = [event for push in said.begun if push in said.acknowledged for event in usage.events_of(push)]
    batches = [known[start : start + BATCH] for start in range(0, len(known), BATCH)]
    for result in pushed(ledger, batches, now):
        if not isinstance(result, PushAccepted) or result.accepted:
            yield f"acknowledged events are not there: pushed again, they come to {result}"
    unsure = [push for push in said.begun if push not in said.acknowledged]
    for push, result in zip(unsure, pushed(ledger, [usage.events_of(push) for push in unsure], now), strict=True):
        if not isinstance(result, PushAccepted) or (result.accepted and result.duplicates):
            yield f"push {push} is there in part: {result}"


def pushed(ledger: Ledger, pushes: Sequence[Sequence[UsageEvent]], now: datetime) -> list[PushResult]:
    """Push all of these at once, each by itself, and return their results."""
    results: SimpleQueue[PushResult] = SimpleQueue()
    for events in pushes:
        ledger.begin_push(events, now, results.put)
    ledger.commit_pending()
    return [results.get(timeout=60) for _ in pushes]


def newest_versions(said: Said, names: Sequence[str]) -> dict[str, int]:
    """Return the next version of each kept file."""
    return {name: said.keeping.get(name, -1) + 1 for name in names}
