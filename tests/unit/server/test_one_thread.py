"""One thread takes what it is given, in order, and no more than it may hold."""

from __future__ import annotations

import threading

import pytest

from sidecar.server.one_thread import OneThread
from tests.integration.server.servers import eventually


def test_work_is_done_in_order_by_one_thread() -> None:
    done: list[tuple[int, str]] = []
    one = OneThread("named", queue_max=100)
    for number in range(100):
        assert one.submit(lambda number=number: done.append((number, threading.current_thread().name)))
    eventually(lambda: len(done) == 100)
    assert done == [(number, "named") for number in range(100)]


def test_beyond_its_bound_work_is_refused_and_taken_again_later() -> None:
    begun, go, done = threading.Event(), threading.Event(), []
    one = OneThread("named", queue_max=2)
    assert one.submit(lambda: begun.set() or go.wait())
    assert begun.wait(8)
    assert one.submit(lambda: done.append(1))
    assert one.submit(lambda: done.append(2))
    assert not one.submit(lambda: done.append(3))
    go.set()
    eventually(lambda: done == [1, 2])
    assert one.submit(lambda: done.append(4))
    eventually(lambda: done == [1, 2, 4])


def test_the_thread_survives_what_its_work_raises() -> None:
    done: list[int] = []
    one = OneThread("named", queue_max=5)
    for error in (ValueError("x"), MemoryError(), SystemExit(1)):
        assert one.submit(lambda error=error: (_ for _ in ()).throw(error))
    assert one.submit(lambda: done.append(1))
    eventually(lambda: done == [1])


def test_without_a_thread_work_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[int] = []
    one = OneThread("named", queue_max=2)
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda self: (_ for _ in ()).throw(RuntimeError("can't start")))
        assert not one.submit(lambda: done.append(1))
    assert one.submit(lambda: done.append(2))
    eventually(lambda: done == [2])
