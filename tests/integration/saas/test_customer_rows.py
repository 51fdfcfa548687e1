"""Which customers are read for a pass: those that it is about, however many there are."""

from __future__ import annotations

from datetime import timedelta

from sidecar.saas.customers import CustomerState
from tests.integration.saas.support import NOON, a_store, customer, make


def test_customers_are_found_by_their_keys_alone(url: str) -> None:
    with a_store(url) as store:
        second = store.keep_customer(customer("2"))
        store.keep_customer(customer("3"))
        unknown = customer("4").key
        assert store.named([second.key, unknown, second.key]) == {second.key: second}
        assert store.named([]) == {}


def test_who_leaves_is_read_until_the_last_hours_are_sealed(url: str) -> None:
    with a_store(url) as store:
        keys = [store.keep_customer(customer(name)).key for name in "2345"]
        store.set_state(keys[0], CustomerState.ENDING, NOON)
        store.set_state(keys[1], CustomerState.ENDED, NOON)
        store.set_state(keys[2], CustomerState.ENDED, NOON - timedelta(hours=3))

        def leaving() -> list[object]:
            return [one.key for one in store.leaving(NOON - timedelta(hours=2))]

        assert leaving() == keys[:2], "neither one that is active nor one that ended long ago"
        with store.leader():
            store.seal_customer(keys[0], NOON, make)
        assert leaving() == [keys[1]]
        assert store.leaving(NOON) == (), "not one that ended at that very instant"
