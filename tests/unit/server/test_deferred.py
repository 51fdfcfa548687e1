"""Answers owed: counted, kept once, and one wake-up for all that come together."""

from __future__ import annotations

import os
import select
import threading

from sidecar.server.deferred import Deferred, Promise


def owed(deferred: Deferred[str, int], key: str = "a", size: int = 0) -> Promise[str, int]:
    promise = deferred.promise(key, size)
    assert promise is not None
    return promise


def readable(deferred: Deferred[str, int]) -> bool:
    return bool(select.select([deferred], [], [], 0)[0])


def drained(deferred: Deferred[str, int]) -> list[tuple[str, int]]:
    return list(iter(deferred.next_resolved, None))


def test_what_is_given_comes_in_its_order_with_its_key() -> None:
    deferred: Deferred[str, int] = Deferred(9, 100)
    promises = [owed(deferred, key) for key in "abc"]
    for at in (2, 0, 1):
        promises[at](at)
    assert drained(deferred) == [("c", 2), ("a", 0), ("b", 1)]
    assert deferred.next_resolved() is None


def test_all_that_is_given_before_the_poller_looks_wakes_it_once() -> None:
    deferred: Deferred[str, int] = Deferred(9, 100)
    assert not readable(deferred)
    for at in range(5):
        owed(deferred)(at)
    assert os.eventfd_read(deferred.fileno()) == 1


def test_what_is_given_after_the_poller_looked_wakes_it_again() -> None:
    deferred: Deferred[str, int] = Deferred(9, 100)
    for at in range(3):
        owed(deferred)(at)
        assert readable(deferred)
        deferred.clear_wakeup()
        assert not readable(deferred)
        assert deferred.waiting()
        assert drained(deferred) == [("a", at)]
        assert not deferred.waiting()


def test_given_between_waking_and_taking_nothing_is_left() -> None:
    deferred: Deferred[str, int] = Deferred(9, 100)
    owed(deferred)(1)
    deferred.clear_wakeup()
    owed(deferred)(2)
    assert [value for _, value in drained(deferred)] == [1, 2]
    assert readable(deferred), "once too often is no harm, once too few is"
    deferred.clear_wakeup()
    deferred.clear_wakeup()


def test_a_promise_is_kept_once() -> None:
    deferred: Deferred[str, int] = Deferred(1, 100)
    promise = owed(deferred)
    promise(1)
    promise(2)
    assert drained(deferred) == [("a", 1)]
    promise(3)
    assert drained(deferred) == []
    assert deferred.promise("b", 0) is not None
    assert deferred.promise("c", 0) is None, "what was given too often makes no room"


def test_no_more_is_owed_than_may_be_and_what_was_taken_makes_room() -> None:
    deferred: Deferred[str, int] = Deferred(2, 100)
    first, _ = owed(deferred), owed(deferred)
    assert deferred.promise("c", 0) is None
    first(1)
    assert deferred.promise("c", 0) is None, "given, not taken"
    deferred.next_resolved()
    assert deferred.promise("c", 0) is not None
    assert deferred.promise("d", 0) is None


def test_a_promise_dropped_makes_room_and_gives_nothing() -> None:
    deferred: Deferred[str, int] = Deferred(1, 100)
    promise = owed(deferred)
    promise.drop()
    promise(1)
    assert drained(deferred) == []
    owed(deferred)


def test_many_threads_give_and_nothing_is_lost() -> None:
    deferred: Deferred[str, int] = Deferred(4000, 100)
    promises = [[owed(deferred, str(n)) for _ in range(500)] for n in range(8)]

    def give(mine: list[Promise[str, int]]) -> None:
        for at, promise in enumerate(mine):
            promise(at)

    threads = [threading.Thread(target=give, args=[mine]) for mine in promises]
    for thread in threads:
        thread.start()
    found: list[tuple[str, int]] = []
    while len(found) < 4000:
        assert select.select([deferred], [], [], 8)[0], "the poller sleeps and something is there"
        deferred.clear_wakeup()
        found += drained(deferred)
    for thread in threads:
        thread.join()
    for n in range(8):
        assert [value for key, value in found if key == str(n)] == list(range(500)), "each thread's in its order"


def test_what_was_asked_with_is_bounded_together() -> None:
    deferred: Deferred[str, int] = Deferred(9, 100)
    first = owed(deferred, size=60)
    assert deferred.promise("b", 41) is None
    second = owed(deferred, size=40)
    assert deferred.promise("c", 1) is None
    owed(deferred, size=0)
    first(1)
    deferred.next_resolved()
    second.drop()
    owed(deferred, size=100)
    assert deferred.promise("d", 1) is None


def test_one_may_be_as_long_as_it_likes_where_nothing_else_is_owed() -> None:
    deferred: Deferred[str, int] = Deferred(9, 100)
    promise = owed(deferred, size=1000)
    assert deferred.promise("b", 0) is None
    promise(1)
    deferred.next_resolved()
    owed(deferred, size=0)
    assert deferred.promise("b", 1000) is None
