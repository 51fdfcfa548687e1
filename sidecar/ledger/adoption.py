"""Take over what may be billed of a workload that is gone, each amount exactly once.

How amounts go from one file to another: `handover`.

Invariants:
- Only a ledger whose lock is free, of the same product and region, of a schema we know.
- Ids are copied before amounts: an event that the product repeats to the next workload is a duplicate there,
  billed or not.
- Rolled forward: usage that was never sealed, carried remainders, and records that were never sent or
  definitely refused every time.
- A record whose outcome is unknown is never sent in another's name: AWS tells records apart by the pod or task that
  asks, so that the same request, client token included, may count once more. While AWS takes it, it stays sealed: its
  own workload may come back and send it again. Then it is rejected there, for a person.
- An amount that one ledger claimed is taken by no other, unless `claims` moves the claim: after a crash two would
  bill it. Nor by the one that is begun where ours is set aside meanwhile.
- Disputed and rejected records stay where they are, for a person (`gone_records`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Final

from sidecar.errors import DATA_ERRORS
from sidecar.ledger import balance, claims, gone_records, handover, live_copy, records, removal, seen_ids, volume, wal
from sidecar.ledger.amounts import Totals, buckets_of, delete_buckets, dimensions_known, hours_of
from sidecar.ledger.decimals import read_amount
from sidecar.ledger.errors import FAILURES, LedgerError, as_ledger_error, decoding
from sidecar.ledger.handover import Successor, Transfer, freeze_amounts
from sidecar.ledger.opening import Owner, open_known
from sidecar.ledger.sealing import instant_text, open_from
from sidecar.ledger.statements import sql
from sidecar.ledger.transactions import transaction
from sidecar.metering.push_group import tags_of
from sidecar.metering.quantities import exact_sum, exact_sums
from sidecar.metering.records import UsageRecord, drawn
from sidecar.metering.schedule import too_late
from sidecar.metering.shares import amount_of, record_shares, shares_of
from sidecar.metering.states import Action, Disposition, State, next_state
from sidecar.quick_dataclasses import dataclass, field, replace
from sidecar.settings.dimensions import Dimension

NEVER: Final = 2**40
"""The number of no hour: what is handed over is counted in none of this ledger's."""
OUTCOME_UNKNOWN: Final = "outcome_unknown"
RememberIds = Callable[[bytes], None]
"""A function that puts ids with their contents on disk in ours."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AdoptionResult:
    """What became of one other ledger."""

    path: Path
    workload: str = ""
    """The workload it belongs to; empty where it was skipped."""
    amounts: tuple[Transfer, ...] = ()
    orphans: tuple[UsageRecord, ...] = ()
    """Records there that a person must decide about."""
    unanswered: tuple[UsageRecord, ...] = ()
    """Records there whose outcome is unknown, and which their own workload may still send again."""
    unconfigured: Mapping[str, Decimal] = field(default_factory=dict)
    """What could be billed there of dimensions that are not configured here."""
    claimed: tuple[Transfer, ...] = ()
    """Amounts that are frozen there and were not taken now: another ledger claimed them, or ours cannot keep them, or
    may have taken them and forgotten it."""
    skipped: str = ""
    """The reason why nothing was taken: `ledger_locked`, `ledger_of_another`, …"""
    removable: bool = False
    """Nothing in it is needed any more (`removal`)."""
    removed: bool = False
    """It was removed."""
    in_doubt: bool = False
    """Its last commit was not whole, and was left out (`wal`)."""
    ids_unread: LedgerError | None = None
    """Why the ids of a ledger in use could not be read; None where they were, or were before."""
    ids_missing: bool = False
    """It was skipped before its ids were copied: what its product repeats to ours would count again."""
    damaged: bool = False
    """It was found damaged itself; `skipped` also says so of ours."""

    @property
    def left(self) -> int:
        """How many records, dimensions and amounts stay there."""
        return len(self.orphans) + len(self.unanswered) + len(self.unconfigured) + len(self.claimed)


def adopt(path: Path, successor: Successor, remember_ids: RememberIds) -> AdoptionResult:
    """Take over what may be billed of the ledger at `path`, and the ids it knows.

    A ledger that is found damaged is tried again, since each step may be repeated: a single read that failed can look
    like damage. Not where ours, the successor, is damaged: it is begun again, under another name.
    """
    found = _adopt_once(path, successor, remember_ids)
    if not found.damaged:
        return found
    try:
        volume.read_through(path)
        volume.read_through(wal.path_of(path))
    except OSError as exc:
        return replace(found, skipped=as_ledger_error(exc, path).reason)
    again = _adopt_once(path, successor, remember_ids)
    return replace(again, in_doubt=found.in_doubt or again.in_doubt)


def _adopt_once(path: Path, successor: Successor, remember_ids: RememberIds) -> AdoptionResult:
    ours, now = successor.name, successor.now
    in_doubt: list[Path] = []
    with ExitStack() as held:
        try:
            lock = volume.Lock(path)
            held.callback(lock.release)
            connection = held.enter_context(closing(open_known(path, successor.owner, now, in_doubt.append)))
        except (OSError, LedgerError) as exc:
            return _skipped(path, as_ledger_error(exc, path), in_doubt=bool(in_doubt), ids_missing=True)
        ids_missing = True
        try:
            copied = _copy_ids(connection, ours, now, remember_ids)
            ids_missing = False
            if copied:
                _note_given(connection, ours, now)
            claims.settle(connection, path, successor, partial(handover.mark_taken, connection))
            return replace(_adopt(connection, path, successor), in_doubt=bool(in_doubt))
        except (*FAILURES, *DATA_ERRORS) as exc:  # what is in it keeps none of ours from being reported
            return _skipped(path, as_ledger_error(exc, path), in_doubt=bool(in_doubt), ids_missing=ids_missing)


def _skipped(path: Path, error: LedgerError, *, in_doubt: bool, ids_missing: bool) -> AdoptionResult:
    """Return what became of a ledger that failed itself."""
    damaged = error.reason == "ledger_corrupt"
    return AdoptionResult(path=path, skipped=error.reason, in_doubt=in_doubt, ids_missing=ids_missing, damaged=damaged)


def read_ids(path: Path, ours: Path, owner: Owner, now: datetime, remember_ids: RememberIds) -> None:
    """Learn the ids that a ledger in use has kept so far; `ours` is our ledger's path. Raises LedgerError.

    Nothing there says that they were given: they are learned again with those that follow, when its lock is free.
    """
    with live_copy.copied(path, ours) as copy:
        connection = open_known(copy, owner, now, lambda copy: None)  # a commit may be half copied
        try:
            if _ids_are_known(connection, now):
                for entries in seen_ids.everything(connection):
                    remember_ids(entries)
        except (*FAILURES, *DATA_ERRORS) as exc:
            raise as_ledger_error(exc, path) from exc
        finally:
            connection.close()


def forget_receivers(connection: sqlite3.Connection) -> None:
    """Forget which ledgers were given the ids: this workload runs, and will keep ids that they were not given."""
    connection.execute(sql("ids_given_clear"))


def _copy_ids(connection: sqlite3.Connection, ours: str, now: datetime, remember_ids: RememberIds) -> bool:
    """Copy the ids that may still be sent again, once for each ledger that asks; return whether they were copied now.

    A ledger whose workload runs again gives them once more (`forget_receivers`).
    """
    (given,) = connection.execute(sql("ids_given_to"), {"ledger": ours}).fetchone()
    if given or not _ids_are_known(connection, now):
        return False
    for entries in seen_ids.everything(connection):
        remember_ids(entries)
    return True


def _note_given(connection: sqlite3.Connection, ours: str, now: datetime) -> None:
    """Note, there, that ours has the ids: they are not copied again."""
    with transaction(connection):
        connection.execute(sql("ids_give"), {"ledger": ours, "at": instant_text(now)})


def _ids_are_known(connection: sqlite3.Connection, now: datetime) -> bool:
    """Return whether the workload itself would still call a push with one of its ids a duplicate."""
    turned_at, _ = connection.execute(sql("ids_place")).fetchone()
    return bool(now.timestamp() - turned_at < 2 * seen_ids.GENERATION_SECONDS)


def _adopt(connection: sqlite3.Connection, path: Path, successor: Successor) -> AdoptionResult:
    with transaction(connection):
        freeze(connection, successor.dimensions, successor.name, successor.now)
    passed = handover.pass_on(connection, successor)
    return AdoptionResult(
        path=path,
        workload=connection.execute(sql("meta")).fetchone()["workload"],
        amounts=passed.taken,
        orphans=gone_records.waiting(connection),
        unanswered=_unanswered(connection, successor.dimensions),
        unconfigured=_unconfigured(connection, successor.dimensions),
        claimed=passed.left,
        skipped=passed.failure.reason if passed.failure else "",
        removable=removal.is_due(connection, successor.now),
    )


def _unanswered(connection: sqlite3.Connection, dimensions: Sequence[str]) -> tuple[UsageRecord, ...]:
    sealed = records.in_state(connection, State.SEALED)
    return tuple(record for record in sealed if record.dimension in dimensions and not record.definite)


def _unconfigured(connection: sqlite3.Connection, dimensions: Sequence[str]) -> dict[str, Decimal]:
    """Return what could be billed of other dimensions than these: what is not sealed, and what waits for AWS."""
    open_ = [(one.dimension, one.unsealed) for one in balance.balances(connection, {}) if one.unsealed]
    sent = [record for state in (State.SEALED, State.EXPIRED) for record in records.in_state(connection, state)]
    found = exact_sums([*open_, *((record.dimension, record.quantity) for record in sent)])
    return {name: amount for name, amount in found.items() if name not in dimensions}


@decoding()
def freeze(connection: sqlite3.Connection, dimensions: Sequence[str], ours: str, now: datetime) -> None:
    """Do the first step, there: move what another may bill from where it is to `handed`."""
    known = dimensions_known(connection)
    for name in dimensions:
        if name in known:
            _freeze_usage(connection, known[name], ours, now)
            _freeze_waiting(connection, name, ours, now)
    for state in (State.SEALED, State.EXPIRED):
        for record in records.in_state(connection, state):
            if record.dimension in dimensions:
                _freeze_record(connection, record, ours, now)


def _freeze_usage(connection: sqlite3.Connection, dimension: Dimension, ours: str, now: datetime) -> None:
    totals, hours = Totals.of(connection, dimension.name), hours_of(connection, dimension.name)
    if not hours and not totals.carry:
        return  # or every look would write to a ledger in which nothing is left
    for hour in hours:
        buckets = buckets_of(connection, dimension.name, hour)
        freeze_amounts(connection, dimension.name, shares_of(dimension, buckets), hour, "open", ours, now)
        totals.sealed += sum(bucket.sum for bucket in buckets)
        totals.accepted = exact_sum((totals.accepted, amount_of(dimension, buckets)))
        delete_buckets(connection, dimension.name, hour)
    last_sealed = open_from(connection).number - 1
    freeze_amounts(connection, dimension.name, [((), totals.carry)], last_sealed, "carried", ours, now)
    totals.carry = Decimal(0)
    totals.save(connection)


def _freeze_waiting(connection: sqlite3.Connection, dimension: str, ours: str, now: datetime) -> None:
    for row in connection.execute(sql("rolled_waiting"), {"dimension": dimension}).fetchall():
        share = (tags_of(row["tags"]), read_amount(row["amount"]))
        freeze_amounts(connection, dimension, [share], row["from_hour"], "rolled_forward", ours, now)
    connection.execute(sql("rolled_hand_over"), {"dimension": dimension, "never": NEVER})


def _freeze_record(connection: sqlite3.Connection, record: UsageRecord, ours: str, now: datetime) -> None:
    if not record.definite and not drawn(record) and not too_late(record.hour, now):
        return  # its own workload sends it again; a drawdown is never repeated
    if not record.definite:
        lost = replace(
            record, state=next_state(record.state, Disposition.REJECT), retry_at=None, last_error=OUTCOME_UNKNOWN
        )
        records.save(connection, lost, now, outcome=OUTCOME_UNKNOWN, detail="adopted")
        return
    shares, why = record_shares(record), record.state.value
    freeze_amounts(connection, record.dimension, shares, record.hour.number, why, ours, now)
    expired = next_state(record.state, Disposition.EXPIRE) if record.state is State.SEALED else record.state
    gone = replace(record, state=next_state(expired, Action.ROLL_FORWARD), retry_at=None)
    records.save(connection, gone, now, outcome=Action.ROLL_FORWARD.value, detail="adopted")
