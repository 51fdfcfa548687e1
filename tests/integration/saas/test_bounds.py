"""What one hour of a customer's dimension takes has an end, and what is refused there says why."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import func, select, update

from sidecar.metering import hour_bounds
from sidecar.metering.events import PushAccepted, PushRefused
from sidecar.saas.records import CustomerEvent
from sidecar.saas.sql_store import SqlStore
from sidecar.saas.tables import bucket, hour_count, unique_key
from tests.integration.saas.support import (
    HOUR,
    NOON,
    a_store,
    accepted,
    balance,
    customer,
    make,
    opened,
    refused,
    seal,
    used,
)

Make = Callable[..., CustomerEvent]


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hour_bounds, "TAG_SETS_MAX", 3)
    monkeypatch.setattr(hour_bounds, "KEYS_MAX", 3)


def tagged(number: int, **more: object) -> CustomerEvent:
    return used(1, "gigabytes", tags=(("team", f"t{number}"),), **more)  # type: ignore[arg-type]


def keyed(number: int, **more: object) -> CustomerEvent:
    return used(0, "users", key=f"u{number}", **more)  # type: ignore[arg-type]


KINDS = pytest.mark.parametrize(
    ("new", "reason"), [(tagged, "too_many_tag_sets"), (keyed, "too_many_keys")], ids=["tags", "keys"]
)


def rows(store: SqlStore) -> tuple[int, int]:
    """Return how many tag sets and keys are in the database."""
    tags = select(func.count()).select_from(bucket).where(bucket.c.tags != "[]")
    keys = select(func.count()).select_from(unique_key)
    return store.database.read(lambda one: (one.execute(tags).scalar_one(), one.execute(keys).scalar_one()))


def counts(store: SqlStore) -> list[tuple[int, int]]:
    """Return what is counted of each hour."""
    query = select(hour_count.c.tag_sets, hour_count.c.unique_keys).order_by(*hour_count.primary_key)
    return store.database.read(lambda one: [tuple(row) for row in one.execute(query)])


@KINDS
def test_at_the_bound_a_new_one_is_refused_and_a_known_one_taken(url: str, new: Make, reason: str) -> None:
    with a_store(url) as store:
        for number in range(3):
            accepted(store, new(number))
        result = store.accept([new(9)], NOON)
        assert isinstance(result, PushRefused)
        assert (result.status, result.reason, result.index) == (422, reason, 0)
        assert new(9).event.dimension in result.detail
        assert "has 3 of them" in result.detail
        accepted(store, *map(new, range(3)))
    with a_store(url) as store:
        assert refused(store, new(9)) == (422, reason, 0), "after a restart too"
        accepted(store, new(2))


@KINDS
def test_a_push_above_the_bound_is_refused_whole_at_its_first_new_one(url: str, new: Make, reason: str) -> None:
    with a_store(url) as store:
        accepted(store, new(0), new(1))
        before = rows(store)
        sent = [new(0), new(2), new(2), new(1), new(3, id="x"), new(4)]
        assert refused(store, *sent) == (422, reason, 4)
        assert rows(store) == before
        assert accepted(store, *sent[:4]).accepted == 4
        assert accepted(store, used(1, id="x")).accepted == 1, "a refused push leaves no id"


@KINDS
def test_each_hour_dimension_and_customer_has_its_own_bound(url: str, new: Make, reason: str) -> None:
    with a_store(url, customer("1"), customer("2")) as store:
        accepted(store, *map(new, range(3)))
        accepted(store, *(new(number, of=customer("2").key) for number in range(3)))
        assert refused(store, new(3), used(), at=NOON) == (422, reason, 0)
        seal(store)
        assert counts(store) == []
        accepted(store, *map(new, range(3, 6)), at=HOUR.end)
        assert refused(store, used(), new(6), at=HOUR.end) == (422, reason, 1)
        seal(store, HOUR.next)


@KINDS
def test_of_pushes_that_wait_together_only_those_above_are_refused(url: str, new: Make, reason: str) -> None:
    with a_store(url) as store, ThreadPoolExecutor(16) as threads:
        other = [threads.submit(store.accept, [used(1, id=f"o{n}")], NOON) for n in range(8)]
        results = list(threads.map(lambda n: store.accept([new(n, id=f"i{n}")], NOON), range(8)))
        assert [one.result() for one in other] == [PushAccepted(accepted=1, duplicates=0)] * 8
        taken = [n for n, one in enumerate(results) if isinstance(one, PushAccepted)]
        assert len(taken) == 3
        assert {one.reason for one in results if isinstance(one, PushRefused)} == {reason}
        again = [store.accept([new(n, id=f"i{n}")], NOON) for n in taken]
        assert again == [PushAccepted(accepted=0, duplicates=1)] * 3, "known ids, at the bound"
        assert balance(store).accepted == 8


def test_a_sum_beyond_64_bits_is_named_though_there_are_too_many_tag_sets_too(url: str) -> None:
    most = 9_223_372_036_854
    with a_store(url) as store:
        accepted(store, *map(tagged, range(2)))
        assert refused(store, tagged(5), tagged(6), used(most), used(1)) == (422, "quantity_out_of_range", 3)


def test_usage_without_tags_is_never_too_many(url: str) -> None:
    with a_store(url) as store:
        accepted(store, *map(tagged, range(3)))
        accepted(store, used(1, "gigabytes"), used())
        assert counts(store) == [(3, 0)]


def test_usage_that_brings_nothing_new_writes_no_count(url: str) -> None:
    with a_store(url) as store:
        accepted(store, tagged(1), keyed(1))
        store.database.run(lambda one: one.execute(update(hour_count).values(tag_sets=50, unique_keys=50)))
        accepted(store, tagged(1), keyed(1), used())
        assert counts(store) == [(50, 50)] * 2


def test_what_the_last_seal_of_a_customer_takes_along_is_not_counted_any_more(url: str) -> None:
    with a_store(url) as store:
        accepted(store, tagged(0), tagged(1, at=HOUR.end), tagged(2, at=HOUR.end))
        assert counts(store) == [(1, 0), (2, 0)]
        with store.leader():
            store.seal_customer(customer().key, NOON, make)
        assert rows(store) == (0, 0)
        assert counts(store) == [(0, 0)]


@pytest.mark.slow
@KINDS
def test_replicas_together_stay_at_the_bound(
    postgresql_url: str, new: Make, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hour_bounds, "TAG_SETS_MAX", 40)
    monkeypatch.setattr(hour_bounds, "KEYS_MAX", 40)
    stores = [opened(postgresql_url) for _ in range(3)]
    with ThreadPoolExecutor(12) as threads:
        results = list(threads.map(lambda n: stores[n % 3].accept([new(n), new(n + 1000), used()], NOON), range(60)))
    taken = [one for one in results if isinstance(one, PushAccepted)]
    assert {one.reason for one in results if isinstance(one, PushRefused)} == {reason}
    assert len(taken) == 20
    assert sum(rows(stores[0])) == 40
    assert balance(stores[0]).accepted == 20
    for store in stores:
        store.close()
