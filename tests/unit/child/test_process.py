"""Starting a child where something is missing. What a child does: test_main."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sidecar.child.process import ChildProcess, fork, spawn

ROOT = Path(__file__).parents[3]


class Request:
    """A request that no child understands: it ends at once."""

    def as_json(self) -> str:
        return "{}"


def descriptors() -> set[str]:
    """Return this process's open descriptors and what each is."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:  # the one of the listing itself
            continue
    return found


@contextmanager
def left(count: int) -> Iterator[None]:
    """Leave this process so many descriptors to open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/proc/self/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    taken = []
    try:
        while True:
            try:
                taken.append(os.open(os.devnull, os.O_RDONLY))
            except OSError:
                break
        for _ in range(count):
            os.close(taken.pop())
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for handle in taken:
            os.close(handle)


def spawned() -> ChildProcess:
    return spawn(Request())


def forked() -> ChildProcess:
    return fork("report").ask(Request())


@pytest.mark.parametrize(
    ("start", "count"), [(spawned, count) for count in range(4)] + [(forked, count) for count in range(5)]
)
def test_a_start_without_descriptors_leaves_none_open(start: Callable[[], ChildProcess], count: int) -> None:
    before = descriptors()
    for _ in range(3):
        with left(count), pytest.raises(OSError, match="Too many open files"):
            start()
    assert descriptors() == before


def test_a_start_that_the_kernel_refuses_leaves_no_descriptor_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = descriptors()
    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(BlockingIOError):
        fork("report")
    assert descriptors() == before


def test_a_forked_child_waits_for_its_request_and_answers_it_once() -> None:
    before = descriptors()
    waiting = fork("report")
    assert waiting.child.read_line(time.monotonic() + 0.3) is None
    assert not waiting.child.ended, "it waits"
    child = waiting.ask(Request())
    assert b"crashed" in (child.read_line(time.monotonic() + 20) or b"")
    waiting.dismiss()  # too late, and harmless
    child.close()
    assert descriptors() == before


@pytest.mark.parametrize("asked", [False, True])
def test_a_child_that_is_dismissed_is_gone_unless_it_was_asked(asked: bool) -> None:
    before = descriptors()
    waiting = fork("report")
    if asked:
        waiting.ask(Request())
    waiting.dismiss()
    waiting.dismiss()
    if asked:
        assert os.waitpid(waiting.child.pid, 0)[1] == 0
        waiting.child.close()
    else:
        with pytest.raises(ChildProcessError):
            os.waitpid(waiting.child.pid, 0)
    assert descriptors() == before


def test_a_child_that_died_before_it_was_asked_has_no_line() -> None:
    waiting = fork("report")
    os.kill(waiting.child.pid, signal.SIGKILL)
    os.waitid(os.P_PID, waiting.child.pid, os.WEXITED | os.WNOWAIT)
    child = waiting.ask(Request())
    assert child.read_line(time.monotonic() + 20) is None
    assert child.ended
    child.close()


def test_a_request_of_any_size_is_written_whole_before_it_is_read() -> None:
    large = types.SimpleNamespace(as_json=lambda: '{"job": "nothing", "text": "' + "x" * 3_000_000 + '"}')
    child = fork("report").ask(large)
    assert b"KeyError" in (child.read_line(time.monotonic() + 20) or b"")
    child.close()


def test_a_start_without_an_interpreter_leaves_none_open(monkeypatch: pytest.MonkeyPatch) -> None:
    before = descriptors()
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(OSError, match="No such file"):
        spawn(Request())
    assert descriptors() == before


def test_four_descriptors_are_enough_and_one_stays_until_the_end() -> None:
    before = descriptors()
    with left(4):
        child = spawn(Request())
    assert len(descriptors() - before) == 1
    assert b"crashed" in (child.read_line(time.monotonic() + 20) or b"")
    child.close()
    assert descriptors() == before


HANGING = """
import sys, types
from sidecar.child import main, process
hanging = "import sys, time, types; sys.modules['hanging'] = types.SimpleNamespace(run=lambda *_: time.sleep(600));" \
    " from sidecar.child import main; main.JOBS = {'hang': 'hanging'};"
process.START = process.START.replace("from", hanging + " from", 1)
exec(hanging)
request = types.SimpleNamespace(as_json=lambda: '{"job": "hang"}')
print(START, flush=True)
sys.stdin.read()
"""


STARTS = {
    "spawned": "process.spawn(request).pid",
    "forked": "process.fork('hang').ask(request).pid",
    "waiting": "(waiting := process.fork('hang')).child.pid",
}


@pytest.mark.parametrize("start", STARTS)
def test_a_child_ends_with_the_worker_that_is_killed(start: str) -> None:
    """Whatever it is at: here it waits for ten minutes, or for its request."""
    line = [sys.executable, "-c", HANGING.replace("START,", f"{STARTS[start]},")]
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as worker:
        assert worker.stdout is not None
        child = int(worker.stdout.readline())
        handle = os.pidfd_open(child)
        try:
            assert not select.select([handle], [], [], 0.3)[0], "it runs while its worker does"
            worker.kill()
            assert select.select([handle], [], [], 10)[0], "it goes on without"
        finally:
            os.close(handle)
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
