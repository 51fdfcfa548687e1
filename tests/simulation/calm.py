"""Check what must be true once nothing has been wrong for hours: everything is sealed, settled and taken over.

Invariants:
- The ledgers' own tables are read, row by row: a total that is wrong hides nothing.
- An hour that ended while nothing was wrong is settled, unless another reporter was first.
- Of what was left by workloads that are gone, only what a person must decide about is left.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from sidecar.ledger import amounts, claims, records, sealing
from sidecar.ledger.opening import ledger_name
from sidecar.ledger.statements import sql
from sidecar.metering.hours import Hour
from sidecar.metering.schedule import LATENESS, too_late
from sidecar.metering.states import State
from sidecar.settings.dimensions import Dimension
from tests.simulation.invariants import named
from tests.simulation.violation import Violation

if TYPE_CHECKING:
    from tests.simulation.world import World

SEALED_AFTER = timedelta(minutes=1)
"""After its end an hour is sealed by then."""
QUANTITY_MAX = 2**31 - 1
"""AWS takes no more in one record, so that more of it takes several hours."""
SETTLED_AFTER = timedelta(minutes=15)
"""After its end an hour's records are settled by then: they are sent within eight minutes."""


def check(world: World, first: Hour) -> None:
    """Raise Violation unless everything is settled. `first`: the first hour that was not sealed when faults ended."""
    assert world.pod is not None
    dimensions, now = world.pod.settings.dimensions, world.clock.now()
    for book in world.books():
        connection = world.connection(book.workload)
        if connection is None or not book.workload:
            continue
        if book.workload == world.workload:
            _own_usage(connection, dimensions, first, now)
            _own_records(world, connection, first, now)
        else:
            _left_usage(connection, dimensions, book.workload)
            _left_records(connection, [one.name for one in dimensions], book.workload, now)
            _left_claims(world, connection, [one.name for one in dimensions], book.workload, now)


def _own_usage(connection: sqlite3.Connection, dimensions: Sequence[Dimension], first: Hour, now: datetime) -> None:
    running = Hour.at(now - SEALED_AFTER)
    if first >= running:
        return  # the clock was ahead: what is used now counts in a later hour
    for one in dimensions:
        late = [hour for hour in amounts.hours_of(connection, one.name) if hour < running.number]
        if late:
            raise Violation(f"not sealed though nothing is wrong: {one.name} of {Hour.numbered(late[0])}")
        for (rolled_at,) in connection.execute(
            "SELECT rolled_at FROM rolled WHERE dimension = ? AND into_hour IS NULL", (one.name,)
        ):
            if datetime.fromisoformat(rolled_at) < running.start:
                raise Violation(f"not counted though nothing is wrong: {one.name}, rolled forward at {rolled_at}")
        carry = amounts.Totals.of(connection, one.name).carry
        last = records.find(connection, running.previous, one.name)
        if carry >= Decimal(1).scaleb(-one.decimals) and (last is None or last.quantity < QUANTITY_MAX - 1):
            raise Violation(f"not billed though nothing is wrong: {carry} of {one.name} is carried")


def _own_records(world: World, connection: sqlite3.Connection, first: Hour, now: datetime) -> None:
    for row in connection.execute("SELECT hour, dimension, state FROM usage_record").fetchall():
        hour, state = Hour.numbered(row["hour"]), State(row["state"])
        key = world.workload, str(row["dimension"]), hour.number
        if hour >= first and hour.end + SETTLED_AFTER <= now:
            if state is not State.SETTLED and key not in world.aws.reported:
                raise Violation(f"not settled though nothing is wrong: {named(key)} is {state.value}")
        elif state is State.EXPIRED or (state is State.SEALED and hour.start + LATENESS <= now):
            raise Violation(f"waits although AWS answers: {named(key)} is {state.value}")


def _left_usage(connection: sqlite3.Connection, dimensions: Sequence[Dimension], workload: str) -> None:
    known = amounts.dimensions_known(connection)
    for name in [one.name for one in dimensions if one.name in known]:
        hours, carry = amounts.hours_of(connection, name), amounts.Totals.of(connection, name).carry
        if hours or carry or amounts.waiting_of(connection, name):
            raise Violation(f"not taken over though nothing is wrong: {name} of {workload}, {hours}, carried {carry}")


def _left_records(connection: sqlite3.Connection, names: Sequence[str], workload: str, now: datetime) -> None:
    for state in (State.SEALED, State.EXPIRED):
        for record in records.in_state(connection, state):
            if record.dimension in names and (record.definite or too_late(record.hour, now - SETTLED_AFTER)):
                key = workload, record.dimension, record.hour.number
                raise Violation(f"not taken over though nothing is wrong: {named(key)} is {state.value}")


def _left_claims(
    world: World, connection: sqlite3.Connection, names: Sequence[str], workload: str, now: datetime
) -> None:
    """Of what is frozen for a ledger that runs, or of which it can be told what it took, nothing waits."""
    since = sealing.instant_text(now - claims.PROVABLE)
    rows = [row for row in connection.execute(sql("handed_waiting")).fetchall() if row["dimension"] in names]
    claimers = {}
    for book in world.books() if rows else ():
        if book.workload and (other := world.connection(book.workload)) is not None:
            claimers[ledger_name(other)] = other
    for row in rows:
        claimer = claimers.get(row["claimed_by"])
        if claimer is not None and row["frozen_at"] > since and not _ambiguous(claimer, row):
            raise Violation(f"claimed and not taken though nothing is wrong: {tuple(row)} of {workload}")


def _ambiguous(claimer: sqlite3.Connection, row: sqlite3.Row) -> bool:
    content = {name: row[name] for name in ("dimension", "tags", "amount", "from_hour")}
    return bool(claimer.execute(sql("handed_like"), content).fetchone()[0])
