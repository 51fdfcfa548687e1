"""Keep records after sealing: what is due, what is being sent, and what outcomes make of them.

Invariants:
- Before a request leaves, the database has `sending_at`; a crash before its outcome is kept makes it one whose outcome
  is unknown. Hour, dimension and quantity of a record never change; settled and rolled forward are final.
- An outcome, its line in the audit trail and the totals it changes are one transaction.
- A row whose request is not the one that was frozen for it is refused, and not sent.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, bindparam, or_, select, update

from sidecar.metering.hours import Hour
from sidecar.metering.push_group import tags_text
from sidecar.metering.quantities import exact_sum, plain
from sidecar.metering.records import UsageRecord, rolled_forward
from sidecar.metering.sealed_request import Repair
from sidecar.metering.shares import record_shares
from sidecar.metering.states import IllegalTransition, State
from sidecar.saas import sealing
from sidecar.saas.instants import instant, maybe_instant, maybe_micros, micros, tag_set
from sidecar.saas.leadership import SENDING
from sidecar.saas.records import CustomerDecision, CustomerRecord, request_of
from sidecar.saas.tables import attempt, customer, request, rolled, total, usage_record
from sidecar.saas.upserts import insert

FINAL: Final = frozenset([State.SETTLED, State.ROLLED_FORWARD])
DETAIL_MAX: Final = 500
"""Characters of a hint that the audit trail keeps."""


def whole() -> Select[Any]:
    """Return the query for records with their customers and requests."""
    joined = usage_record.join(request, request.c.client_token == usage_record.c.client_token)
    columns = [*usage_record.columns, request.c.body, request.c.digest, customer.c.key]
    return select(*columns).select_from(joined.join(customer, customer.c.id == usage_record.c.customer))


def record_of(row: Row[Any]) -> CustomerRecord:
    """Return a row of `whole` as a value. Raises ValueError where the request is not the one that was frozen."""
    if hashlib.sha256(row.body.encode()).hexdigest() != row.digest:
        raise ValueError(f"the request {row.client_token} has another digest")
    key, region, sealed = request_of(row.body)
    hour, sent_in = Hour.numbered(row.hour), Hour.at(instant(sealed.timestamp * 1_000_000))
    frozen = (sealed.client_token, sealed.dimension, Decimal(sealed.quantity), sent_in, key.text)
    if frozen != (row.client_token, row.dimension, Decimal(row.quantity), hour, row.key):
        raise ValueError(f"the request {row.client_token} is of another record")
    usage = UsageRecord(
        hour=hour,
        dimension=row.dimension,
        state=State(row.state),
        quantity=Decimal(row.quantity),
        request=sealed,
        attempts=row.attempts,
        retry_at=maybe_instant(row.retry_at),
        last_error=row.last_error,
        definite=bool(row.definite) and row.sending_at is None,
        record_id=row.record_id,
        rolled_to=None if row.rolled_to is None else Hour.numbered(row.rolled_to),
        repairs=tuple(map(Repair, row.repairs.split())),
        aws_quantity=None if row.aws_quantity is None else Decimal(row.aws_quantity),
    )
    return CustomerRecord(customer=key, region=region, usage=usage)


def due(connection: Connection, now: datetime, limit: int, epoch: int | None) -> tuple[CustomerRecord, ...]:
    """Return sealed records whose time has come, oldest hour first; not what a former leader may be sending."""
    r = usage_record.c
    left = or_(r.sending_at.is_(None), r.sending_epoch == epoch, r.sending_at <= micros(now - SENDING))
    query = whole().where(r.state == State.SEALED.value, r.retry_at <= micros(now), left)
    return tuple(map(record_of, connection.execute(query.order_by(r.hour, r.customer, r.dimension).limit(limit))))


_SENDING: Final = (
    update(usage_record)
    .where(
        and_(
            usage_record.c.client_token == bindparam("token"),
            usage_record.c.state == State.SEALED.value,
        )
    )
    .values(sending_at=bindparam("at"), sending_epoch=bindparam("of_epoch"))
)


def mark_sending(connection: Connection, records: Sequence[CustomerRecord], now: datetime, epoch: int) -> None:
    """Note that these requests are about to leave. Raises IllegalTransition where one is not in force."""
    for record in records:
        values = {"token": record.request.client_token, "at": micros(now), "of_epoch": epoch}
        if record.usage.state is not State.SEALED or connection.execute(_SENDING, values).rowcount != 1:
            raise IllegalTransition(f"{record.usage.dimension} in {record.usage.hour} has no such request to send.")


def save(connection: Connection, one: CustomerDecision, now: datetime) -> CustomerRecord:
    """Keep what an outcome means; return the record as it is kept now. Saving the same twice changes nothing.

    Raises IllegalTransition where it is final already.
    """
    usage = one.decision.record
    name = f"{usage.dimension} in {usage.hour}"
    row = _locked(connection, one.record)
    if row is None or Decimal(row.quantity) != usage.quantity or usage.request is None:
        raise IllegalTransition(f"{name} is not a record that was sealed here.")
    before = record_of(row)
    if before.usage.state in FINAL:
        if (before.usage.state, before.usage.record_id) == (usage.state, usage.record_id):
            return before
        raise IllegalTransition(f"{name} is {before.usage.state.value} for good.")
    add_attempt(connection, row, now, one.decision.code, one.decision.hint)
    if usage.request.client_token != row.client_token:
        sealing.freeze(connection, [(row.customer, before.after(usage))], now)
    if usage.state is State.SETTLED:
        _settle(connection, row.customer, usage)
    if one.decision.roll_forward:
        usage = _roll_forward(connection, row.customer, usage, now)
    _update(connection, row.customer, usage, now)
    return before.after(usage)


def _locked(connection: Connection, record: CustomerRecord) -> Row[Any] | None:
    r = usage_record.c
    where = (customer.c.key == record.customer.text, r.dimension == record.usage.dimension)
    query = whole().where(*where, r.hour == record.usage.hour.number).with_for_update(of=usage_record)
    return connection.execute(query).one_or_none()


def add_attempt(connection: Connection, row: Row[Any], now: datetime, outcome: str, detail: str) -> None:
    """Add a line to the audit trail of a record."""
    values = {"customer": row.customer, "dimension": row.dimension, "hour": row.hour, "client_token": row.client_token}
    said = {"at": micros(now), "outcome": outcome, "detail": detail[:DETAIL_MAX]}
    connection.execute(insert(connection, attempt), {**values, **said})


def _settle(connection: Connection, number: int, usage: UsageRecord) -> None:
    slot = (number, usage.dimension)
    settled = sealing.totals_of(connection, [slot])[slot].settled
    where = and_(total.c.customer == number, total.c.dimension == usage.dimension)
    connection.execute(update(total).where(where).values(settled=plain(exact_sum((settled, usage.quantity)))))


def _roll_forward(connection: Connection, number: int, usage: UsageRecord, now: datetime) -> UsageRecord:
    """Have a record's quantity wait for the next sealing; a second time the database refuses."""
    place = {"customer": number, "dimension": usage.dimension, "from_hour": usage.hour.number}
    rows = [
        {**place, "tags": tags_text(tags), "tag_set": tag_set(tags_text(tags)), "amount": plain(amount)}
        | {"why": usage.state.value, "rolled_at": micros(now)}
        for tags, amount in record_shares(usage)
        if amount
    ]
    if rows:
        connection.execute(insert(connection, rolled), rows)
    return rolled_forward(usage, sealing.open_from(connection, number))


def _update(connection: Connection, number: int, usage: UsageRecord, now: datetime) -> None:
    r = usage_record.c
    where = and_(r.customer == number, r.dimension == usage.dimension, r.hour == usage.hour.number)
    values = {
        "state": usage.state.value,
        "client_token": usage.request and usage.request.client_token,
        "attempts": usage.attempts,
        "definite": usage.definite,
        "sending_at": None,
        "sending_epoch": None,
        "retry_at": maybe_micros(usage.retry_at),
        "last_error": usage.last_error,
        "record_id": usage.record_id,
        "rolled_to": usage.rolled_to and usage.rolled_to.number,
        "repairs": " ".join(repair.value for repair in usage.repairs),
        "aws_quantity": None if usage.aws_quantity is None else plain(usage.aws_quantity),
        "changed_at": micros(now),
    }
    connection.execute(update(usage_record).where(where).values(**values))


def newest(
    connection: Connection, numbers: Iterable[int] | None, limit: int, states: Iterable[State] = ()
) -> tuple[CustomerRecord, ...]:
    """Return sealed records, newest hour first; of some customers and states, or of all."""
    r = usage_record.c
    query = whole().order_by(r.hour.desc(), r.customer, r.dimension).limit(limit)
    if numbers is not None:
        query = query.where(r.customer.in_(sorted(numbers)))
    if named := [one.value for one in states]:
        query = query.where(r.state.in_(named))
    return tuple(map(record_of, connection.execute(query)))
