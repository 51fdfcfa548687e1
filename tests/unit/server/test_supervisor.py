"""What the supervisor decides, without a worker."""

from __future__ import annotations

import signal

import pytest

from sidecar.server import supervisor
from sidecar.server.supervisor import PAUSE_SECONDS_MAX, Supervisor


class Quiet:
    """Instead of the log."""

    error = warn = staticmethod(lambda *_, **__: None)


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Supervisor:
    monkeypatch.setattr(Supervisor, "_log", lambda _: Quiet)
    return Supervisor(lambda _: 0, lambda _: 0)


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
