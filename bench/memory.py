"""Memory of the whole process tree: at rest after registration, at its boot peak, after many probes.

M1  `Pss_Anon + Pss_Shmem`, one second after the first 200 (printed too: with file pages, and PSS)
M3  highest charge of the memory control group from exec to that moment
    the same as M1 after 6 000 probes on fresh connections, ten minutes of several probes a second

Both sides start in turns, alone; the first round is dropped.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import kernel
import table
from lib import REST_SECONDS, SIDES, Setup, Side, running
from probes import ask_many, await_entitled

PROBES = 6_000
PROBES_QUICK = 300
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Sample:
    idle: kernel.Memory
    peak: int | None
    probed: kernel.Memory


def _sample(setup: Setup, side: Side) -> Sample:
    with running(setup, side) as server:
        await_entitled(server)
        time.sleep(REST_SECONDS)
        idle, peak = kernel.memory(server.pid), server.group.peak_bytes()
        ask_many(server.port, PROBES_QUICK if setup.quick else PROBES)
        return Sample(idle=idle, peak=peak, probed=kernel.memory(server.pid))


def _peak(pairs: list[tuple[Sample, Sample]]) -> table.Row:
    name, what = "M3", "peak while booting"
    peaks = [(a.peak / MIB, b.peak / MIB) for a, b in pairs if a.peak and b.peak]
    if len(peaks) < len(pairs):
        return table.skipped(name, what, "MiB", "no memory control group here")
    return table.compare(name, what, "MiB", peaks)


def measure(setup: Setup) -> list[table.Row]:
    """M1 and M3, and what probing adds."""
    pairs = []
    for _ in range(setup.count(3, 1) + 1):
        baseline, ours = (_sample(setup, side) for side in SIDES)
        pairs.append((baseline, ours))
    del pairs[0]
    idle = [(a.idle.anon / MIB, b.idle.anon / MIB) for a, b in pairs]
    alone = [(a.idle.alone / MIB, b.idle.alone / MIB) for a, b in pairs]
    pss = [(a.idle.pss / MIB, b.idle.pss / MIB) for a, b in pairs]
    probed = [(a.probed.anon / MIB, b.probed.anon / MIB) for a, b in pairs]
    probes = PROBES_QUICK if setup.quick else PROBES
    return [
        table.compare("M1", "memory at rest, anonymous", "MiB", idle),
        table.compare("M1", "… with every file page once", "MiB", alone, gated=False),
        table.compare("M1", "… PSS", "MiB", pss, gated=False),
        table.compare("M1", f"anonymous after {probes} probes", "MiB", probed, gated=False),
        _peak(pairs),
    ]


if __name__ == "__main__":
    raise SystemExit(table.main(__doc__ or "", measure))
