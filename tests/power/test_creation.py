"""A ledger that is being begun opens again after a power cut at any point, and none is set aside."""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from sidecar.ledger.ledger import Ledger
from sidecar.metering.hours import Hour
from tests.power import trace, usage
from tests.power.__main__ import MEMORY
from tests.power.campaign import ROOT, write
from tests.power.disk import Directory, Loss
from tests.power.judge import Said, problems

CODE = """
import os, signal, sys
from pathlib import Path
from sidecar.ledger.ledger import Ledger
from tests.power import usage
Ledger.open(Path(sys.argv[1]), usage.OWNER, usage.DIMENSIONS, usage.BEGIN)
os.kill(os.getpid(), signal.SIGKILL)
"""
BY_CHANCE = 2
"""Images at each point that has too many for all of them."""

Image = dict[str, bytes]


def images(calls: list[trace.Call], state: Path, seed: int) -> Iterator[tuple[int, Image]]:
    """Yield what the disk could hold before each call, once each; of the holder's name in the lock, nothing."""
    seen, chance = set(), random.Random(seed)
    replay = trace.Replay({}, state, chance)
    for number in replay.play(calls):
        for image in possible(replay.disk, chance):
            found = {name: b"" if name.endswith(".lock") else content for name, content in image.items()}
            if (key := tuple(sorted(found.items()))) not in seen:
                seen.add(key)
                yield number, found


def possible(disk: Directory, chance: random.Random) -> Iterator[Image]:
    """Yield every image, or some by chance."""
    if disk.countable:
        yield from disk.every_image()
    else:
        for loss in (Loss.DROPPED, Loss.KEPT, *[Loss.PREFIX, Loss.REORDERED] * BY_CHANCE):
            yield disk.image(loss, chance)


def hour_problems(directory: Path) -> Iterator[str]:
    """Yield that usage of the hour in which the ledger is opened again would not count in it."""
    now = usage.BEGIN + usage.LIFE / 2
    with closing(Ledger.open(directory, usage.OWNER, usage.DIMENSIONS, now)) as ledger:
        if ledger.open_from() > Hour.at(now):
            yield f"usage counts from {ledger.open_from()}"


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory in which a sync costs nothing: the disk is a model."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as made:
        yield Path(made).resolve()


@pytest.mark.slow
@pytest.mark.skipif(not trace.available(), reason=trace.NEEDS)
def test_after_a_cut_at_any_point_of_its_creation_a_ledger_is_begun_and_none_set_aside(memory: Path) -> None:
    state, record = memory / "state", memory / "trace"
    state.mkdir()
    environment = trace.environment(trace.compile_shim(memory), state, record)
    done = subprocess.run([sys.executable, "-c", CODE, state], env=environment, cwd=ROOT, check=False, timeout=60)
    assert done.returncode == -9
    wrong, judged, last = [], 0, 0
    for last, image in images(trace.read(record), state, 1):
        judged += 1
        write(memory / "image", image)
        doubts: list[Path] = []
        found = [*problems(memory / "image", Said(begun=["first"]), 0, doubts), *hour_problems(memory / "image")]
        wrong += [(last, found)] if found else []
    assert wrong == []
    assert judged > 250
    assert last > 75, "the points reach to the end of the creation"


@pytest.mark.parametrize("part", [b"", b"\x01" * 512, bytes(4096)], ids=["nothing", "a sector", "its size"])
def test_an_enumeration_has_each_part_of_a_page_and_each_beginning_of_the_names(part: bytes) -> None:
    disk = Directory({"one": b""})
    disk.names["one"].write(0, b"".join(bytes([number]) * 512 for number in range(1, 9)))
    disk.create("two")
    found = list(disk.every_image())
    assert disk.countable
    assert {"one": part} in found
    assert {"one": part, "two": b""} in found
    assert len({image["one"] for image in found}) > 2**8
