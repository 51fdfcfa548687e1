"""What each thread of the worker does for one event: CPU time in and out of the kernel, and how often it waits."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path

import load
from lib import METERING, PUSH_PATH, Server, Setup, running
from probes import await_entitled, await_push
from where_processes import processes_of
from where_table import table

US_PER_TICK = 1e6 / os.sysconf("SC_CLK_TCK")
POLLER, WRITER = "poller", "ledger's writer"


@dataclass(frozen=True)
class Work:
    """What a thread did since it started."""

    user_us: float
    system_us: float
    waits: int


def threads(setup: Setup, options: argparse.Namespace) -> None:
    """Print what each thread does for one of many single events."""
    with running(setup, "ours", extra=METERING) as server:
        await_entitled(server)
        await_push(server)
        before = _work(server)
        push = load.Push(
            port=server.push_port, path=PUSH_PATH["ours"], connections=16, seconds=options.seconds, warm_seconds=1
        )
        found = load.run(push, load.chosen(setup.loader))
        after = _work(server)
    rows = []
    for name, now in after.items():
        then = before.get(name, Work(0.0, 0.0, 0))
        parts = (now.user_us - then.user_us, now.system_us - then.system_us)
        rows.append(
            (
                name,
                *(f"{part / found.acknowledged:.1f}" for part in parts),
                f"{(now.waits - then.waits) / found.acknowledged:.2f}",
            )
        )
    print(f"\n{found.requests_per_second:.0f} events a second")
    table("Threads under load, for each event", ("thread", "user µs", "system µs", "waits"), rows)


def _work(server: Server) -> dict[str, Work]:
    """What the two threads that serve have done: the first one, and of the others the one that did most."""
    pid = processes_of(server)["worker"]
    found = {int(task.name): _of(task) for task in Path(f"/proc/{pid}/task").iterdir()}
    first = found.pop(pid)
    return {POLLER: first, WRITER: max(found.values(), key=lambda one: one.user_us + one.system_us)}


def _of(task: Path) -> Work:
    fields = (task / "stat").read_text().rpartition(")")[2].split()
    status = (task / "status").read_text().splitlines()
    waits = next(int(line.split()[1]) for line in status if line.startswith("voluntary_ctxt_switches"))
    return Work(int(fields[11]) * US_PER_TICK, int(fields[12]) * US_PER_TICK, waits)
