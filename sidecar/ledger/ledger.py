"""Keep one workload's usage and records on disk: every operation that other packages call.

`opening` and `volume` decide whether there can be a ledger; `writer` owns the thread and the connection; `pushes`,
`sealing`, `records`, `balance`, `adoption` and `unsettled` are what a transaction does; `neighbours` looks after the
other ledgers on the volume.

Invariants:
- Everything happens on the writer's thread, one transaction at a time; callers wait for the disk.
- A file that becomes unreadable while it is in use is set aside as it is at opening.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, Self, TypeVar

from sidecar.ledger import adoption, audit, balance, opening, records, removal, sealing, unsettled, volume, wal
from sidecar.ledger.adoption import AdoptionResult
from sidecar.ledger.balance import Balance, LedgerSummary
from sidecar.ledger.errors import LedgerError
from sidecar.ledger.neighbours import Neighbours
from sidecar.ledger.opening import OnDoubt, Opened, Owner
from sidecar.ledger.pushes import PushRequest
from sidecar.ledger.readings import of_source
from sidecar.ledger.sealing import MakeRecord, Skipped
from sidecar.ledger.writer import Counters, Writer
from sidecar.metering.events import UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.push_group import PushResult
from sidecar.metering.readings import Reading
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import Action, State
from sidecar.quick_dataclasses import replace
from sidecar.settings.dimensions import Dimension

P = ParamSpec("P")
T = TypeVar("T")
OWNERSHIP = ("ledger_read_only", "ledger_missing_directory")
"""Reasons that mostly mean: the volume belongs to another user."""
DUE_MAX = 100
"""Due records that are read at once."""


class Ledger:
    """What survives a restart, for one workload. Every method but `push` raises LedgerError."""

    def __init__(self, opened: Opened, owner: Owner, dimensions: Sequence[Dimension], now: datetime) -> None:
        """Use `Ledger.open`."""
        self.path, self.set_aside = opened.path, opened.set_aside
        """Where an unreadable file was put. The caller that logs it clears it; it is set when that happens again."""
        self.passed_over = opened.passed_over
        """A newer version's ledger of this workload, left untouched."""
        self._owner, self._lock = owner, opened.lock
        self._dimensions = {dimension.name: dimension for dimension in dimensions}
        self._now, self._on_doubt = now, opened.on_doubt
        aggregations = {dimension.name: dimension.aggregation for dimension in dimensions}
        self._writer = Writer(opened.connection, self.path, aggregations, self._open_again, self._set_file_aside)
        self.neighbours = Neighbours(self.path, owner, tuple(self._dimensions), self._writer.run)

    @classmethod
    def open(
        cls,
        state_dir: Path,
        owner: Owner,
        dimensions: Sequence[Dimension],
        now: datetime,
        *,
        mountinfo: Path = volume.MOUNTINFO,
        on_doubt: OnDoubt = lambda path: None,
    ) -> Self:
        """Return the ledger of `owner`, begun if there is none."""
        try:
            volume.prepare(state_dir, mountinfo)
            opened = opening.open_ledger(volume.ledger_path(state_dir, owner.workload), owner, now, on_doubt)
        except LedgerError as exc:
            if exc.reason not in OWNERSHIP:
                raise
            detail = f"{exc.detail} {volume.ownership(state_dir)}".strip()
            raise LedgerError(exc.reason, detail, exc.set_aside) from exc
        ledger = cls(opened, owner, dimensions, now)
        try:
            ledger._do(ledger._begin, now)
        except LedgerError as exc:
            if exc.reason != "ledger_corrupt" or not ledger.set_aside:  # else it was begun again
                exc.set_aside = ledger.set_aside
                ledger.close()
                raise
        except BaseException:
            ledger.close()
            raise
        return ledger

    def close(self) -> None:
        """Finish what is queued and release the file. Later pushes are refused (503)."""
        self._writer.close()
        self._lock.release()

    def set_region(self, region: str) -> None:
        """Note the region, where it was not known when the ledger was opened. Raises where it is another's."""
        self._do(opening.set_region, self.path, region)
        self._owner = self.neighbours.owner = replace(self._owner, region=region)

    # -- pushes ------------------------------------------------------------------------------------

    def push(self, events: Iterable[UsageEvent], now: datetime) -> PushResult:
        """Keep events, all or none; return when they are on disk, or with the reason why they are not."""
        results: list[PushResult] = []
        done = threading.Lock()
        done.acquire()

        def on_result(result: PushResult) -> None:
            results.append(result)
            done.release()

        self.begin_push(events, now, on_result)
        self.commit_pending()
        done.acquire()
        return results[0]

    def begin_push(self, events: Iterable[UsageEvent], now: datetime, on_result: Callable[[PushResult], None]) -> None:
        """Queue events for the next `commit_pending`, without waiting.

        `on_result` is called on the writer's thread: it must be quick and not raise.
        """
        self.begin_request(PushRequest(events, now), now, on_result)

    def begin_request(self, request: PushRequest, now: datetime, on_result: Callable[[PushResult], None]) -> None:
        """Do the same with a request, which may hold what a source was read to be."""
        self._now = max(self._now, now)
        self._writer.push(request, on_result)

    def readings(self, source: str) -> dict[str, Reading]:
        """Return what each series of a source was last read to be."""
        return self._do(of_source, source)

    def commit_pending(self) -> None:
        """Have everything that was queued written, all of it together."""
        self._writer.commit_pending()

    def stop_pushes(self) -> None:
        """Refuse pushes from now on (503 `shutting_down`) and leave the running hour open. Needs no disk."""
        self._writer.stop_pushes()

    # -- health and totals -------------------------------------------------------------------------

    @property
    def fault(self) -> LedgerError | None:
        """Why the last transaction failed; None since one succeeded. `check` tries again."""
        return self._writer.fault

    @property
    def alive(self) -> bool:
        """Whether the writer's thread runs."""
        return self._writer.alive

    @property
    def counters(self) -> Counters:
        """What the writer did since it started."""
        return self._writer.counters

    def check(self, now: datetime) -> None:
        """Write a little: raises LedgerError while the disk does not keep it."""
        self._now = now
        self._do(opening.write_probe, now)

    def summary(self) -> LedgerSummary:
        """Return what status, metrics and readiness show."""
        return self._do(balance.summary, self._size())

    def balances(self) -> tuple[Balance, ...]:
        """Return accepted, settled and waiting of each dimension, at one instant."""
        return self._do(balance.balances, self._dimensions)

    def snapshot(self) -> tuple[tuple[UsageRecord, ...], LedgerSummary, tuple[Balance, ...]]:
        """Return, of one instant, what is sealed and waits for AWS, the summary, and each dimension's balance."""
        return self._do(self._snapshot)

    # -- hours -------------------------------------------------------------------------------------

    def open_from(self) -> Hour:
        """Return the first hour that is not sealed."""
        return self._do(sealing.open_from)

    def open_hours(self) -> tuple[Hour, ...]:
        """Return the hours that hold usage which is not sealed, oldest first."""
        return self._do(sealing.open_hours)

    def seal(
        self,
        hour: Hour,
        now: datetime,
        make: MakeRecord,
        *,
        also: Iterable[Hour] = (),
        skipped: list[Skipped] | None = None,
    ) -> tuple[UsageRecord, ...]:
        """Close an hour for good, and in the same transaction every earlier one that has usage or is in `also`.

        No records where they are closed already. Where `skipped` is given, what cannot be digested stays, and is added
        to it once the rest is on disk; else it is raised.
        """
        self._now, dimensions = now, tuple(self._dimensions.values())
        return self._do(sealing.seal, hour, now, dimensions, make, also=also, skip=skipped is not None).unpack(skipped)

    def seal_last(
        self,
        hour: Hour,
        now: datetime,
        make: MakeRecord,
        *,
        also: Iterable[Hour] = (),
        skipped: list[Skipped] | None = None,
    ) -> tuple[UsageRecord, ...]:
        """Close the running hour at the end of the workload, as `seal` does; then pushes are refused (`shutting_down`).

        Sums of later hours are in its records. What was pushed before is in, what comes after is not.
        Where it raises, nothing is sealed and pushes are still taken.
        """
        self._now = now
        skip, dimensions = skipped is not None, tuple(self._dimensions.values())
        return self._writer.run(
            lambda connection: sealing.seal_last(connection, hour, now, dimensions, make, also=also, skip=skip),
            last=True,
        ).unpack(skipped)

    # -- records -----------------------------------------------------------------------------------

    def due(self, now: datetime, limit: int = DUE_MAX) -> tuple[UsageRecord, ...]:
        """Return sealed records whose time has come, oldest hour first."""
        return self._do(records.due, now, limit)

    def mark_sending(self, batch: Sequence[UsageRecord]) -> None:
        """Note on disk that their requests are about to leave. Without `save` after it their outcome is unknown."""
        self._do(records.mark_sending, batch)

    def save(
        self, record: UsageRecord, now: datetime, *, outcome: str, detail: str = "", roll_forward: bool = False
    ) -> UsageRecord:
        """Keep what an outcome made of a record, with its line in the audit trail. Raises IllegalTransition."""
        return self._do(records.save, record, now, outcome=outcome, detail=detail, roll_forward=roll_forward)

    def apply_action(
        self,
        hour: Hour,
        dimension: str,
        action: Action,
        now: datetime,
        *,
        record_id: str | None = None,
        quantity: Decimal | None = None,
    ) -> UsageRecord:
        """Do `records.apply_action`: what a person decided about a disputed or rejected record."""
        return self._do(records.apply_action, hour, dimension, action, now, record_id, quantity)

    def find(self, hour: Hour, dimension: str) -> UsageRecord | None:
        """Return one record that was sealed."""
        return self._do(records.find, hour, dimension)

    def in_state(self, state: State) -> tuple[UsageRecord, ...]:
        """Return every record in a state, oldest first; for `open` what the open hours come to so far."""
        return self._do(records.open_records) if state is State.OPEN else self._do(records.in_state, state)

    def records(self, since: Hour | None = None) -> Iterator[UsageRecord]:
        """Yield every record from `since` on, oldest first, then the open hours; pushes go on between its pages."""
        after = (since.number, "") if since else records.START
        while page := self._do(records.page, after):
            yield from page
            after = (page[-1].hour.number, page[-1].dimension)
        yield from self.in_state(State.OPEN)

    def earlier_hours(self, record: UsageRecord) -> tuple[Hour, ...]:
        """Return the hours before its own in which some of a record's quantity was used, oldest first."""
        return self._do(records.earlier_hours, record)

    def failing_since(self) -> datetime | None:
        """Return when AWS first refused since it last took a record, by the audit trail; None if it has not."""
        return self._do(records.failing_since)

    def ever_answered(self, outcomes: Iterable[str]) -> bool:
        """Return whether the audit trail has one of these: the last answer may say nothing of those before it."""
        return self._do(records.ever_answered, outcomes)

    def prune(self, now: datetime) -> None:
        """Delete records and links that nothing waits for; totals are never deleted."""
        self._do(records.prune, now)

    # -- what leaves the ledger --------------------------------------------------------------------

    def export_page(self, after: str) -> tuple[list[str], str]:
        """Return the lines of the audit copy behind `after`, and where the next page begins.

        "" is the begin of the first page, and the next one of the last. A line of JSON each: records with requests,
        answers and links; the totals at the end, those of removed ledgers last.
        Raises ValueError for an `after` that no page gave.
        """
        lines, following = self._do(audit.page, after)
        if lines:
            return lines, following
        return [*map(audit.total, self.balances()), *map(audit.removed, self._do(removal.removed))], ""

    def unsettled(self) -> list[dict[str, object]]:
        """Return everything that is neither settled nor rolled forward, as JSON values: enough to bill it by hand.

        `left` says what each is: `record`, `open`, `carried`, `rolled_forward` (waits for a later hour), `handed`
        (to another ledger). Their quantities add up to what `balances` calls waiting.
        """
        return self._do(unsettled.entries, self._dimensions)

    # -- other ledgers on this volume --------------------------------------------------------------

    def adopt(self, now: datetime, only: Sequence[Path] | None = None) -> tuple[AdoptionResult, ...]:
        """Take over what may be billed of other workloads' ledgers, or of `only` these, and learn the ids they know."""
        return self.neighbours.adopt(now, only)

    def _do(self, work: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` in a transaction on the writer's thread and wait for the disk."""
        return self._writer.run(lambda connection: work(connection, *args, **kwargs))

    def _snapshot(
        self, connection: sqlite3.Connection
    ) -> tuple[tuple[UsageRecord, ...], LedgerSummary, tuple[Balance, ...]]:
        return (
            records.in_state(connection, State.SEALED),
            balance.summary(connection, self._size()),
            balance.balances(connection, self._dimensions),
        )

    def _size(self) -> int:
        return sum(part.stat().st_size for part in (self.path, wal.path_of(self.path)) if part.exists())

    def _begin(self, connection: sqlite3.Connection, now: datetime) -> None:
        adoption.forget_receivers(connection)
        sealing.configure(connection, self._dimensions.values(), now)

    def _set_file_aside(self) -> None:
        try:
            self.set_aside = volume.set_aside(self.path, self._now)
        except LedgerError as exc:
            self.set_aside, exc.set_aside = exc.set_aside or self.set_aside, None
            raise

    def _open_again(self) -> sqlite3.Connection:
        begin = partial(self._begin, now=self._now)
        return opening.open_again(self.path, self._owner, self._now, self._on_doubt, begin)
