"""The ledger of one workload: what survives a restart. Every door to it, and nothing decided behind them.

Leaves to `opening` and `volume` whether there can be one, to `writer` when it is on disk, to `counting` what a
push adds, to `sealing`, `book`, `balance` and `adoption` what the rest does to it.

Rules kept here:
- Everything happens on the writer's thread, one transaction at a time; callers wait for the disk.
- A file that turns out to be unreadable is set aside while running as it is at opening.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Self

from sidecar.ledger import adoption, balance, opening, sealing, seen_ids, unsettled, volume
from sidecar.ledger import records as book
from sidecar.ledger.adoption import AdoptionResult
from sidecar.ledger.balance import Balance, Waiting
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.opening import Opened, Owner
from sidecar.ledger.pushes import PushRequest, PushResult
from sidecar.ledger.sealing import MakeRecord
from sidecar.ledger.statements import sql
from sidecar.ledger.writer import Counters, Writer
from sidecar.metering.events import UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import plain
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import Action, State
from sidecar.settings.dimensions import Dimension

DUE_MAX = 100
"""Records due that are read at once."""


class Ledger:
    """What survives a restart, for one workload. Every method but `push` raises LedgerError."""

    def __init__(
        self,
        opened: Opened,
        owner: Owner,
        dimensions: Sequence[Dimension],
        now: datetime,
        after_group: Callable[[], None] | None = None,
    ) -> None:
        """Use `Ledger.open`."""
        self.path = opened.path
        self.set_aside = opened.set_aside
        """Where an unreadable file was put; said once by whoever looks, and set again if it happens again."""
        self.passed_over = opened.passed_over
        """A newer version's ledger of this workload, left untouched."""
        self._owner = owner
        self._lock = opened.lock
        self._dimensions = {dimension.name: dimension for dimension in dimensions}
        self._now = now
        aggregations = {dimension.name: dimension.aggregation for dimension in dimensions}
        self._writer = Writer(
            opened.connection, self.path, aggregations, unreadable=self._begin_anew, after_group=after_group
        )

    @classmethod
    def open(
        cls,
        state_dir: Path,
        owner: Owner,
        dimensions: Sequence[Dimension],
        now: datetime,
        *,
        after_group: Callable[[], None] | None = None,
        mountinfo: Path = volume.MOUNTINFO,
    ) -> Self:
        """The ledger of `owner`, begun if there is none. `after_group` is called once after each group commit."""
        volume.prepare(state_dir, mountinfo)
        opened = opening.open_ledger(volume.ledger_path(state_dir, owner.workload), owner, now)
        ledger = cls(opened, owner, dimensions, now, after_group)
        try:
            ledger._writer.run(lambda connection: ledger._begin(connection, now))
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Finish what waits and let go of the file. Pushes from now on are refused (503)."""
        self._writer.close()
        self._lock.release()

    # -- pushing -----------------------------------------------------------------------------------

    def push(self, events: Iterable[UsageEvent], now: datetime) -> PushResult:
        """Keep events, all or none; returns when they are on disk, or why they are not."""
        answers: list[PushResult] = []
        done = threading.Lock()
        done.acquire()

        def answered(answer: PushResult) -> None:
            answers.append(answer)
            done.release()

        self.begin_push(events, now, answered)
        self.commit_pending()
        done.acquire()
        return answers[0]

    def begin_push(self, events: Iterable[UsageEvent], now: datetime, answered: Callable[[PushResult], None]) -> None:
        """The same without waiting, once it is handed over. `answered` runs on the writer's thread: it must be quick
        and not raise.
        """
        self._now = max(self._now, now)
        self._writer.push(PushRequest.of(events, now), answered)

    def commit_pending(self) -> None:
        """What was begun is written now, all of it together."""
        self._writer.commit_pending()

    # -- standing ----------------------------------------------------------------------------------

    @property
    def fault(self) -> LedgerError | None:
        """Why the last transaction failed; None since one went well. `check` finds out anew."""
        return self._writer.fault

    @property
    def alive(self) -> bool:
        """Whether the writer's thread runs."""
        return self._writer.alive

    @property
    def counters(self) -> Counters:
        return self._writer.counters

    def check(self, now: datetime) -> None:
        """Write a little: raises LedgerError while the disk does not keep it."""
        self._now = now
        self._writer.run(lambda connection: connection.execute(sql("meta_written"), {"at": now.isoformat()}))

    def waiting(self) -> Waiting:
        """What status, metrics and readiness show."""
        return self._writer.run(lambda connection: balance.waiting(connection, self._size()))

    def balances(self) -> tuple[Balance, ...]:
        """Accepted, settled and waiting of each dimension, at one instant."""
        return self._writer.run(lambda connection: balance.balances(connection, self._dimensions))

    # -- hours and records -------------------------------------------------------------------------

    def open_from(self) -> Hour:
        """The first hour that is not sealed."""
        return self._writer.run(
            lambda connection: Hour.numbered(connection.execute(sql("meta")).fetchone()["open_from"])
        )

    def open_hours(self) -> tuple[Hour, ...]:
        """Hours that hold usage which is not sealed, oldest first."""
        return self._writer.run(
            lambda connection: tuple(
                Hour.numbered(hour) for (hour,) in connection.execute(sql("hours_open")).fetchall()
            )
        )

    def seal(self, hour: Hour, now: datetime, make: MakeRecord) -> tuple[UsageRecord, ...]:
        """Close an hour for good, and every empty one before it; no records where it is closed already.

        Raises ValueError where an earlier hour with usage is open.
        """
        self._now = now
        return self._writer.run(lambda connection: sealing.seal(connection, hour, now, self._dimensions.values(), make))

    def seal_last(self, hour: Hour, now: datetime, make: MakeRecord) -> tuple[UsageRecord, ...]:
        """Close the running hour at the end of the workload; from then on pushes are refused (503 `shutting_down`).

        Sums of later hours are in its records. What was pushed before is in, what comes after is not.
        Raises as `seal` does; then nothing is sealed and pushes go on.
        """
        self._now = now
        dimensions = tuple(self._dimensions.values())
        return self._writer.run(
            lambda connection: sealing.seal_last(connection, hour, now, dimensions, make), last=True
        )

    def stop_pushes(self) -> None:
        """Refuse pushes from now on (503 `shutting_down`) and leave the running hour open. Needs no disk."""
        self._writer.stop_pushes()

    def unsettled(self) -> list[dict[str, object]]:
        """Everything that is neither settled nor rolled forward, as JSON values: enough to bill it by hand.

        `left` says what each is: `record`, `open`, `carried`, `rolled_forward` (waits for a later hour), `handed`
        (to another ledger). Their quantities add up to what `invariant` calls waiting.
        """
        return self._writer.run(lambda connection: unsettled.left_behind(connection, self._dimensions))

    def due(self, now: datetime, limit: int = DUE_MAX) -> tuple[UsageRecord, ...]:
        """Sealed records whose time has come, oldest hour first."""
        return self._writer.run(lambda connection: book.due(connection, now, limit))

    def mark_sending(self, records: Sequence[UsageRecord]) -> None:
        """Say on disk that their requests are about to leave. Without `save` after it their outcome is unknown."""
        self._writer.run(lambda connection: book.sending(connection, records))

    def save(
        self, record: UsageRecord, now: datetime, *, outcome: str, detail: str = "", roll_forward: bool = False
    ) -> UsageRecord:
        """Keep what an answer made of a record, with its line in the audit trail. Raises IllegalTransition."""
        return self._writer.run(
            lambda connection: book.save(
                connection, record, now, outcome=outcome, detail=detail, roll_forward=roll_forward
            )
        )

    def apply_action(
        self, hour: Hour, dimension: str, what: Action, now: datetime, *, record_id: str | None = None
    ) -> UsageRecord:
        """What a person decided about a disputed or rejected record.

        `Act.CONFIRM` settles it with AWS's `record_id`, and needs one; nothing else takes one.
        Raises IllegalTransition.
        """
        return self._writer.run(lambda connection: book.act(connection, hour, dimension, what, now, record_id))

    def find(self, hour: Hour, dimension: str) -> UsageRecord | None:
        """One record that was sealed."""
        return self._writer.run(lambda connection: book.find(connection, hour, dimension))

    def snapshot(self) -> tuple[tuple[UsageRecord, ...], Waiting, tuple[Balance, ...]]:
        """At one instant: what is sealed and waits for AWS, the summary, and each dimension's balance."""
        return self._writer.run(
            lambda connection: (
                book.in_state(connection, State.SEALED),
                balance.waiting(connection, self._size()),
                balance.balances(connection, self._dimensions),
            )
        )

    def earlier_hours(self, record: UsageRecord) -> tuple[Hour, ...]:
        """The hours before its own in which some of a record's quantity was used, oldest first."""
        return self._writer.run(lambda connection: book.earlier_hours(connection, record))

    def failing_since(self) -> datetime | None:
        """When AWS first said no since its last yes, by the audit trail; None where it said nothing since."""
        return self._writer.run(
            lambda connection: _instant(connection.execute(sql("attempts_failing_since")).fetchone()[0])
        )

    def ever_answered(self, outcomes: Iterable[str]) -> bool:
        """Whether one of these is in the audit trail: the last answer may say nothing of what was said before."""
        return self._writer.run(
            lambda connection: any(
                connection.execute(sql("attempts_answered"), {"outcome": outcome}).fetchone()[0] for outcome in outcomes
            )
        )

    def in_state(self, state: State) -> tuple[UsageRecord, ...]:
        """Every record in a state, oldest first; for `open` what the open hours come to so far."""
        if state is State.OPEN:
            return self._writer.run(book.open_records)
        return self._writer.run(lambda connection: book.in_state(connection, state))

    def records(self) -> Iterator[UsageRecord]:
        """Every record, oldest first, then the open hours; pushes go on between its pages."""
        for page in self._pages():
            yield from page
        yield from self.in_state(State.OPEN)

    def export_page(self, after: str) -> tuple[list[str], str]:
        """The lines of the audit copy behind `after`, and where the next page begins; empty for the first and the last.

        A line of JSON each: records with requests, answers and links; the totals at the end. Raises ValueError for an
        `after` that no page gave.
        """
        start = book.place_of(after) if after else book.START
        page = self._writer.run(lambda connection: book.page(connection, start))
        if not page:
            return [*map(_total, self.balances())], ""
        lines = self._writer.run(lambda connection: list(book.lines(connection, page)))
        return lines, f"{page[-1].hour.number}:{page[-1].dimension}"

    def export(self) -> Iterator[str]:
        """The whole audit copy, page after page; pushes go on in between."""
        lines, after = self.export_page("")
        yield from lines
        while after:
            lines, after = self.export_page(after)
            yield from lines

    def prune(self, now: datetime) -> None:
        """Forget what nothing waits for; totals stay for ever."""
        self._writer.run(lambda connection: book.prune(connection, now))

    def adopt(self, now: datetime) -> tuple[AdoptionResult, ...]:
        """Take over what may be billed of other workloads' ledgers on this volume."""
        names = tuple(self._dimensions)

        ours: str = self._writer.run(lambda connection: connection.execute(sql("meta")).fetchone()["ledger"])

        def take(ledger: str, amounts: tuple[adoption.Transfer, ...]) -> None:
            self._writer.run(lambda connection: adoption.take(connection, ledger, amounts, now))

        def know(entries: bytes) -> None:
            self._writer.run(lambda connection: seen_ids.remember(connection, entries))

        return tuple(
            adoption.adopt(path, self._owner, names, ours, now, take, know) for path in volume.other_ledgers(self.path)
        )

    # -- inside ------------------------------------------------------------------------------------

    def _pages(self) -> Iterator[tuple[UsageRecord, ...]]:
        after = book.START
        while page := self._writer.run(lambda connection, after=after: book.page(connection, after)):  # type: ignore[misc]
            yield page
            after = (page[-1].hour.number, page[-1].dimension)

    def _size(self) -> int:
        return sum(
            part.stat().st_size for part in (self.path, self.path.with_name(self.path.name + "-wal")) if part.exists()
        )

    def _begin(self, connection: sqlite3.Connection, now: datetime) -> None:
        connection.execute(sql("ids_given_to_nobody"))
        sealing.configure(connection, self._dimensions.values(), now)

    def _begin_anew(self) -> sqlite3.Connection:
        """On the writer's thread: a new file in place of one that cannot be read."""
        opened = opening.replace_unreadable(self.path, self._owner, self._now, self._lock)
        self.set_aside = opened.set_aside
        connection = opened.connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            sealing.configure(connection, self._dimensions.values(), self._now)
            connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _total(one: Balance) -> str:
    return json.dumps(
        {
            "record": "total",
            "dimension": one.dimension,
            "accepted": plain(one.accepted),
            "settled": plain(one.settled),
            "waiting": plain(one.waiting),
            "events": one.events,
            "balanced": one.balanced,
        }
    )
