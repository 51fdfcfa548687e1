"""Keep customers: find them by what a product or a notice names, and keep what ResolveCustomer or a notice says.

Invariants:
- A customer's number never changes, nor its key.
- What closes a customer to usage, or opens it, is written while no push is under way.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, or_, select, update

from sidecar.saas.customers import Customer, CustomerKey, CustomerState, Reference, resolved_again, same_customer
from sidecar.saas.instants import instant, maybe_instant, maybe_micros, micros
from sidecar.saas.pushes import close_intake
from sidecar.saas.tables import customer
from sidecar.saas.upserts import insert


def customer_of(row: Row[Any]) -> Customer:
    """Return a row as a value."""
    return Customer(
        key=CustomerKey.of_text(row.key),
        product_code=row.product_code,
        aws_account_id=row.aws_account_id,
        license_arn=row.license_arn,
        identifier=row.identifier,
        agreement_id=row.agreement_id,
        resolved_at=instant(row.resolved_at),
        state=CustomerState(row.state),
        state_since=instant(row.state_since),
        closed_at=maybe_instant(row.closed_at),
    )


def find(connection: Connection, reference: Reference | None) -> tuple[Customer, ...]:
    """Return the customers that a reference could mean, or all, in the order they came."""
    query = select(customer).order_by(customer.c.id)
    if reference is None:
        return tuple(map(customer_of, connection.execute(query)))
    columns = {
        customer.c.license_arn: reference.license_arn,
        customer.c.aws_account_id: reference.aws_account_id,
        customer.c.identifier: reference.identifier,
    }
    query = query.where(*(column == value for column, value in columns.items() if value))
    return tuple(filter(reference.fits, map(customer_of, connection.execute(query))))


def named(connection: Connection, keys: Iterable[CustomerKey]) -> dict[CustomerKey, Customer]:
    """Return those of these customers that are known."""
    rows = connection.execute(select(customer).where(customer.c.key.in_(sorted({key.text for key in keys}))))
    return {one.key: one for one in map(customer_of, rows)}


def leaving(connection: Connection, since: datetime) -> tuple[Customer, ...]:
    """Return the customers whose last hours are not sealed yet, and those that ended after an instant."""
    c = customer.c
    ending = and_(c.state == CustomerState.ENDING.value, c.closed_at.is_(None))
    ended = and_(c.state == CustomerState.ENDED.value, c.state_since > micros(since))
    return tuple(map(customer_of, connection.execute(select(customer).where(or_(ending, ended)).order_by(c.id))))


def by_key(connection: Connection, key: CustomerKey, *, lock: bool = False) -> tuple[int, Customer] | None:
    """Return a customer and its number; `lock` keeps others from changing it."""
    query = select(customer).where(customer.c.key == key.text)
    row = connection.execute(query.with_for_update() if lock else query).one_or_none()
    return (row.id, customer_of(row)) if row else None


def numbers(connection: Connection, keys: list[CustomerKey]) -> dict[CustomerKey, int]:
    """Return the number of each customer that is known."""
    texts = {key.text: key for key in keys}
    rows = connection.execute(select(customer.c.key, customer.c.id).where(customer.c.key.in_(sorted(texts))))
    return {texts[text]: number for text, number in rows}


def keep(connection: Connection, fresh: Customer) -> Customer:
    """Keep ResolveCustomer's answer; return the customer as it is kept. Others that keep one wait."""
    close_intake(connection)
    like = or_(
        customer.c.key == fresh.key.text,
        *(
            column == value
            for column, value in (
                (customer.c.license_arn, fresh.license_arn),
                (customer.c.identifier, fresh.identifier),
                (customer.c.aws_account_id, fresh.aws_account_id),
            )
            if value
        ),
    )
    rows = connection.execute(select(customer).where(like).order_by(customer.c.id)).all()
    for row in rows:
        known = customer_of(row)
        if known.key == fresh.key or same_customer(known, fresh):
            kept = resolved_again(known, fresh)
            save(connection, row.id, kept)
            return kept
    connection.execute(insert(connection, customer), {**_values(fresh), "key": fresh.key.text, "open_from": 0})
    return fresh


def save(connection: Connection, number: int, kept: Customer, *, open_from: int | None = None) -> None:
    """Write a customer back; with `open_from`, hours before that one are closed for it."""
    moved = {} if open_from is None else {"open_from": open_from}
    connection.execute(update(customer).where(customer.c.id == number).values(**_values(kept), **moved))


def _values(kept: Customer) -> dict[str, object]:
    return {
        "product_code": kept.product_code,
        "aws_account_id": kept.aws_account_id,
        "license_arn": kept.license_arn,
        "identifier": kept.identifier,
        "agreement_id": kept.agreement_id,
        "resolved_at": micros(kept.resolved_at),
        "state": kept.state.value,
        "state_since": micros(kept.state_since),
        "closed_at": maybe_micros(kept.closed_at),
    }
