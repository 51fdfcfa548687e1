"""Where is each usage record, and what was said about it? Records after sealing, their answers and links.

Rules kept here:
- Before a request leaves, disk says so (`sending`); a crash before its outcome is kept makes it one whose
  outcome is unknown. Hour, dimension and quantity of a record never change; settled and rolled forward are final.
- An outcome, its line in the audit trail and what it moves are one transaction.
- What is settled or rolled forward is forgotten after a while, the trail when it is long; totals never.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from sidecar.ledger.amounts import Totals, dimension_of, open_amount, record_shares, roll
from sidecar.ledger.sealing import freeze, instant_text, open_from
from sidecar.ledger.statements import sql
from sidecar.metering.hours import Hour
from sidecar.metering.quantities import exact_sum, plain
from sidecar.metering.records import UsageRecord
from sidecar.metering.sealed_request import Repair, SealedRequest
from sidecar.metering.states import Action, IllegalTransition, State, next_state

FINAL: Final = frozenset([State.SETTLED, State.ROLLED_FORWARD])
KEPT: Final = timedelta(days=35)
"""Records nothing waits for are kept for a month's bill and some days."""
ATTEMPTS_KEPT: Final = 20_000
PAGE: Final = 200
"""Records read at once while pushes wait."""
START: Final = (-1, "")
PLACE: Final = re.compile(r"([0-9]{1,12}):(.+)", re.DOTALL)


def record_of(row: sqlite3.Row) -> UsageRecord:
    """A record as the core knows it."""
    return UsageRecord(
        hour=Hour.numbered(row["hour"]),
        dimension=row["dimension"],
        state=State(row["state"]),
        quantity=Decimal(row["quantity"]),
        request=SealedRequest.from_json(row["body"]),
        attempts=row["attempts"],
        retry_at=row["retry_at"] and datetime.fromisoformat(row["retry_at"]),
        last_error=row["last_error"],
        definite=bool(row["definite"]) and not row["sending"],
        record_id=row["record_id"],
        rolled_to=None if row["rolled_to"] is None else Hour.numbered(row["rolled_to"]),
        repairs=tuple(Repair(word) for word in row["repairs"].split()),
    )


def due(connection: sqlite3.Connection, now: datetime, limit: int) -> tuple[UsageRecord, ...]:
    rows = connection.execute(sql("records_due"), {"now": instant_text(now), "limit": limit})
    return tuple(record_of(row) for row in rows.fetchall())


def find(connection: sqlite3.Connection, hour: Hour, dimension: str) -> UsageRecord | None:
    row = connection.execute(sql("record"), {"hour": hour.number, "dimension": dimension}).fetchone()
    return record_of(row) if row else None


def in_state(connection: sqlite3.Connection, state: State) -> tuple[UsageRecord, ...]:
    rows = connection.execute(sql("records_in"), {"state": state.value})
    return tuple(record_of(row) for row in rows.fetchall())


def page(connection: sqlite3.Connection, after: tuple[int, str]) -> tuple[UsageRecord, ...]:
    """The next records behind (hour, dimension)."""
    where = {"hour": after[0], "dimension": after[1], "limit": PAGE}
    return tuple(record_of(row) for row in connection.execute(sql("records_after"), where).fetchall())


def place_of(words: str) -> tuple[int, str]:
    """The (hour, dimension) a page ended with, as written in its link. Raises ValueError."""
    found = PLACE.fullmatch(words)
    if found is None:
        raise ValueError("no page ended there.")
    return int(found[1]), found[2]


def open_records(connection: sqlite3.Connection) -> tuple[UsageRecord, ...]:
    """What the open hours come to so far, without what is carried."""
    dimensions = {row["dimension"]: dimension_of(row) for row in connection.execute(sql("lifetimes")).fetchall()}
    found = []
    for number, name in connection.execute(sql("open_slots")).fetchall():
        amount = open_amount(connection, dimensions[name], number)
        found.append(UsageRecord(hour=Hour.numbered(number), dimension=name, state=State.OPEN, quantity=amount))
    return tuple(found)


def sending(connection: sqlite3.Connection, records: Iterable[UsageRecord]) -> None:
    """Note that these requests are about to leave. Raises IllegalTransition for one that is not in force."""
    for record in records:
        token = record.request.client_token if record.request else ""
        where = {"hour": record.hour.number, "dimension": record.dimension, "client_token": token}
        if record.state is not State.SEALED or connection.execute(sql("record_sending"), where).rowcount != 1:
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
    """Keep what an answer, or a person, made of a record; gives it as it is on disk now.

    With `roll_forward` its quantity waits for the open hour. The same once more changes nothing.
    Raises IllegalTransition where it is final already.
    """
    before = find(connection, record.hour, record.dimension)
    if before is None or before.quantity != record.quantity or record.request is None or before.request is None:
        raise IllegalTransition(f"{record.dimension} in {record.hour} is not a record of this ledger.")
    if before.state in FINAL:
        if (before.state, before.record_id) == (record.state, record.record_id):
            return before
        raise IllegalTransition(f"{record.dimension} in {record.hour} is {before.state.value} for good.")
    _note(connection, before, now, outcome, detail)
    if record.request.client_token != before.request.client_token:
        freeze(connection, record, now)
    if record.state is State.SETTLED:
        totals = Totals.of(connection, record.dimension)
        totals.settled = exact_sum((totals.settled, record.quantity))
        totals.keep(connection)
    if roll_forward:
        record = _roll_forward(connection, record, now)
    _move(connection, record, now)
    return record


def act(
    connection: sqlite3.Connection,
    hour: Hour,
    dimension: str,
    what: Action,
    now: datetime,
    record_id: str | None = None,
) -> UsageRecord:
    """What a person decided about a disputed or rejected record; `record_id` is AWS's receipt, for CONFIRM alone.

    Raises IllegalTransition.
    """
    if (what is Action.CONFIRM) != bool(record_id and record_id.strip()):
        raise IllegalTransition(f"{what.value} of {dimension} in {hour}: a metering record id confirms, nothing else.")
    record = find(connection, hour, dimension)
    if record is None:
        raise IllegalTransition(f"there is no record of {dimension} in {hour}.")
    state = next_state(record.state, what)
    if what is Action.RETRY:
        record = replace(record, state=state, retry_at=now)
    elif what is Action.CONFIRM:
        record = replace(record, state=state, retry_at=None, last_error=None, record_id=record_id)
    rolls = what is Action.ROLL_FORWARD
    return save(connection, record, now, outcome=what.value, detail="by a person", roll_forward=rolls)


def _roll_forward(connection: sqlite3.Connection, record: UsageRecord, now: datetime) -> UsageRecord:
    state = next_state(record.state, Action.ROLL_FORWARD)
    into = open_from(connection)
    roll(
        connection,
        record.dimension,
        record_shares(record),
        from_hour=record.hour.number,
        origin="record",
        why=record.state.value,
        now=now,
    )
    return replace(record, state=state, rolled_to=into, retry_at=None)


def _move(connection: sqlite3.Connection, record: UsageRecord, now: datetime) -> None:
    values = {
        "hour": record.hour.number,
        "dimension": record.dimension,
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
    connection.execute(sql("record_move"), values)


def _note(connection: sqlite3.Connection, record: UsageRecord, now: datetime, outcome: str, detail: str) -> None:
    values = {
        "hour": record.hour.number,
        "dimension": record.dimension,
        "client_token": record.request and record.request.client_token,
        "at": instant_text(now),
        "outcome": outcome,
        "detail": detail,
    }
    connection.execute(sql("attempt_add"), values)


def prune(connection: sqlite3.Connection, now: datetime) -> None:
    """Forget what nothing waits for and nobody needs any more."""
    before = {"hour": Hour.at(now - KEPT).number}
    connection.execute(sql("attempts_prune"), {"keep": ATTEMPTS_KEPT})
    for name in ("records_prune", "requests_prune", "late_prune", "rolled_prune"):
        connection.execute(sql(name), before)
    connection.execute(sql("handed_prune"), {"at": instant_text(now - KEPT)})


def earlier_hours(connection: sqlite3.Connection, record: UsageRecord) -> tuple[Hour, ...]:
    """The hours before its own in which some of a record's quantity was used, oldest first."""
    where = {"hour": record.hour.number, "dimension": record.dimension}
    links = (row["from_hour"] for name in ("rolled_into", "late_into") for row in _rows(connection, name, where))
    return tuple(Hour.numbered(number) for number in sorted({one for one in links if isinstance(one, int)}))


def lines(connection: sqlite3.Connection, records: Iterable[UsageRecord]) -> Iterator[str]:
    """Each record as one line of JSON: its requests, their hashes, the answers, the links."""
    for record in records:
        where = {"hour": record.hour.number, "dimension": record.dimension}
        fields: dict[str, object] = {
            "record": "usage",
            "hour": record.hour.start.isoformat(),
            "dimension": record.dimension,
            "state": record.state.value,
            "quantity": plain(record.quantity),
            "metering_record_id": record.record_id,
            "last_error": record.last_error,
            "attempts": record.attempts,
            "rolled_to": record.rolled_to and record.rolled_to.start.isoformat(),
            "requests": [_request(row) for row in connection.execute(sql("requests_of"), where).fetchall()],
            "answers": _rows(connection, "attempts_of", where),
            "rolled_from": [_linked(row) for row in _rows(connection, "rolled_into", where)],
            "late_from": [_linked(row) for row in _rows(connection, "late_into", where)],
        }
        yield json.dumps(fields)


def _request(row: sqlite3.Row) -> dict[str, object]:
    return {**dict(row), "body": json.loads(row["body"])}


def _rows(connection: sqlite3.Connection, name: str, where: Mapping[str, object]) -> list[dict[str, object]]:
    return [dict(row) for row in connection.execute(sql(name), where).fetchall()]


def _linked(row: dict[str, object]) -> dict[str, object]:
    """A link with its hour as people write it."""
    number = row["from_hour"]
    return {**row, "from_hour": Hour.numbered(number).start.isoformat() if isinstance(number, int) else None}
