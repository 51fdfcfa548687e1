"""An hour is closed, sealed once and balanced; a customer's last hours are sealed ahead of time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from threading import Event
from typing import Any

import pytest

from sidecar.metering.events import PushAccepted
from sidecar.metering.states import State
from sidecar.quick_dataclasses import replace
from sidecar.saas.customers import CustomerState, Reference
from sidecar.saas.records import CustomerRecord
from sidecar.saas.sql_store import open_store
from sidecar.settings.dimensions import Aggregation, Dimension, Scope
from tests.integration.saas.support import (
    DIMENSIONS,
    HOUR,
    KEY,
    NOON,
    a_store,
    accepted,
    balance,
    customer,
    make,
    refused,
    seal,
    used,
)


def test_a_sealed_record_is_due_with_its_frozen_request(url: str) -> None:
    with a_store(url, customer("1"), customer("2")) as store:
        accepted(store, used(3), used(4, of=customer("2").key))
        assert seal(store) == {("1", "requests"): Decimal(3), ("2", "requests"): Decimal(4)}
        first, second = store.due(HOUR.end)
        assert (first.customer, first.region, first.usage.state) == (KEY, "us-east-1", State.SEALED)
        assert first.request.quantity == "3"
        assert store.due(HOUR.end - timedelta(seconds=1)) == ()
    with a_store(url) as store:
        assert store.due(HOUR.end) == (first, second)


def test_an_hour_is_sealed_once(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3))
        assert seal(store)
        assert seal(store) == {}
        accepted(store, used(2), at=HOUR.end)
        assert seal(store) == {}, "the open hour is not touched"
        assert seal(store, HOUR.next) == {("1", "requests"): Decimal(2)}


def test_hours_without_a_leader_are_sealed_one_by_one(url: str) -> None:
    with a_store(url) as store:
        for hours in range(3):
            accepted(store, used(1 + hours), at=NOON + timedelta(hours=hours))
        with store.leader():
            records = store.seal(HOUR.next.next, HOUR.end + timedelta(hours=2), make)
        assert [one.usage.quantity for one in records] == [1, 2, 3]


def test_what_is_below_the_precision_is_carried(url: str) -> None:
    half = (Dimension(name="requests", scale=Decimal("0.5")),)
    with a_store(url, dimensions=half) as store:
        accepted(store, used(3))
        assert seal(store) == {("1", "requests"): Decimal(1)}
        assert balance(store).waiting == Decimal("1.5")
        accepted(store, used(1), at=HOUR.end)
        assert seal(store, HOUR.next) == {("1", "requests"): Decimal(1)}


def test_what_is_above_the_maximum_goes_into_the_next_hour_without_usage(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(2_147_483_640), used(10))
        assert seal(store) == {("1", "requests"): Decimal(2_147_483_647)}
        assert seal(store, HOUR.next) == {("1", "requests"): Decimal(3)}
        assert seal(store, HOUR.next.next) == {}


def test_tags_are_shares_of_the_record(url: str) -> None:
    with a_store(url) as store:
        accepted(store, *(used(n, "gigabytes", tags=(("team", team),)) for n, team in ((2, "a"), (4, "b"), (2, "a"))))
        seal(store)
        (record,) = store.due(HOUR.end)
        assert {one.tags: one.quantity for one in record.request.allocations} == {
            (("team", "a"),): Decimal(2),
            (("team", "b"),): Decimal(2),
        }


def test_zero_is_reported_where_it_was_asked_for(url: str) -> None:
    with a_store(url, dimensions=(Dimension(name="requests", report_zero=True),)) as store:
        assert seal(store) == {("1", "requests"): Decimal(0)}
        assert seal(store) == {}
    with a_store(url, dimensions=(Dimension(name="requests"),)) as store:
        assert seal(store, HOUR.next) == {}


def test_usage_under_another_aggregation_counts_as_what_it_came_to(url: str) -> None:
    with a_store(url, dimensions=(Dimension(name="n", aggregation=Aggregation.MAX, scope=Scope.POD),)) as store:
        accepted(store, used(3, "n"), used(5, "n"))
    with a_store(url, dimensions=(Dimension(name="n"),)) as store:
        accepted(store, used(2, "n"))
        assert balance(store, "n").accepted == Decimal(7)
        assert seal(store) == {("1", "n"): Decimal(7)}


def test_usage_of_a_dimension_that_is_not_configured_waits_for_it(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3))
    with a_store(url, dimensions=(Dimension(name="other"),)) as store:
        assert seal(store) == {}
        assert balance(store).waiting == Decimal(3)
    with a_store(url) as store:
        assert seal(store, HOUR.next) == {("1", "requests"): Decimal(3)}


def test_the_last_record_of_a_customer_has_its_running_hour_and_what_is_ahead(url: str) -> None:
    with a_store(url, customer("1"), customer("2")) as store:
        late = NOON.replace(minute=58)
        accepted(store, used(3), used(4, at=late + timedelta(minutes=4)), used(9, of=customer("2").key), at=late)
        store.set_state(KEY, CustomerState.ENDING, late)
        with store.leader():
            (record,) = store.seal_customer(KEY, late, make)
        assert (record.customer, record.usage.quantity) == (KEY, Decimal(7))
        assert refused(store, used(), at=late) == (422, "customer_closed", 0)
        assert accepted(store, used(of=customer("2").key), at=late).accepted == 1
        assert seal(store) == {("2", "requests"): Decimal(10)}


def test_a_duplicate_is_one_though_the_customer_is_closed(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3, id="a"))
        with store.leader():
            store.seal_customer(KEY, NOON, make)
        assert accepted(store, used(3, id="a")) == PushAccepted(accepted=0, duplicates=1)


def test_a_customer_that_subscribes_again_is_billed_from_the_next_hour(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3))
        store.set_state(KEY, CustomerState.ENDING, NOON)
        with store.leader():
            store.seal_customer(KEY, NOON, make)
        store.set_state(KEY, CustomerState.ACTIVE, NOON)
        accepted(store, used(2))
        assert seal(store) == {}
        assert seal(store, HOUR.next) == {("1", "requests"): Decimal(2)}


def test_resolving_again_keeps_the_customer_and_its_key(url: str) -> None:
    with a_store(url) as store:
        again = store.keep_customer(replace(customer(), agreement_id="agmt-1"))
        assert store.customers(Reference(license_arn="arn:l-1")) == (again,)
        assert (again.key, again.agreement_id) == (KEY, "agmt-1")
        assert store.customers(Reference(identifier="x")) == ()


def test_an_event_that_races_with_the_seal_of_its_hour_is_in_one_hour(url: str) -> None:
    with a_store(url) as store, ThreadPoolExecutor(8) as threads:
        go = Event()

        def push(n: int) -> int:
            go.wait()
            return accepted(store, used(1, id=str(n))).accepted

        pushes = [threads.submit(push, n) for n in range(120)]
        go.set()
        sealed = sum(seal(store).values())
        assert sum(one.result() for one in pushes) == 120
        assert sealed + sum(seal(store, HOUR.next).values()) == 120


@pytest.mark.slow
def test_usage_of_a_customer_who_returns_while_it_is_sealed_is_not_lost(postgresql_url: str) -> None:
    """The customer closes, and subscribes again before the last record is made; what is pushed then counts."""
    with a_store(postgresql_url) as store, a_store(postgresql_url) as other:
        accepted(store, used(3))
        store.set_state(KEY, CustomerState.ENDING, NOON)

        def meanwhile(*sealed: Any) -> CustomerRecord:
            other.set_state(KEY, CustomerState.ACTIVE, NOON)
            accepted(other, used(5))
            return make(*sealed)

        with store.leader() as leads:
            assert leads
            (last,) = store.seal_customer(KEY, NOON, meanwhile)
        assert last.usage.quantity == 3
        assert seal(store) == {}
        assert seal(store, HOUR.next) == {("1", "requests"): Decimal(5)}


@pytest.mark.slow
def test_two_replicas_count_one_id_once_at_one_instant(postgresql_url: str) -> None:
    with a_store(postgresql_url) as one, a_store(postgresql_url) as two, ThreadPoolExecutor(16) as threads:
        both = [
            threads.submit(accepted, store, used(1, id=str(n)), used(1, id=str(500 - n)))
            for n in range(500)
            for store in (one, two)
        ]
        assert sum(one.result().accepted for one in both) == 501
        assert balance(one).accepted == Decimal(501)


@pytest.mark.slow
def test_pushes_of_replicas_race_with_seals_and_nothing_is_lost(postgresql_url: str) -> None:
    stores = [open_store(postgresql_url, DIMENSIONS, NOON) for _ in range(3)]
    names = "123456"
    for name in names:
        stores[0].keep_customer(customer(name))
    with ThreadPoolExecutor(12) as threads:
        events = [
            threads.submit(accepted, store, *(used(1, of=customer(name).key, id=f"{n}") for name in order), at=NOON)
            for n in range(100)
            for store, order in zip(stores, (names, names[::-1], names[3:] + names[:3]), strict=True)
        ]
        hours = [HOUR, HOUR.next, HOUR.next.next]
        sealed = sum(sum(seal(store, hour).values()) for store, hour in zip(stores, hours, strict=True))
        assert sum(one.result().accepted for one in events) == 600
    sealed += sum(seal(stores[0], hours[-1].next).values())
    assert sealed == 600
    assert all(one.balanced for one in stores[1].report())
    for store in stores:
        store.close()
