"""The writer wakes up when there is enough for a commit: one push, or as many as the last commit had."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager

import pytest

from sidecar.ledger import writer_queue
from sidecar.ledger.writer_queue import WriterQueue
from tests.acceptance.support import eventually

LONG = 30.0
"""Seconds that no test waits."""


class Queue(WriterQueue[str, int]):
    """A queue of texts to be written and of numbers to be done."""

    def waits_for(self, wanted: int) -> bool:
        """Whether the writer sleeps until there are so many jobs."""
        return self._wanted == wanted

    def sleeps(self) -> bool:
        """Whether the writer has not been woken."""
        return self._wake.locked()

    def pushes(self, *texts: str) -> None:
        for text in texts:
            assert self.push(text)
        self.commit_pending()


@contextmanager
def taking(queue: Queue, expected: int = 1, seconds: float = 0.0) -> Iterator[Future[list[str | int]]]:
    """What the writer gets, while it waits for it."""
    found: Future[list[str | int]] = Future()
    thread = threading.Thread(target=lambda: found.set_result(queue.take(expected, seconds)))
    thread.start()
    yield found
    thread.join(LONG)
    assert not thread.is_alive()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer whose time for more never ends."""
    monkeypatch.setattr(writer_queue, "GRACE_SECONDS_MAX", LONG * 10)


def test_what_waits_is_taken_whole_and_in_order() -> None:
    queue = Queue()
    queue.pushes("a", "b")
    queue.run(1)
    queue.pushes("c")
    assert queue.take() == ["a", "b", 1, "c"]


@pytest.mark.parametrize(
    "expected", [1, 50, 0], ids=["after one push", "after many that stay away", "after tasks alone"]
)
def test_one_push_wakes_a_writer_that_expects_no_more(expected: int) -> None:
    queue = Queue()
    with taking(queue, expected) as found:
        eventually(lambda: queue.waits_for(1))
        queue.pushes("a")
        assert found.result(LONG) == ["a"]


def test_a_push_does_not_wake_the_writer_before_its_turn_ends() -> None:
    queue = Queue()
    with taking(queue) as found:
        eventually(lambda: queue.waits_for(1))
        queue.push("a")
        queue.push("b")
        assert queue.sleeps()
        queue.commit_pending()
        assert found.result(LONG) == ["a", "b"]


@pytest.mark.usefixtures("patient")
def test_after_several_pushes_the_writer_waits_for_as_many() -> None:
    queue = Queue()
    with taking(queue, expected=3, seconds=LONG) as found:
        eventually(lambda: queue.waits_for(3))
        queue.pushes("a")
        queue.pushes("b")
        assert queue.sleeps()
        queue.pushes("c")
        assert found.result(LONG) == ["a", "b", "c"]


@pytest.mark.usefixtures("patient")
def test_what_came_during_a_commit_counts() -> None:
    queue = Queue()
    queue.pushes("a", "b", "c", "d")
    assert queue.take(expected=3, seconds=LONG) == ["a", "b", "c", "d"]


def test_the_wait_for_as_many_ends_with_what_there_is() -> None:
    queue = Queue()
    queue.pushes("a")
    began = time.monotonic()
    assert queue.take(expected=50, seconds=0.01) == ["a"]
    assert time.monotonic() - began >= 0.01


def test_the_wait_is_not_longer_than_its_bound() -> None:
    queue = Queue()
    queue.pushes("a")
    with taking(queue, expected=2, seconds=LONG * 10) as found:
        assert found.result(LONG) == ["a"]


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("expected", [1, 50])
def test_a_task_is_taken_at_once_with_what_was_pushed_before(expected: int) -> None:
    queue = Queue()
    with taking(queue, expected=expected, seconds=LONG) as found:
        eventually(lambda: queue.waits_for(expected))
        queue.push("a")
        assert queue.run(1)
        assert found.result(LONG) == ["a", 1]


@pytest.mark.usefixtures("patient")
def test_a_task_that_comes_while_the_writer_is_busy_is_taken_next() -> None:
    queue = Queue()
    assert queue.run(1)
    assert queue.take(expected=50, seconds=LONG) == [1]


@pytest.mark.parametrize("add", [lambda queue: queue.push("b"), lambda queue: queue.run(2)])
def test_after_the_last_task_nothing_is_added(add: Callable[[Queue], bool]) -> None:
    queue = Queue()
    queue.pushes("a")
    assert queue.run(1, last=True)
    assert not add(queue)
    assert not queue.run(3, last=True)
    assert queue.take() == ["a", 1]


def test_a_writer_that_is_woken_for_what_it_has_taken_waits_again() -> None:
    queue = Queue()
    with taking(queue) as found:
        eventually(lambda: queue.waits_for(1))
        queue.pushes("a")
        queue.pushes("b")
        assert found.result(LONG)[0] == "a"
    queue._wanted = 1
    queue.pushes("c")  # wakes a writer that is about to take it
    queue.take()
    with taking(queue) as found:
        eventually(lambda: queue.waits_for(1))
        queue.pushes("d")
        assert found.result(LONG) == ["d"]


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize("names", ["a", "ab"])
def test_no_wake_up_is_lost_between_a_writer_and_clients_that_wait_for_their_answers(
    names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With waits so short that they often end just when the writer is woken."""
    monkeypatch.setattr(writer_queue, "GRACE_SECONDS_MIN", 0.00005)
    queue, count = Queue(), 5_000
    answered = {name: threading.Semaphore(0) for name in names}
    taken = list[str | int]()

    def write() -> None:
        expected = 1
        while "end" not in (jobs := queue.take(expected)):
            taken.extend(jobs)
            expected = len(jobs)
            for job in jobs:
                answered[str(job)[0]].release()

    def push(name: str) -> None:
        for number in range(count):
            queue.pushes(f"{name}{number}")
            assert answered[name].acquire(timeout=LONG), "the writer was not woken"

    writer = threading.Thread(target=write, daemon=True)
    clients = [threading.Thread(target=push, args=(name,), daemon=True) for name in answered]
    for thread in (writer, *clients):
        thread.start()
    for thread in clients:
        thread.join(LONG * 2)
    queue.pushes("end")
    writer.join(LONG)
    assert not writer.is_alive()
    for name in answered:
        assert [one for one in taken if str(one).startswith(name)] == [f"{name}{number}" for number in range(count)]
