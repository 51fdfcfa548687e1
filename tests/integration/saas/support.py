"""What the tests of the state share: customers, events, and a store to be opened again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from sidecar.metering.decide import Policy, decide
from sidecar.metering.events import PushAccepted, PushRefused, UsageEvent
from sidecar.metering.hours import Hour
from sidecar.metering.outcomes import Outcome, Settled
from sidecar.metering.quantities import Micros
from sidecar.metering.rollup import Owed
from sidecar.saas.customers import Customer, CustomerKey, key_of
from sidecar.saas.records import CustomerBalance, CustomerDecision, CustomerEvent, CustomerRecord, sealed_record
from sidecar.saas.sql_store import SqlStore, open_store
from sidecar.settings.dimensions import Aggregation, Dimension, Scope

NOON = datetime(2026, 11, 20, 12, 10, tzinfo=UTC)
HOUR = Hour.at(NOON)
UNIT = 1_000_000
DIMENSIONS = (
    Dimension(name="requests"),
    Dimension(name="gigabytes", scale=Decimal("0.5"), decimals=3, tags=("team",)),
    Dimension(name="users", aggregation=Aggregation.UNIQUE, scope=Scope.SINGLETON),
    Dimension(name="peak", aggregation=Aggregation.MAX, scope=Scope.SINGLETON),
    Dimension(name="seats", aggregation=Aggregation.LAST, scope=Scope.SINGLETON),
)


def customer(name: str = "1") -> Customer:
    """Return a customer of a license."""
    answer = {"product_code": "prod", "aws_account_id": f"11111111111{name}", "license_arn": f"arn:l-{name}"}
    key = key_of(**answer, identifier="")
    return Customer(key=key, resolved_at=NOON, state_since=NOON, **answer)


KEY = customer().key
SETTLED = Settled(record_id="r-1")


def used(quantity: int = 1, dimension: str = "requests", *, of: CustomerKey = KEY, **more: object) -> CustomerEvent:
    """Return one event; `quantity` in units."""
    return CustomerEvent(of, UsageEvent(dimension, Micros(quantity * UNIT))._replace(**more))


def opened(url: str, *customers: Customer, dimensions: tuple[Dimension, ...] = DIMENSIONS) -> SqlStore:
    """Open a store and keep customers in it."""
    store = open_store(url, dimensions, NOON)
    for one in customers or (customer(),):
        store.keep_customer(one)
    return store


@contextmanager
def a_store(url: str, *customers: Customer, dimensions: tuple[Dimension, ...] = DIMENSIONS) -> Iterator[SqlStore]:
    """Open a store for a while; in the end everything in it adds up."""
    store = opened(url, *customers, dimensions=dimensions)
    try:
        yield store
        for one in store.report():
            assert one.balanced, one
    finally:
        store.close()


def accepted(store: SqlStore, *events: CustomerEvent, at: datetime = NOON) -> PushAccepted:
    """Push events that are taken."""
    result = store.accept(events, at)
    assert isinstance(result, PushAccepted), result
    return result


def refused(store: SqlStore, *events: CustomerEvent, at: datetime = NOON) -> tuple[int, str, int | None]:
    """Push events that are refused."""
    result = store.accept(events, at)
    assert isinstance(result, PushRefused), result
    return result.status, result.reason, result.index


def make(owner: Customer, dimension: Dimension, hour: Hour, owed: Owed) -> CustomerRecord:
    """Seal a record, due at the end of its hour."""
    return sealed_record(owner.key, dimension, hour, owed, region="us-east-1", now=hour.end)


def seal(store: SqlStore, hour: Hour = HOUR) -> dict[tuple[str, str], Decimal]:
    """Lead, seal an hour that has closed, and return quantities by account and dimension."""
    with store.leader() as leads:
        assert leads
        records = store.seal(hour, hour.end + timedelta(seconds=5), make)
    return {(one.customer.aws_account_id[-1], one.usage.dimension): one.usage.quantity for one in records}


def answered(record: CustomerRecord, outcome: Outcome = SETTLED, at: datetime = HOUR.end) -> CustomerDecision:
    """Return what an answer of AWS means."""
    return CustomerDecision(record, decide(record.usage, outcome, at, Policy(workload=record.customer.text), 0.5))


def balance(store: SqlStore, dimension: str = "requests", of: CustomerKey = KEY) -> CustomerBalance:
    """Return one balance."""
    return next(one for one in store.report() if (one.customer, one.dimension) == (of, dimension))
