"""What wakes the arbiter."""

from __future__ import annotations

import os
import queue
import select
import signal
from typing import Any

import pytest
from gunicorn.arbiter import Arbiter

from sidecar.server.gunicorn_app import SidecarArbiter


def test_a_signal_that_comes_as_soon_as_there_are_handlers_wakes_the_arbiter(monkeypatch: pytest.MonkeyPatch) -> None:
    def handlers_and_a_signal(self: Any) -> None:
        signal.signal(signal.SIGCHLD, self.signal_chld)
        os.kill(os.getpid(), signal.SIGCHLD)

    monkeypatch.setattr(Arbiter, "init_signals", handlers_and_a_signal)
    one = SidecarArbiter.__new__(SidecarArbiter)
    one.SIG_QUEUE = queue.SimpleQueue()
    before = signal.getsignal(signal.SIGCHLD)
    try:
        one.init_signals()
        assert select.select([one._wakeup], [], [], 0)[0] == [one._wakeup]
    finally:
        os.close(signal.set_wakeup_fd(-1))
        signal.signal(signal.SIGCHLD, before)
        os.close(one._wakeup)
