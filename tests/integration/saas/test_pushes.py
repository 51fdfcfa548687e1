"""Events are counted once, in one hour, all or nothing."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest

from sidecar.metering.events import PushAccepted
from sidecar.saas import push_writer
from sidecar.saas.sql_store import open_store
from tests.integration.saas.support import (
    DIMENSIONS,
    HOUR,
    NOON,
    a_store,
    accepted,
    balance,
    customer,
    refused,
    seal,
    used,
)


def test_an_event_is_kept_when_accept_returns(url: str) -> None:
    with a_store(url) as store:
        assert accepted(store, used(3), used(4, id="a")) == PushAccepted(accepted=2, duplicates=0)
    with a_store(url) as store:
        assert balance(store).accepted == Decimal(7)
        assert accepted(store, used(4, id="a")) == PushAccepted(accepted=0, duplicates=1)


def test_an_id_is_known_for_a_day_and_across_hours(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(4, id="a"))
        seal(store)
        later = NOON + timedelta(hours=24)
        assert accepted(store, used(4, id="a"), at=later).duplicates == 1
        seal(store, HOUR.at(NOON + timedelta(hours=50)))
        assert accepted(store, used(4, id="a"), at=NOON + timedelta(hours=51)).accepted == 1


def test_one_id_of_two_customers_is_two_events(url: str) -> None:
    with a_store(url, customer("1"), customer("2")) as store:
        events = [used(1, id="a", of=customer(name).key) for name in "12"]
        assert accepted(store, *events).accepted == 2


def test_the_same_id_with_other_content_is_refused_and_leaves_no_trace(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(1, id="a"))
        assert refused(store, used(5, id="b"), used(2, id="a")) == (409, "id_conflict", 1)
        assert balance(store).accepted == Decimal(1)
        assert accepted(store, used(6, id="b")).accepted == 1, "b was never taken"


def test_an_unknown_customer_is_refused(url: str) -> None:
    with a_store(url) as store:
        assert refused(store, used(), used(of=customer("9").key)) == (404, "customer_unknown", 1)
        assert store.report() == ()


def test_late_usage_of_a_sum_counts_in_the_open_hour(url: str) -> None:
    with a_store(url) as store:
        seal(store)
        assert accepted(store, used(5, at=NOON), at=HOUR.end).accepted == 1
        assert seal(store, HOUR.next) == {("1", "requests"): Decimal(5)}


@pytest.mark.parametrize("dimension", ["peak", "seats"])
def test_a_late_value_that_cannot_be_added_is_refused(url: str, dimension: str) -> None:
    with a_store(url) as store:
        seal(store)
        assert refused(store, used(5, dimension, at=NOON), at=HOUR.end) == (422, "hour_sealed", 0)
        assert accepted(store, used(5, dimension), at=HOUR.end).accepted == 1


def test_each_aggregation_comes_to_one_quantity(url: str) -> None:
    with a_store(url) as store:
        accepted(store, *(used(n, "peak") for n in (3, 9, 4)), *(used(n, "seats") for n in (3, 9, 4)))
        accepted(store, *(used(0, "users", key=key) for key in "aba"), used(2, "seats", at=NOON - timedelta(minutes=5)))
        accepted(store, used(1, "users", key="b"), used(5, "peak"), used(2), used(1))
        assert seal(store) == {
            ("1", "peak"): Decimal(9),
            ("1", "requests"): Decimal(3),
            ("1", "seats"): Decimal(4),
            ("1", "users"): Decimal(2),
        }


def test_the_value_that_arrives_last_counts_though_the_clock_was_set_back(url: str) -> None:
    with a_store(url) as store:
        accepted(store, used(3, "seats"))
        accepted(store, used(7, "seats"), at=NOON - timedelta(minutes=5))
        assert seal(store) == {("1", "seats"): Decimal(7)}


def test_a_sum_beyond_64_bits_refuses_its_own_request_alone(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    most = 9_223_372_036_854
    with a_store(url) as store:
        accepted(store, used(most, id="a"))
        with ThreadPoolExecutor(8) as threads:
            other = [threads.submit(store.accept, [used(1, "gigabytes", id=str(n))], NOON) for n in range(6)]
            beyond = threads.submit(store.accept, [used(1, id="b"), used(1, "gigabytes", id="x")], NOON)
        assert [one.result() for one in other] == [PushAccepted(accepted=1, duplicates=0)] * 6
        assert beyond.result().status == 422
        assert balance(store).accepted == Decimal(most)


def test_one_request_beyond_64_bits_is_refused_by_its_event(url: str) -> None:
    most = [used(9_999_999_999) for _ in range(1000)]
    with a_store(url) as store:
        assert refused(store, *most) == (422, "quantity_out_of_range", 922)
        accepted(store, *most[:500])
        assert refused(store, used(1, "gigabytes"), *most[:500]) == (422, "quantity_out_of_range", 423)
        assert balance(store).accepted == 500 * Decimal(9_999_999_999)


def test_pushes_that_wait_together_are_each_answered(url: str) -> None:
    with a_store(url) as store, ThreadPoolExecutor(16) as threads:
        results = list(threads.map(lambda n: store.accept([used(1, id=str(n % 50))], NOON), range(200)))
        assert sum(one.accepted for one in results) == 50
        assert balance(store).accepted == Decimal(50)


def test_what_is_pushed_after_the_end_is_refused(url: str) -> None:
    store = open_store(url, DIMENSIONS, NOON)
    store.keep_customer(customer())
    accepted(store, used())
    store._writer.stop()
    assert refused(store, used()) == (503, "shutting_down", None)
    store.close()


def test_a_group_has_a_bound() -> None:
    groups: list[int] = []

    def commit(requests):  # type: ignore[no-untyped-def]
        groups.append(len(requests))
        return requests

    writer: push_writer.PushWriter[int, int] = push_writer.PushWriter(commit)
    with ThreadPoolExecutor(32) as threads:
        assert sorted(threads.map(writer.push, range(600))) == list(range(600))  # type: ignore[type-var]
    writer.stop()
    assert max(groups) <= push_writer.GROUP_REQUESTS_MAX
    assert sum(groups) == 600
    assert writer.push(1) is None
