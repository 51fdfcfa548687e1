"""What options of Python and of its allocators change: CPU time and memory of the worker's and the child's imports."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping
from statistics import median
from typing import Final, NamedTuple

from lib import Setup
from where_table import MS, table

IMPORTS: Final = """
import sys
sys.path[:] = sys.argv[1].split(chr(10))
import gc
gc.disable()
import sidecar.app.run, sidecar.gate.register_usage
with open("/proc/self/smaps_rollup") as pages:
    print(next(line.split()[1] for line in pages if line.startswith("Anonymous:")))
"""
SAME: Final = "(none)"


class Variant(NamedTuple):
    """How the interpreter is started."""

    flags: tuple[str, ...] = ()
    env: Mapping[str, str] = {}


VARIANTS: Final[Mapping[str, Variant]] = {
    SAME: Variant(),
    "`-I -S`": Variant(flags=("-I", "-S")),
    "`-X frozen_modules=off`": Variant(flags=("-X", "frozen_modules=off")),
    "`-X no_debug_ranges`": Variant(flags=("-X", "no_debug_ranges")),
    "`PYTHONMALLOC=malloc`": Variant(env={"PYTHONMALLOC": "malloc"}),
    "`MALLOC_ARENA_MAX=1`": Variant(env={"MALLOC_ARENA_MAX": "1"}),
    "`MALLOC_TOP_PAD_=0`": Variant(env={"MALLOC_TOP_PAD_": "0"}),
}


def options_of_python(_: Setup, options: argparse.Namespace) -> None:
    """Print the median of `--starts` starts of each variant, in turns, and the ratio to the first."""
    took: dict[str, list[tuple[int, int]]] = {name: [] for name in VARIANTS}
    for _round in range(options.starts):
        for name, variant in VARIANTS.items():
            took[name].append(_start(variant))
    rows = []
    for name, found in took.items():
        ratio = median(now / then for (now, _), (then, _) in zip(found, took[SAME], strict=True))
        cpu, kept = (median(one[at] for one in found) for at in range(2))
        rows.append((name, f"{cpu / MS:.1f}", f"{ratio:.2f}x", int(kept)))
    table("Options of the interpreter", ("option", "CPU ms", "ratio", "KiB no file backs"), rows)


def _start(variant: Variant) -> tuple[int, int]:
    """Return the CPU time in nanoseconds, and the memory in KiB that no file backs."""
    argv = [sys.executable, *variant.flags, "-c", IMPORTS, "\n".join(sys.path)]
    process = subprocess.Popen(argv, env=os.environ | variant.env, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{argv[:3]!r} ended with status {process.returncode}")
    return int((used.ru_utime + used.ru_stime) * 1e9), int(said)
