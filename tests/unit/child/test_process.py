"""Starting a child where something is missing. What a child does: test_main."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sidecar.child.process import spawn

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


@pytest.mark.parametrize("count", range(4))
def test_a_start_without_descriptors_leaves_none_open(count: int) -> None:
    before = descriptors()
    for _ in range(3):
        with left(count), pytest.raises(OSError, match="Too many open files"):
            spawn(Request())
    assert descriptors() == before


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
child = process.START_BY(types.SimpleNamespace(as_json=lambda: '{"job": "hang"}'))
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_a_child_ends_with_the_worker_that_is_killed(start: str) -> None:
    """Whatever it is at: here it waits for ten minutes."""
    line = [sys.executable, "-c", HANGING.replace("START_BY", start)]
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
