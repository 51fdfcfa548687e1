"""Starting a child where something is missing. What a child does: test_main."""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidecar.child.process import spawn


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
