"""Keep usage records after sealing: their states, the outcomes of their requests and the links between hours.

Invariants:
- Before a request leaves, disk has `sending`; a crash before its outcome is kept makes it one whose outcome is
  unknown. Hour, dimension and quantity of a record never change; settled and rolled forward are final.
- An outcome, its line in the audit trail and the totals it changes are one transaction.
- What is settled or rolled forward is deleted after a while, the trail when it is long; totals never.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from sidecar.digests import sha256
from sidecar.ledger.amounts import Totals, dimension_of, open_amount, roll
from sidecar.ledger.decimals import read_amount
from sidecar.ledger.errors import decoding
from sidecar.ledger.sealing import freeze, instant_text, open_from
from sidecar.ledger.statements import sql
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import exact_sum, plain
from sidecar.metering.records import UsageRecord, accepted_as_billed, rolled_forward, sent_again
from sidecar.metering.sealed_request import Repair, SealedRequest
from sidecar.metering.shares import record_shares
from sidecar.metering.states import Action, IllegalTransition, State, next_state
from sidecar.quick_dataclasses import replace

FINAL: Final = frozenset([State.SETTLED, State.ROLLED_FORWARD])
RETENTION: Final = timedelta(days=35)
"""Records nothing waits for are kept for a month's bill and some days."""
ATTEMPTS_KEPT: Final = 20_000
PAGE: Final = 200
"""Records read at once while pushes wait."""
BY_A_PERSON: Final = "by a person"
"""Who made a decision, as the audit trail says it."""
START: Final = (-1, "")
"""Before the first record, as (hour, dimension)."""


@decoding()
def record_of(row: sqlite3.Row) -> UsageRecord:
    """Return a row of `record_whole` as a value of the core. Raises sqlite3.DatabaseError for what we did not write."""
    record = UsageRecord(
        hour=Hour.numbered(row["hour"]),
        dimension=row["dimension"],
        state=State(row["state"]),
        quantity=read_amount(row["quantity"]),
        request=_request_of(row),
        attempts=row["attempts"],
        retry_at=row["retry_at"] and datetime.fromisoformat(row["retry_at"]),
        last_error=row["last_error"],
        definite=bool(row["definite"]) and not row["sending"],
        interrupted=bool(row["sending"]),
        record_id=row["record_id"],
        rolled_to=None if row["rolled_to"] is None else Hour.numbered(row["rolled_to"]),
        repairs=tuple(Repair(word) for word in row["repairs"].split()),
        aws_quantity=_aws_quantity(row),
    )
    if record.retry_at is not None and record.retry_at.utcoffset() is None:
        raise ValueError("retry_at has no offset from UTC")
    return record


def _aws_quantity(row: sqlite3.Row) -> Decimal | None:
    """Return AWS's quantity, where a person accepted it. A file is read before it gets the newest schema."""
    text = row["aws_quantity"] if "aws_quantity" in row.keys() else None  # noqa: SIM118  (`in row` looks at values)
    return None if text is None else read_amount(text)


def _request_of(row: sqlite3.Row) -> SealedRequest:
    """Return the request in force. Raises ValueError where it is not the one that was frozen for this record."""
    request = SealedRequest.from_json(row["body"])
    if sha256(row["body"].encode()).hexdigest() != row["digest"]:
        raise ValueError(f"the request {row['client_token']} has another digest")
    sealed = (request.client_token, request.dimension, read_amount(request.quantity), _hour(request))
    if sealed != (row["client_token"], row["dimension"], read_amount(row["quantity"]), row["hour"]):
        raise ValueError(f"the request {row['client_token']} is of another record")
    return request


def _hour(request: SealedRequest) -> int:
    return Hour.at(datetime.fromtimestamp(request.timestamp, UTC)).number


def due(connection: sqlite3.Connection, now: datetime, limit: int) -> tuple[UsageRecord, ...]:
    """Return sealed records whose time has come, oldest hour first."""
    rows = connection.execute(sql("records_due"), {"now": instant_text(now), "limit": limit})
    return tuple(map(record_of, rows.fetchall()))


def find(connection: sqlite3.Connection, hour: Hour, dimension: str) -> UsageRecord | None:
    """Return one record that was sealed."""
    row = connection.execute(sql("record"), {"hour": hour.number, "dimension": dimension}).fetchone()
    return record_of(row) if row else None


def in_state(connection: sqlite3.Connection, state: State) -> tuple[UsageRecord, ...]:
    """Return every record in a state, oldest first."""
    return tuple(map(record_of, connection.execute(sql("records_in"), {"state": state.value}).fetchall()))


def page(connection: sqlite3.Connection, after: tuple[int, str]) -> tuple[UsageRecord, ...]:
    """Return the next records behind `after`: the number of an hour, and a dimension."""
    values = {"hour": after[0], "dimension": after[1], "limit": PAGE}
    return tuple(map(record_of, connection.execute(sql("records_after"), values).fetchall()))


@decoding()
def open_records(connection: sqlite3.Connection) -> tuple[UsageRecord, ...]:
    """Return what the open hours come to so far, without what is carried."""
    dimensions = {row["dimension"]: dimension_of(row) for row in connection.execute(sql("lifetimes")).fetchall()}
    found = []
    for number, name in connection.execute(sql("open_slots")).fetchall():
        amount = open_amount(connection, dimensions[name], number)
        found.append(UsageRecord(hour=Hour.numbered(number), dimension=name, state=State.OPEN, quantity=amount))
    return tuple(found)


def mark_sending(connection: sqlite3.Connection, batch: Sequence[UsageRecord]) -> None:
    """Note on disk that these requests are about to leave. Raises IllegalTransition where one is not in force."""
    for record in batch:
        values = {**_key(record), "client_token": record.request and record.request.client_token}
        if record.state is not State.SEALED or connection.execute(sql("record_sending"), values).rowcount != 1:
            raise IllegalTransition(f"{record.dimension} in {record.hour} has no such request to send.")


def save(
    connection: sqlite3.Connection,
    record: UsageRecord,
    now: datetime,
    *,
    outcome: str,
    detail: str = "",
    roll_forward: bool = False,
) -> UsageRecord:
    """Keep what an outcome, or a person, made of a record; return it as it is on disk now.

    With `roll_forward` its quantity waits for the open hour. Saving the same twice changes nothing.
    Raises IllegalTransition where it is final already.
    """
    before = find(connection, record.hour, record.dimension)
    if before is None or before.quantity != record.quantity or record.request is None or before.request is None:
        raise IllegalTransition(f"{record.dimension} in {record.hour} is not a record of this ledger.")
    if before.state in FINAL:
        if (before.state, before.record_id) == (record.state, record.record_id):
            return before
        raise IllegalTransition(f"{record.dimension} in {record.hour} is {before.state.value} for good.")
    _add_attempt(connection, before, now, outcome, detail)
    if record.request.client_token != before.request.client_token:
        freeze(connection, record, now)
    if record.state is State.SETTLED:
        totals = Totals.of(connection, record.dimension)
        totals.settled = exact_sum((totals.settled, record.quantity))
        totals.save(connection)
    if roll_forward:
        record = _roll_forward(connection, record, now)
    _update(connection, record, now)
    return record


def apply_action(
    connection: sqlite3.Connection,
    hour: Hour,
    dimension: str,
    action: Action,
    now: datetime,
    record_id: str | None = None,
    quantity: Decimal | None = None,
    by: str = BY_A_PERSON,
) -> UsageRecord:
    """Apply what a person decided about a disputed or rejected record; `by` says in the audit trail who did.

    `record_id` is AWS's receipt, for CONFIRM alone, `quantity` what AWS billed, for ACCEPT_AWS alone.
    Raises IllegalTransition.
    """
    wrong = f"{action.value} of {dimension} in {hour}"
    if (action is Action.CONFIRM) != bool(record_id and record_id.strip()):
        raise IllegalTransition(f"{wrong}: a metering record id confirms, nothing else.")
    if (action is Action.ACCEPT_AWS) != (quantity is not None):
        raise IllegalTransition(f"{wrong}: AWS's quantity is accepted by accept_aws, by nothing else.")
    record = find(connection, hour, dimension)
    if record is None:
        raise IllegalTransition(f"there is no record of {dimension} in {hour}.")
    state = next_state(record.state, action)
    if action is Action.RETRY:
        record = sent_again(record, now)
    elif action is Action.CONFIRM:
        record = replace(record, state=state, retry_at=None, last_error=None, record_id=record_id)
    elif quantity is not None:
        record = accepted_as_billed(record, quantity)
        by = f"{by}: AWS billed {plain(quantity)}, sealed were {plain(record.quantity)}"
        _accept(connection, record, quantity, now)
    rolls = action is Action.ROLL_FORWARD
    return save(connection, record, now, outcome=action.value, detail=by, roll_forward=rolls)


def _accept(connection: sqlite3.Connection, record: UsageRecord, quantity: Decimal, now: datetime) -> None:
    values = {"sealed": plain(record.quantity), "billed": plain(quantity), "at": instant_text(now)}
    connection.execute(sql("accepted_aws_add"), {**_key(record), **values})


def _roll_forward(connection: sqlite3.Connection, record: UsageRecord, now: datetime) -> UsageRecord:
    moved = rolled_forward(record, open_from(connection))
    roll(
        connection,
        record.dimension,
        record_shares(record),
        from_hour=record.hour.number,
        origin="record",
        why=record.state.value,
        now=now,
    )
    return moved


def _key(record: UsageRecord) -> dict[str, object]:
    return {"hour": record.hour.number, "dimension": record.dimension}


def _update(connection: sqlite3.Connection, record: UsageRecord, now: datetime) -> None:
    values = {
        **_key(record),
        "state": record.state.value,
        "client_token": record.request and record.request.client_token,
        "attempts": record.attempts,
        "definite": int(record.definite),
        "retry_at": record.retry_at and instant_text(record.retry_at),
        "last_error": record.last_error,
        "record_id": record.record_id,
        "rolled_to": record.rolled_to and record.rolled_to.number,
        "repairs": " ".join(repair.value for repair in record.repairs),
        "at": instant_text(now),
    }
    connection.execute(sql("record_update"), values)


def _add_attempt(connection: sqlite3.Connection, record: UsageRecord, now: datetime, outcome: str, detail: str) -> None:
    values = {
        **_key(record),
        "client_token": record.request and record.request.client_token,
        "at": instant_text(now),
        "outcome": outcome,
        "detail": detail,
    }
    connection.execute(sql("attempt_add"), values)


def prune(connection: sqlite3.Connection, now: datetime) -> None:
    """Delete records and links that nothing waits for and that are older than RETENTION, and the oldest attempts."""
    before = {"hour": Hour.at(now - RETENTION).number}
    connection.execute(sql("attempts_prune"), {"keep": ATTEMPTS_KEPT})
    for name in ("records_prune", "requests_prune", "late_prune", "rolled_prune"):
        connection.execute(sql(name), before)
    connection.execute(sql("handed_prune"), {"at": instant_text(now - RETENTION)})


@decoding()
def earlier_hours(connection: sqlite3.Connection, record: UsageRecord) -> tuple[Hour, ...]:
    """Return the hours before its own in which some of a record's quantity was used, oldest first."""
    rows = (row for name in ("rolled_into", "late_into") for row in connection.execute(sql(name), _key(record)))
    return tuple(map(Hour.numbered, sorted({row["from_hour"] for row in rows})))


@decoding()
def failing_since(connection: sqlite3.Connection) -> datetime | None:
    """Return when AWS first refused since it last took a record, by the audit trail; None if it has not."""
    (text,) = connection.execute(sql("attempts_failing_since")).fetchone()
    return None if text is None else datetime.fromisoformat(text)


def ever_answered(connection: sqlite3.Connection, outcomes: Iterable[str]) -> bool:
    """Return whether the audit trail has one of these outcomes."""
    return any(connection.execute(sql("attempts_answered"), {"outcome": one}).fetchone()[0] for one in outcomes)
