"""What the supervisor decides, without a worker."""

from __future__ import annotations

import signal
import time

import pytest

from sidecar.server import supervised, supervisor
from sidecar.server.supervised import Supervised
from sidecar.server.supervisor import PAUSE_SECONDS_MAX, Supervisor


class Quiet:
    """Instead of the log."""

    error = warn = staticmethod(lambda *_, **__: None)


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    monkeypatch.setattr(Supervisor, "_log", lambda _: Quiet)
    return Supervisor(lambda _: 0, lambda _, code: code)


def pauses(one: Supervisor, code: int, *, times: int, beats: bool = False) -> list[float]:
    """How long after the last fork the next one is allowed, after each of so many workers that end so."""
    found = []
    for _ in range(times):
        one._worker = 4242
        if beats:
            one._shared.beat()
        one._gone(code)
        one._shared.clear()
        found.append(one._fork_at() - one._forked_at)
    return found


@pytest.mark.parametrize("code", [-signal.SIGKILL, -signal.SIGSEGV, 70])
def test_starts_that_fail_in_a_row_are_further_and_further_apart(one: Supervisor, code: int) -> None:
    assert pauses(one, code, times=8) == [2, 4, 8, 16, 32, 60, 60, 60]
    one._failed = 100_000
    assert one._fork_at() - one._forked_at == PAUSE_SECONDS_MAX


def test_a_worker_that_has_served_is_replaced_at_once(one: Supervisor) -> None:
    pauses(one, -signal.SIGKILL, times=5)
    assert pauses(one, -signal.SIGKILL, times=3, beats=True) == [supervisor.LOOK_SECONDS_MIN] * 3


def test_a_fork_that_fails_counts_as_a_start_that_fails(one: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left() -> int:
        raise BlockingIOError("no process left")

    monkeypatch.setattr("os.fork", none_left)
    for pause in (2, 4, 8):
        one._fork()
        assert one._fork_at() - one._forked_at == pause


def test_a_worker_that_recovers_and_hangs_again_is_aborted_again(
    one: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[int] = []
    monkeypatch.setattr("os.kill", lambda _, number: sent.append(number))
    one._worker = 4242

    def looked(*, beats: bool) -> None:
        one._shared.beat()
        with monkeypatch.context() as patch:
            patch.setattr(supervisor, "TIMEOUT_SECONDS", 30 if beats else -1)
            one._look()

    looked(beats=False)
    looked(beats=False)
    assert sent == [signal.SIGABRT, signal.SIGKILL]
    looked(beats=True)
    assert one._seconds_to_look() > 20, "and the supervisor sleeps again"
    looked(beats=False)
    assert sent == [signal.SIGABRT, signal.SIGKILL, signal.SIGABRT]


def test_what_a_worker_is_allowed_leaves_its_heartbeat_alone() -> None:
    shared = Supervised()
    assert shared.graceful_seconds() == supervised.GRACEFUL_SECONDS
    shared.allow(30)
    assert shared.last_beat() == 0, "it has not served"
    shared.beat()
    last = shared.last_beat()
    shared.allow(12.5)
    assert (shared.last_beat(), shared.graceful_seconds()) == (last, 12.5)


def test_a_start_is_looked_at_again_before_a_worker_that_has_served_since_would_hang(one: Supervisor) -> None:
    one._worker, one._forked_at = 4242, time.monotonic()
    assert one._overdue_at() > time.monotonic() + 100
    assert one._seconds_to_look() <= supervisor.TIMEOUT_SECONDS
