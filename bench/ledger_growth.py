"""What a ledger holds for each event, and what the process holds after many.

I4  bytes of ledger per event after a million events with random UUIDs: the file with its log written
    back, less what it was before the first of them
M2  `Pss_Anon + Pss_Shmem` of the whole tree after one million events; M2+ what the second million adds

Batches of 100 over 4 connections by the Python client, which can count; a fresh server for each round,
baseline and ours in turns, nothing is dropped. Afterwards the ledger must hold every event.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import kernel
import load
import table
import witness
from ingest import require_answered, require_kept
from lib import METERING, PUSH_PATH, REST_SECONDS, SIDES, Setup, Side, running
from probes import await_entitled, await_push

EVENTS = 1_000_000
EVENTS_QUICK = 50_000
BATCH = 100
CONNECTIONS = 4
MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Growth:
    idle: int
    """Bytes of memory before the first event, and after the first and second half."""
    first: int
    second: int
    per_event: float
    """Bytes of ledger, of the first half."""


def _grow(setup: Setup, side: Side, events: int) -> Growth:
    with running(setup, side, extra=METERING) as server:
        await_entitled(server)
        await_push(server)
        push = load.Push(
            port=server.push_port, path=PUSH_PATH[side], batch=BATCH, connections=CONNECTIONS, events=events
        )
        time.sleep(REST_SECONDS)
        empty, memory, acknowledged = witness.size(server), [kernel.memory(server.pid).anon], 0
        for half in range(2):
            found = load.run(push, "python")
            acknowledged += found.acknowledged
            time.sleep(REST_SECONDS)
            memory.append(kernel.memory(server.pid).anon)
            if half == 0:
                per_event = (witness.size(server) - empty) / (found.acknowledged * BATCH)
            if found.failures:
                break
        require_answered(server, found)
        require_kept(server, found.acknowledged * BATCH)
        kept = witness.total(server)
        if kept < acknowledged * BATCH:
            raise SystemExit(f"{side}: {acknowledged * BATCH} events acknowledged, {kept} in the ledger")
    return Growth(idle=memory[0], first=memory[1], second=memory[2], per_event=per_event)


def measure(setup: Setup) -> list[table.Row]:
    """I4 and M2."""
    events = EVENTS_QUICK if setup.quick else EVENTS
    pairs = []
    for _ in range(setup.count(1, 1)):
        baseline, ours = (_grow(setup, side, events) for side in SIDES)
        pairs.append((baseline, ours))
    idle, first, second = (
        [(getattr(a, name) / MIB, getattr(b, name) / MIB) for a, b in pairs] for name in ("idle", "first", "second")
    )
    added = [(b[0] - a[0], b[1] - a[1]) for a, b in zip(first, second, strict=True)]
    shown = f"{events:,}".replace(",", " ")
    # With few events the last page of each tree, and what a process keeps for good, weigh too much to judge by.
    gated = not setup.quick
    return [
        table.compare(
            "I4",
            f"ledger per event, {shown} random ids",
            "B",
            [(a.per_event, b.per_event) for a, b in pairs],
            gated=gated,
        ),
        table.compare("M2", f"anonymous memory after {shown} events", "MiB", first, gated=gated),
        replace(table.absolute("M2+", f"… the next {shown} add", "MiB", added), gated=gated),
        table.compare("M2", "… before the first, ledger open", "MiB", idle, gated=False),
    ]


if __name__ == "__main__":
    raise SystemExit(table.main(__doc__ or "", measure))
