"""How long the worker sleeps."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from sidecar.server import worker as worker_module
from sidecar.server.supervised import Supervised
from sidecar.server.worker import TICK_SECONDS, Worker


class Loop:
    """An event loop whose turns last until their end. SIGTERM comes just as the first one ends, with a heartbeat."""

    def __init__(self, worker: Any) -> None:
        self.worker, self.now, self.slept = worker, time.monotonic(), list[float]()
        self.closing = False

    def turn(self, tick_at: float) -> None:
        self.slept.append(tick_at - self.now)
        self.now = tick_at
        if len(self.slept) == 1:
            self.worker._ask_to_stop(signal.SIGTERM, None)

    def next_deadline(self) -> float:
        return float("inf")

    def watch_file(self, *_: object) -> None: ...

    close_expired = finish = watch_file


class Service:
    def __init__(self) -> None:
        self.loop: Any = None

    def start(self, http_counters: object) -> Any: ...

    def stop(self) -> None: ...

    def stopped(self) -> bool:
        return len(self.loop.slept) > 1


def made(service: Any) -> Any:
    shared = Supervised()
    shared.supervisor = os.getppid()
    return Worker(service, [("probe", None)], None, shared)


def test_sigterm_that_comes_with_a_heartbeat_is_followed_up_within_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service()
    one = made(service)
    one._loop = service.loop = loop = Loop(one)
    one._serve()
    assert loop.slept[1] <= TICK_SECONDS
    assert one._shared.last_beat() > 0


def test_a_python_without_pidfd_open_looks_at_its_parent_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    assert made(Service())._watch_supervisor() is False


def test_a_supervisor_that_is_gone_already_is_noticed() -> None:
    one = made(Service())
    one._shared.supervisor = os.getpid()  # not the parent: as after its end
    assert one._watch_supervisor() is True
    assert one._supervisor_ended


def test_sigquit_ends_the_worker_with_0() -> None:
    with pytest.raises(SystemExit) as ended:
        worker_module._end_at_once(signal.SIGQUIT, None)
    assert ended.value.code == 0


def test_sigabrt_ends_the_worker_whatever_it_interrupts() -> None:
    pid = os.fork()
    if pid == 0:
        try:
            signal.signal(signal.SIGABRT, worker_module._abort)
            signal.raise_signal(signal.SIGABRT)
        except BaseException:  # as a route's caller has it
            os._exit(7)
        os._exit(8)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1
