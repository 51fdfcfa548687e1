"""The pages of each process at rest that no file backs, by kind of mapping."""

from __future__ import annotations

import argparse
import collections
import time
from collections.abc import Iterator
from pathlib import Path

import kernel
from lib import REST_SECONDS, Setup, running
from probes import await_entitled
from where_processes import processes_of
from where_table import ROWS, table

MALLOC_ARENA_BYTES = 64 * 2**20
"""glibc reserves an arena of a thread at a multiple of this."""


def _mappings(pid: int) -> Iterator[tuple[list[str], dict[str, int]]]:
    """Each mapping's first line in fields, and its sizes in KiB."""
    head: list[str] = []
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        row = line.split()
        if "-" in row[0] and not row[0].endswith(":"):
            if head:
                yield head, sizes
            head, sizes = row, {}
        elif len(row) == 3 and row[2] == "kB":
            sizes[row[0][:-1]] = int(row[1])
    yield head, sizes


def _kind(head: list[str], before: list[str] | None) -> str:
    name = head[5] if len(head) > 5 else ""
    start, end = (int(one, 16) for one in head[0].split("-"))
    if name == "[heap]":
        return "`malloc`: the main arena"
    if name == "[stack]":
        return "stack of the main thread"
    if name.startswith("/"):
        return f"`{Path(name).name.split('.cpython')[0]}`: data and relocations"
    if name:
        return name
    if before and before[1].startswith("---p") and int(before[0].split("-")[1], 16) == start and end - start > 2**16:
        return "stacks of threads"
    if start % MALLOC_ARENA_BYTES == 0:
        return "`malloc`: arenas of threads"
    return "Python's arenas, and large blocks"


def memory(setup: Setup, options: argparse.Namespace) -> None:
    """Print the pages of each process at rest that no file backs."""
    with running(setup, "ours") as server:
        await_entitled(server)
        time.sleep(REST_SECONDS)
        processes = processes_of(server)
        private: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in processes}
        shared: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in processes}
        for name, pid in processes.items():
            before: list[str] | None = None
            for head, sizes in _mappings(pid):
                kind = _kind(head, before)
                private[name][kind] += sizes.get("Private_Dirty", 0)
                shared[name][kind] += sizes.get("Shared_Dirty", 0)
                before = head
        total = kernel.memory(server.pid)
    kinds = sorted(
        set().union(*private.values()), key=lambda kind: -sum(private[one][kind] + shared[one][kind] for one in private)
    )
    sets = [counter for name in processes for counter in (private[name], shared[name])]
    rows = [(kind, *(one[kind] for one in sets)) for kind in kinds[:ROWS]]
    rows.append(("others", *(sum(one[kind] for kind in kinds[ROWS:]) for one in sets)))
    rows.append(("all", *(one.total() for one in sets)))
    head = ["what", *(f"{name}, {how}" for name in processes for how in ("private", "shared"))]
    table("Memory at rest, KiB", head, rows)
    print(
        f"\nanonymous, of all {total.processes} processes: {total.anon / 2**20:.1f} MiB;"
        f" with every file page once: {total.alone / 2**20:.1f} MiB"
    )
