"""What imports cost: CPU time and bytes kept, by who leads to them, by package and by module."""

from __future__ import annotations

import argparse
import collections
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from lib import HERE, REST_SECONDS, Setup, running
from probes import await_entitled
from where_processes import processes_of
from where_table import KIB, MS, ROWS, table

WRITE_SECONDS_MAX = 20


def _hooked(setup: Setup, mode: str, directory: str) -> Setup:
    script = HERE / "where_hook.py"
    return Setup(**{**vars(setup), "ours_command": f"{sys.executable} -I {script} {directory} {mode}"})


def _recorded(setup: Setup, mode: str) -> dict[str, dict[str, object]]:
    """Process → what it wrote, at rest."""
    with (
        tempfile.TemporaryDirectory() as directory,
        running(_hooked(setup, mode, directory), "ours") as server,
    ):
        await_entitled(server)
        time.sleep(REST_SECONDS)
        found = {}
        for name, pid in processes_of(server).items():
            os.kill(pid, signal.SIGRTMIN)
            file, until = Path(directory) / f"{pid}.json", time.monotonic() + WRITE_SECONDS_MAX
            while not file.exists() and time.monotonic() < until:
                time.sleep(0.05)
            found[name] = json.loads(file.read_text())
        return found


def _package(module: str) -> str:
    """Ours by package, all others by their first name."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] in ("sidecar", "h11") else parts[0]


def imports(setup: Setup, options: argparse.Namespace) -> None:
    """Print what imports cost, by package and the dearest modules."""
    starts = [_recorded(setup, "cpu") for _ in range(options.starts)]
    heap = _recorded(setup, "heap")
    resident = list(heap)[-1]
    cpu: dict[str, int] = {}
    for module in starts[0][resident]["imports"]:
        cpu[module] = min(int(one[resident]["imports"].get(module, 0)) for one in starts)
    kept: Mapping[str, int] = heap[resident]["imports"]
    first: Mapping[str, str] = heap[resident]["first"]

    def owner(module: str) -> str:
        own = module.partition(".")[0]
        return own if own == first[module] else f"others, first by {first[module]}"

    for title, name in (
        ("Imports, by who leads to them", owner),
        ("Imports, by package", _package),
        ("Imports, by module", str),
    ):
        times, sizes, counts = (collections.Counter[str]() for _ in range(3))
        for module in cpu:
            times[name(module)] += cpu[module]
            sizes[name(module)] += kept.get(module, 0)
            counts[name(module)] += 1
        order = sorted(times, key=lambda one: -times[one] / MS - sizes[one] / KIB / 100)
        rows = [(f"`{one}`", counts[one], f"{times[one] / MS:.1f}", sizes[one] // KIB) for one in order[:ROWS]]
        rest = order[ROWS:]
        rows.append(
            ("others", sum(counts[one] for one in rest), f"{sum(times[one] for one in rest) / MS:.1f}",
             sum(sizes[one] for one in rest) // KIB)
        )  # fmt: skip
        rows.append(("all", len(cpu), f"{sum(times.values()) / MS:.1f}", sum(sizes.values()) // KIB))
        table(title, ("what", "modules", "CPU ms", "KiB kept"), rows)
    for name, one in heap.items():
        print(f"\n{name}: {len(one['modules'])} modules, {one['total'] // KIB} KiB in Python's allocators")
