"""Runs `entitlement-sidecar run`, and writes down what each import took. Started by `where_imports.py` alone.

    python -I -c CODE DIRECTORY cpu|heap

For every module: CPU time (`cpu`) or bytes that Python's allocators kept (`heap`, by tracemalloc), without the modules
that it imports in its turn, finding the file included. SIGRTMIN has a process write DIRECTORY/PID.json: its own imports
and, under `heap`, bytes by the file that allocated them. What a process inherited by fork it writes too.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import tracemalloc
from importlib import _bootstrap
from pathlib import Path
from typing import Any

FILES_SHOWN = 40
OWNERS = ("sidecar", "h11")
"""Whose import is the first that leads to a module: those who could do without it."""


class Recorder:
    """Costs of imports: module → cost without nested imports, in the order in which they ended."""

    def __init__(self, directory: str, heap: bool) -> None:
        self._directory, self._heap = directory, heap
        self._nested: list[int] = []
        self._owners: list[str] = ["Python at its start"]
        self._first: dict[str, str] = {}
        self._costs: dict[str, int] = {}
        self._find_and_load = _bootstrap._find_and_load_unlocked  # type: ignore[attr-defined]

    def install(self) -> None:
        _bootstrap._find_and_load_unlocked = self._load  # type: ignore[attr-defined]
        signal.signal(signal.SIGRTMIN, self._write)

    def _now(self) -> int:
        return tracemalloc.get_traced_memory()[0] if self._heap else time.process_time_ns()

    def _load(self, name: str, import_: Any) -> Any:
        self._nested.append(0)
        top = name.partition(".")[0]
        self._owners.append(top if top in OWNERS else self._owners[-1])
        self._first[name] = self._owners[-1]
        began = self._now()
        try:
            return self._find_and_load(name, import_)
        finally:
            took = self._now() - began
            self._costs[name] = self._costs.get(name, 0) + took - self._nested.pop()
            self._owners.pop()
            if self._nested:
                self._nested[-1] += took

    def _write(self, _signal: int, _frame: object) -> None:
        found: dict[str, object] = {"imports": self._costs, "first": self._first, "modules": sorted(sys.modules)}
        if self._heap:
            top = tracemalloc.take_snapshot().statistics("filename")
            found["total"] = tracemalloc.get_traced_memory()[0]
            found["files"] = [(one.traceback[0].filename, one.size, one.count) for one in top[:FILES_SHOWN]]
        whole = Path(self._directory) / f"{os.getpid()}.json"
        part = whole.with_suffix(".part")
        part.write_text(json.dumps(found))
        part.rename(whole)


def main(directory: str, mode: str) -> int:
    if mode == "heap":
        tracemalloc.start()
    Recorder(directory, mode == "heap").install()
    from sidecar.__main__ import main as command

    return command(["run"])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
