"""Apply a person's decision to records that a workload which is gone left in its own ledger.

Invariants:
- Only where that ledger's lock is free, and product and region are ours.
- All or nothing, in one transaction there; its audit trail says who decided, and through which workload.
- A record is never sent again in another workload's name: AWS tells records apart by the pod or task that asks, so that
  it would count as one more.
- What is rolled forward is handed over as in an adoption, once, and billed in our open hour with a link. A crash in
  between leaves it frozen there for ours, and the next adoption takes it.
"""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.errors import DATA_ERRORS, DecisionRefused
from sidecar.ledger import handover, records, volume
from sidecar.ledger.errors import FAILURES, LedgerError, as_ledger_error
from sidecar.ledger.handover import Successor
from sidecar.ledger.opening import OnDoubt, open_known
from sidecar.ledger.transactions import transaction
from sidecar.metering.records import UsageRecord
from sidecar.metering.resolution import Resolution
from sidecar.metering.shares import record_shares
from sidecar.metering.states import Action, IllegalTransition, State, next_state
from sidecar.quick_dataclasses import replace

FOR_A_PERSON: Final = (State.REJECTED, State.DISPUTED)
"""Records in these states wait for a person."""
IN_USE: Final = (
    "The ledger of that workload is in use: it still runs, and decides about its own records; run the command there."
    " Where it is gone, another sidecar is reading its ledger: try again in a moment."
)
OF_ANOTHER: Final = "The records of that workload are of another product or region; decide there."
REGION_UNKNOWN: Final = (
    "The region of this workload is not known yet, and records are decided about in their own; `GET /v1/status` says"
    " what is missing."
)
NOT_SENT: Final = (
    "AWS takes the pod or task from the credentials that ask, so a record of a workload that is gone cannot be sent"
    " again from this one. Use --roll-forward where AWS has not billed it, --confirm or --accept-aws where it has."
)
UNCONFIGURED: Final = (
    "is not one of this product's dimensions here, so it cannot be billed here: set it or choose others."
)


class Resolved(NamedTuple):
    """What a decision did in one ledger."""

    path: Path
    changed: tuple[UsageRecord, ...]
    """Records it was for, as they are now."""
    waiting: tuple[UsageRecord, ...]
    """Records that wait for a person there still."""


def waiting(connection: sqlite3.Connection) -> tuple[UsageRecord, ...]:
    """Return the records that wait for a person."""
    return tuple(record for state in FOR_A_PERSON for record in records.in_state(connection, state))


def resolve(
    path: Path,
    resolution: Resolution,
    successor: Successor,
    on_doubt: OnDoubt,
) -> Resolved:
    """Apply a decision in the ledger at `path`. The successor bills what is rolled forward; the audit trail names it.

    Raises DecisionRefused, IllegalTransition and LedgerError; nothing was changed there, except where ours could not
    keep what was rolled forward: the next adoption takes it.
    """
    if not successor.owner.region:
        raise DecisionRefused(409, "region_unknown", REGION_UNKNOWN)
    if resolution.action is Action.RETRY:
        raise DecisionRefused(409, "workload_gone", NOT_SENT)
    try:
        lock = volume.Lock(path)
        try:
            connection = open_known(path, successor.owner, successor.now, on_doubt)
            try:
                changed = _resolve(connection, resolution, successor)
                return Resolved(path, changed, waiting(connection))
            finally:
                connection.close()
        finally:
            lock.release()
    except IllegalTransition:
        raise
    except LedgerError as exc:
        refusal = {"ledger_locked": IN_USE, "ledger_of_another": OF_ANOTHER}.get(exc.reason)
        if refusal is None:
            raise
        raise DecisionRefused(409, exc.reason, refusal) from exc
    except (*FAILURES, *DATA_ERRORS) as exc:
        raise as_ledger_error(exc, path) from exc


def _resolve(connection: sqlite3.Connection, resolution: Resolution, successor: Successor) -> tuple[UsageRecord, ...]:
    now = successor.now
    found = [record for record in waiting(connection) if resolution.covers(record)]
    by = f"{records.BY_A_PERSON} through {successor.owner.workload}"
    if resolution.action is not Action.ROLL_FORWARD:
        with transaction(connection):
            return tuple(_settle(connection, record, resolution, now, by) for record in found)
    for record in found:
        if record.dimension not in successor.dimensions:
            raise DecisionRefused(409, "dimension_unconfigured", f"{record.dimension} {UNCONFIGURED}")
    with transaction(connection):
        changed = tuple(_roll_forward(connection, record, successor.name, now, by) for record in found)
    if (failure := handover.pass_on(connection, successor).failure) is not None:
        raise failure
    return changed


def _settle(
    connection: sqlite3.Connection, record: UsageRecord, resolution: Resolution, now: datetime, by: str
) -> UsageRecord:
    return records.apply_action(
        connection,
        record.hour,
        record.dimension,
        resolution.action,
        now,
        resolution.record_id,
        resolution.quantity,
        by,
    )


def _roll_forward(
    connection: sqlite3.Connection, record: UsageRecord, ours: str, now: datetime, by: str
) -> UsageRecord:
    """Freeze a record's shares for ours; `rolled_to` stays empty, since no hour of its own ledger counts them."""
    why = record.state.value
    gone = replace(record, state=next_state(record.state, Action.ROLL_FORWARD), retry_at=None)
    shares = record_shares(record)
    handover.freeze_amounts(connection, record.dimension, shares, record.hour.number, why, ours, now)
    return records.save(connection, gone, now, outcome=Action.ROLL_FORWARD.value, detail=by)
