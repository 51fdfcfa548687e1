"""Record what a real process does to its files, and play it again on a model of the disk.

Invariants:
- The process is not changed: a shared library in front of libc records its calls, in their order.
- A mark is what the process says of itself, as JSON: what it began, and what was acknowledged.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.power.disk import Directory, File

SOURCE: Final = Path(__file__).with_name("shim.c")
HEAD: Final = struct.Struct("<ciiqI")
TRUNCATE: Final = os.O_TRUNC
NEEDS: Final = "a file layer in C stands between SQLite and the disk, and is compiled by cc"


class Call(NamedTuple):
    """One call, as it was recorded."""

    op: str
    process: int
    fd: int
    at: int
    data: bytes


def available() -> bool:
    """Return whether this machine can compile the library."""
    return shutil.which("cc") is not None


def compile_shim(into: Path) -> Path:
    """Return the library. Raises subprocess.CalledProcessError."""
    shim = into / "shim.so"
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", shim, SOURCE, "-ldl", "-lpthread"], check=True)
    return shim


def environment(shim: Path, directory: Path, trace: Path, *, unsynced: bool = False) -> dict[str, str]:
    """Return the variables under which a process is recorded."""
    more = {"POWER_UNSYNCED": "1"} if unsynced else {}
    return {"LD_PRELOAD": str(shim), "POWER_DIR": str(directory), "POWER_TRACE": str(trace), **more}


def read(trace: Path) -> list[Call]:
    """Return every call of a trace."""
    raw, at, found = trace.read_bytes(), 0, []
    while at < len(raw):
        op, process, fd, place, length = HEAD.unpack_from(raw, at)
        at += HEAD.size
        found.append(Call(op.decode(), process, fd, place, raw[at : at + length]))
        at += length
    return found


class Replay:
    """A trace, played call by call on the model."""

    def __init__(self, files: Mapping[str, bytes], directory: Path, chance: random.Random) -> None:
        """Begin with these files, all of them durable. `chance` decides what a failed sync loses."""
        self.disk = Directory(files)
        self.marks: list[Any] = []
        self._directory, self._chance = directory, chance
        self._open: dict[tuple[int, int], File | None] = {}
        """By process and descriptor; None: the directory itself."""

    def play(self, calls: list[Call]) -> Iterator[int]:
        """Play every call; yield before each its number: the power may fail there."""
        for number, call in enumerate(calls):
            yield number
            getattr(self, f"_play_{call.op}")(call)
        yield len(calls)

    def _name(self, path: bytes) -> str:
        return Path(os.fsdecode(path)).name

    def _play_M(self, call: Call) -> None:
        self.marks.append(json.loads(call.data))

    def _play_F(self, call: Call) -> None:
        """Change nothing: the call that failed has a record of its own where it changed something."""

    def _play_O(self, call: Call) -> None:
        key, path = (call.process, call.fd), Path(os.fsdecode(call.data))
        if path == self._directory:
            self._open[key] = None
            return
        file = self._open[key] = self.disk.create(path.name)
        if call.at & TRUNCATE and file.cache:
            file.resize(0)

    def _play_C(self, call: Call) -> None:
        self._open.pop((call.process, call.fd), None)

    def _play_W(self, call: Call) -> None:
        if file := self._open[call.process, call.fd]:
            file.write(call.at, call.data)

    def _play_T(self, call: Call) -> None:
        if file := self._open[call.process, call.fd]:
            file.resize(call.at)

    def _play_S(self, call: Call) -> None:
        (self._open[call.process, call.fd] or self.disk).synced()

    def _play_E(self, call: Call) -> None:
        if file := self._open[call.process, call.fd]:
            file.sync_failed(self._chance)

    def _play_R(self, call: Call) -> None:
        self.disk.rename(*map(self._name, call.data.split(b"\0")))

    def _play_U(self, call: Call) -> None:
        self.disk.unlink(self._name(call.data))
