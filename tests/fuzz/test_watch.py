"""What takes a second, grows or never returns is a finding."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from . import watch
from .watch import Growth, Memory, Slow, Watched, held


def nothing(data: bytes) -> None:
    del data


@pytest.mark.parametrize(("seconds", "found"), [(0.9, False), (1.1, True)])
def test_an_input_that_takes_more_than_a_second_is_a_finding(
    monkeypatch: pytest.MonkeyPatch, seconds: float, found: bool
) -> None:
    ticks = iter((0.0, seconds))
    monkeypatch.setattr("time.thread_time", lambda: next(ticks))
    watched = Watched(nothing)
    if not found:
        watched(b"abc")
        return
    with pytest.raises(Slow, match=r"1\.1 s for 3 bytes"):
        watched(b"abc")


@pytest.mark.parametrize("grown", [Memory(50_001, 0), Memory(0, (64 << 20) + 1)])
def test_what_grows_after_the_warm_up_is_a_finding(monkeypatch: pytest.MonkeyPatch, grown: Memory) -> None:
    monkeypatch.setattr(watch, "COUNT_EVERY", 1)
    warm_up = [Memory(0, 0), Memory(1 << 30, 1 << 40), Memory(9, 9)]
    allowed = Memory(9 + 50_000, 9 + (64 << 20))
    measured = iter([*warm_up, allowed, Memory(9 + grown.blocks, 9 + grown.resident_bytes)])
    watched = Watched(nothing, lambda: next(measured))
    for _ in range(4):
        watched(b"")
    with pytest.raises(Growth):
        watched(b"")


def test_texts_that_stay_are_counted() -> None:
    before = held()
    kept = [f"text {number}" for number in range(60_000)]
    assert held().blocks - before.blocks > 50_000, len(kept)


def test_long_texts_that_stay_are_counted() -> None:
    """Each is longer than what `malloc` serves from memory that earlier tests have left."""
    before = held()
    kept = [bytes(40 << 20) + b"x" for _ in range(2)]
    assert held().resident_bytes - before.resident_bytes > 64 << 20, len(kept)


FAULTY = {
    "endless": ("for _ in iter(int, 1): pass", "libFuzzer: timeout"),
    "slow": ("import time; end = time.thread_time() + 1.1\n    while time.thread_time() < end: pass", "Slow: 1."),
    "much at once": (
        "import time; HELD.append(b'x' * (600 << 20))\n    while True: time.sleep(0.1)",
        "libFuzzer: out-of-memory",
    ),
    "growing": ("HELD.extend([str(len(HELD)), data] for _ in range(2))", "Growth: "),
    "raising": ("raise KeyError(data)", "KeyError"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", [*FAULTY, "right"])
def test_a_search_finds_a_faulty_target(name: str, tmp_path: Path) -> None:
    """Needs Atheris, so `.ci/fuzz` runs it."""
    pytest.importorskip("atheris")
    body, words = FAULTY.get(name, ("pass", "Done 300000 runs"))
    hang_seconds = 2 if name == "endless" else 60
    program = (
        "from tests.fuzz.__main__ import search\nHELD = []\n"
        f"def target(data):\n    {body}\n"
        f"search(target, ['-runs=300000', '-artifact_prefix={tmp_path}/'], hang_seconds={hang_seconds})\n"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert words in ended.stdout + ended.stderr
    assert (ended.returncode == 0) is (name == "right")
    assert name == "growing" or any(tmp_path.iterdir()) is (name != "right")  # no single input makes a process grow
