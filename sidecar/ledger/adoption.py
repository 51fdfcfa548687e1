"""What may we bill of a workload that is gone? Its ledger hands over, ours takes, each exactly once.

Two files cannot commit together, so there are three steps, each safe to repeat after a crash: the old
ledger freezes what it gives away; ours takes each frozen amount once, by its number; the old one notes that.

Rules kept here:
- Only a ledger whose lock is free, of the same product and region, of a schema we know.
- Ids go before amounts: what the product sends again to the next workload is known there, billed or not.
- Rolled forward: usage that was never sealed, carried remainders, and records that were never sent or
  definitely refused every time. A record whose outcome is unknown is rejected there: AWS may have billed it.
- What one ledger claimed no other takes: two that both find it after a crash would bill it twice.
- Disputed and rejected records stay where they are, for a person.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Final, TypeVar

from sidecar.ledger import balance, seen_ids, volume
from sidecar.ledger import records as book
from sidecar.ledger.amounts import (
    Share,
    Totals,
    amount_of,
    buckets_of,
    delete_buckets,
    dimensions_known,
    hours_of,
    record_shares,
    roll,
    shares_of,
)
from sidecar.ledger.errors import LedgerError, translated
from sidecar.ledger.opening import Owner, open_known, rollback
from sidecar.ledger.pushes import tags_of, tags_text
from sidecar.ledger.sealing import instant_text, open_from
from sidecar.ledger.statements import sql
from sidecar.metering.events import Tags
from sidecar.metering.quantities import exact_difference, exact_sum, exact_sums, plain
from sidecar.metering.records import UsageRecord
from sidecar.metering.states import Action, Disposition, State, next_state
from sidecar.settings.dimensions import Dimension

T = TypeVar("T")
OUTCOME_UNKNOWN: Final = "outcome_unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Transfer:
    """One amount of a dimension on its way from another ledger."""

    number: int
    dimension: str
    tags: Tags
    amount: Decimal
    from_hour: int
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AdoptionResult:
    """What became of one other ledger."""

    path: Path
    workload: str = ""
    """Whose it was; empty where it was skipped."""
    amounts: tuple[Transfer, ...] = ()
    orphans: tuple[UsageRecord, ...] = ()
    """Records there that a person must look at."""
    unconfigured: Mapping[str, Decimal] = field(default_factory=dict)
    """What could be billed there of dimensions that are not configured here."""
    claimed: int = 0
    """Amounts that another ledger claimed and may have taken."""
    skipped: str = ""
    """The reason why nothing was taken: `ledger_locked`, `ledger_of_another`, …"""

    @property
    def left(self) -> int:
        """How many records, dimensions and amounts stay there."""
        return len(self.orphans) + len(self.unconfigured) + self.claimed


def adopt(
    path: Path,
    owner: Owner,
    dimensions: Iterable[str],
    ours: str,
    now: datetime,
    take: Callable[[str, tuple[Transfer, ...]], None],
    know: Callable[[bytes], None],
) -> AdoptionResult:
    """Take over what may be billed of the ledger at `path`, and the ids it knows.

    `take(ledger, amounts)` puts amounts on disk in ours, each once; `know(entries)` ids with their contents. `ours`
    names our ledger.
    """
    try:
        lock = volume.Lock(path)
    except LedgerError as exc:
        return AdoptionResult(path=path, skipped=exc.reason)
    try:
        connection = open_known(path, owner, now)
    except LedgerError as exc:
        lock.release()
        return AdoptionResult(path=path, skipped=exc.reason)
    try:
        _give_ids(connection, ours, now, know)
        return _adopt(connection, path, tuple(dimensions), ours, now, take)
    except sqlite3.Error as exc:
        return AdoptionResult(path=path, skipped=translated(exc, path).reason)
    finally:
        connection.close()
        lock.release()


def _give_ids(connection: sqlite3.Connection, ours: str, now: datetime, know: Callable[[bytes], None]) -> None:
    """Pass on the ids that may still be sent again, once for each ledger that asks and each life of this one."""
    (given,) = connection.execute(sql("ids_given_to"), {"ledger": ours}).fetchone()
    _, turned_at = connection.execute(sql("standing")).fetchone()
    if given or now.timestamp() - turned_at >= 2 * seen_ids.GENERATION_SECONDS:
        return
    for entries in seen_ids.everything(connection):
        know(entries)
    _at_once(connection, lambda: connection.execute(sql("ids_give"), {"ledger": ours, "at": instant_text(now)}))


def _adopt(
    connection: sqlite3.Connection,
    path: Path,
    dimensions: tuple[str, ...],
    ours: str,
    now: datetime,
    take: Callable[[str, tuple[Transfer, ...]], None],
) -> AdoptionResult:
    _at_once(connection, lambda: freeze(connection, dimensions, ours, now))
    frozen = connection.execute(sql("handed_waiting")).fetchall()
    amounts = tuple(_handed(row) for row in frozen if row["claimed_by"] == ours and row["dimension"] in dimensions)
    meta = connection.execute(sql("meta")).fetchone()
    if amounts:
        take(meta["ledger"], amounts)
        _at_once(connection, lambda: _taken(connection, amounts, ours))
    return AdoptionResult(
        path=path,
        workload=meta["workload"],
        amounts=amounts,
        orphans=book.in_state(connection, State.REJECTED) + book.in_state(connection, State.DISPUTED),
        unconfigured=_unconfigured(connection, dimensions),
        claimed=len(frozen) - len(amounts),
    )


def _unconfigured(connection: sqlite3.Connection, dimensions: tuple[str, ...]) -> dict[str, Decimal]:
    """What could be billed of other dimensions than these: what is not sealed, and what waits for AWS."""
    open_ = [(one.dimension, one.unsealed) for one in balance.balances(connection, {}) if one.unsealed]
    sent = [record for state in (State.SEALED, State.EXPIRED) for record in book.in_state(connection, state)]
    found = exact_sums([*open_, *((record.dimension, record.quantity) for record in sent)])
    return {name: amount for name, amount in found.items() if name not in dimensions}


def freeze(connection: sqlite3.Connection, dimensions: tuple[str, ...], ours: str, now: datetime) -> None:
    """First step, there: move what may be billed by another from where it is to `handed`."""
    known = dimensions_known(connection)
    for name in dimensions:
        if name in known:
            _freeze_usage(connection, known[name], ours, now)
            _freeze_waiting(connection, name, ours, now)
    for state in (State.SEALED, State.EXPIRED):
        for record in book.in_state(connection, state):
            if record.dimension in dimensions:
                _freeze_record(connection, record, ours, now)


def take(connection: sqlite3.Connection, ledger: str, amounts: Iterable[Transfer], now: datetime) -> None:
    """Second step, in ours: let each amount wait for the next sealing, unless it came before."""
    for handed in amounts:
        origin = f"{ledger}:{handed.number}"
        if connection.execute(sql("rolled_known"), {"origin": origin}).fetchone()[0]:
            continue
        share = (handed.tags, handed.amount)
        roll(
            connection,
            handed.dimension,
            [share],
            from_hour=handed.from_hour,
            origin=origin,
            why=handed.why,
            now=now,
        )
        totals = Totals.of(connection, handed.dimension)
        totals.accepted = exact_sum((totals.accepted, handed.amount))
        totals.keep(connection)


def _taken(connection: sqlite3.Connection, amounts: Iterable[Transfer], ours: str) -> None:
    """Third step, there: what was taken is not waiting here any more, nor counted as accepted here."""
    for handed in amounts:
        connection.execute(sql("handed_taken"), {"id": handed.number, "taken_by": ours})
        totals = Totals.of(connection, handed.dimension)
        totals.accepted = exact_difference(totals.accepted, handed.amount)
        totals.keep(connection)


def _freeze_usage(connection: sqlite3.Connection, dimension: Dimension, ours: str, now: datetime) -> None:
    totals = Totals.of(connection, dimension.name)
    for hour in hours_of(connection, dimension.name):
        buckets = buckets_of(connection, dimension.name, hour)
        _hand(connection, dimension.name, shares_of(dimension, buckets), hour, "open", ours, now)
        totals.sealed += sum(bucket.sum for bucket in buckets)
        totals.accepted = exact_sum((totals.accepted, amount_of(dimension, buckets)))
        delete_buckets(connection, dimension.name, hour)
    _hand(connection, dimension.name, [((), totals.carry)], open_from(connection).number - 1, "carried", ours, now)
    totals.carry = Decimal(0)
    totals.keep(connection)


def _freeze_waiting(connection: sqlite3.Connection, dimension: str, ours: str, now: datetime) -> None:
    for row in connection.execute(sql("rolled_waiting"), {"dimension": dimension}).fetchall():
        share = (tags_of(row["tags"]), Decimal(row["amount"]))
        _hand(connection, dimension, [share], row["from_hour"], "rolled_forward", ours, now)
    connection.execute(sql("rolled_leave"), {"dimension": dimension})


def _freeze_record(connection: sqlite3.Connection, record: UsageRecord, ours: str, now: datetime) -> None:
    if not record.definite:
        lost = replace(
            record, state=next_state(record.state, Disposition.REJECT), retry_at=None, last_error=OUTCOME_UNKNOWN
        )
        book.save(connection, lost, now, outcome=OUTCOME_UNKNOWN, detail="adopted")
        return
    _hand(connection, record.dimension, record_shares(record), record.hour.number, record.state.value, ours, now)
    expired = next_state(record.state, Disposition.EXPIRE) if record.state is State.SEALED else record.state
    gone = replace(record, state=next_state(expired, Action.ROLL_FORWARD), retry_at=None)
    book.save(connection, gone, now, outcome=Action.ROLL_FORWARD.value, detail="adopted")


def _hand(
    connection: sqlite3.Connection,
    dimension: str,
    shares: Iterable[Share],
    from_hour: int,
    why: str,
    ours: str,
    now: datetime,
) -> None:
    for tags, amount in shares:
        if amount:
            values = {
                "tags": tags_text(tags),
                "amount": plain(amount),
                "from_hour": from_hour,
                "why": why,
                "claimed_by": ours,
            }
            connection.execute(sql("handed_add"), {"dimension": dimension, "at": instant_text(now), **values})


def _handed(row: sqlite3.Row) -> Transfer:
    return Transfer(
        number=row["id"],
        dimension=row["dimension"],
        tags=tags_of(row["tags"]),
        amount=Decimal(row["amount"]),
        from_hour=row["from_hour"],
        why=row["why"],
    )


def _at_once(connection: sqlite3.Connection, work: Callable[[], T]) -> T:
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work()
        connection.execute("COMMIT")
    except BaseException:
        rollback(connection)
        raise
    return result
