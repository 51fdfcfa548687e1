"""How long the worker sleeps."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from sidecar.server import worker as worker_module
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
            self.worker.handle_exit(signal.SIGTERM, None)

    def next_deadline(self) -> float:
        return float("inf")

    def watch_file(self, *_: object) -> None: ...

    close_expired = finish = watch_file


class App:
    listener_names = ()

    def __init__(self, loop: Loop) -> None:
        self.loop = loop

    def stopping(self) -> None: ...

    def stopped(self) -> bool:
        return len(self.loop.slept) > 1


def test_sigterm_that_comes_with_a_heartbeat_is_followed_up_within_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_module, "RequestDispatcher", lambda *_: None)
    one = Worker.__new__(Worker)
    one._loop = loop = Loop(one)
    one.app, one.sockets, one.PIPE, one.ppid = App(loop), [], (0, 0), os.getppid()
    one.wsgi = one.cfg = one.log = None
    monkeypatch.setattr(one, "notify", lambda: None)
    monkeypatch.setattr(worker_module.sys, "setswitchinterval", lambda _: None)
    one.run()
    assert loop.slept[1] <= TICK_SECONDS


def test_a_python_without_pidfd_open_looks_at_its_parent_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pidfd_open")
    one = Worker.__new__(Worker)
    one.ppid = os.getppid()
    assert one._watch_arbiter() is False
