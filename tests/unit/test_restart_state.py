"""The memory that outlives a worker."""

from __future__ import annotations

import os
from datetime import timedelta

import pytest

from sidecar.entitlement.status import GateState, Status
from sidecar.restart_state import RestartState
from tests.fakes.clock import NOON
from tests.fakes.view import gate_state


def test_an_unwritten_board_is_empty() -> None:
    assert RestartState().read() == {}


def test_facts_are_added_and_replaced_by_name() -> None:
    shared = RestartState()
    shared.update(a=1, b={"c": None})
    shared.update(a="longer than before " * 20)
    shared.update(a=2)
    assert shared.read() == {"a": 2, "b": {"c": None}}


def test_two_boards_are_strangers() -> None:
    one, other = RestartState(), RestartState()
    one.update(a=1)
    assert other.read() == {}


def test_a_child_of_the_same_process_reads_and_writes_the_same_board() -> None:
    shared = RestartState()
    shared.update(a=1)
    pid = os.fork()
    if pid == 0:
        try:
            shared.update(seen=shared.read()["a"])
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert shared.read() == {"a": 1, "seen": 1}


def test_a_worker_has_the_file_that_its_supervisor_holds() -> None:
    handle = os.memfd_create("restart-state")
    RestartState(handle).update(a=1)
    assert RestartState(handle).read() == {"a": 1}
    os.close(handle)


def test_what_the_first_worker_made_is_kept() -> None:
    shared = RestartState()
    assert shared.kept("instance", "a") == "a"
    assert shared.kept("instance", "b") == "a"
    assert shared.kept("spare_id", "c") == "c"


def test_the_level_of_the_log_is_the_workers() -> None:
    shared = RestartState()
    assert shared.log_level() == "info"
    shared.update(log_level="error")
    assert shared.log_level() == "error"


def test_a_long_fact_is_kept_whole_and_a_short_one_after_it_too() -> None:
    shared = RestartState()
    shared.update(a="x" * 100_000)
    assert len(shared.read()["a"]) == 100_000
    shared.update(a="short")
    assert shared.read() == {"a": "short"}


@pytest.mark.parametrize("survives", [0, 1, 30])
@pytest.mark.parametrize("fact", ["x" * 10, "x" * 500])
def test_a_worker_that_is_killed_while_it_writes_leaves_what_was_there(
    monkeypatch: pytest.MonkeyPatch, survives: int, fact: str
) -> None:
    handle = os.memfd_create("restart-state")
    pwrite = os.pwrite
    RestartState(handle).update(a="y" * 200)
    for _ in range(5):
        before = RestartState(handle).read()

        def killed(to: int, data: bytes, at: int) -> int:
            pwrite(to, data[:survives], at)
            raise SystemExit

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", killed)
            with pytest.raises(SystemExit):
                RestartState(handle).update(a=fact)
        assert RestartState(handle).read() == before
        RestartState(handle).update(a=f"{fact}{len(before['a'])}")
    os.close(handle)


def test_the_file_does_not_grow_with_every_write() -> None:
    handle = os.memfd_create("restart-state")
    shared = RestartState(handle)
    for number in range(300):
        shared.update(a="x" * (number % 7), number=number)
    assert os.fstat(handle).st_size < 300
    assert shared.read()["number"] == 299
    os.close(handle)


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("checked", [None, NOON + timedelta(microseconds=1)])
def test_a_standing_comes_off_the_board_as_it_went_on(status: Status, checked: object) -> None:
    given = gate_state(status, checked_at=checked, hint='é "…"\n', asking_since=NOON - timedelta(days=1))
    shared = RestartState()
    shared.update(gate_state=given.as_json())
    assert GateState.from_json(shared.read()["gate_state"]) == given
