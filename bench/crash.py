"""Count what was acknowledged and is missing after kill -9.

I6  events answered 200 whose id or quantity the ledger lacks, over all rounds, each a fresh server that is
    killed with SIGKILL, its whole tree at once, 0.8 to 1.2 s into the load of 8 kept connections. The file
    is read as it was left, its log included; `PRAGMA integrity_check` must say ok.

This is the death of processes, not of a machine: what a power cut does to a disk is not tested here.
"""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass

import load
import table
import witness
from lib import METERING, PUSH_PATH, SIDES, Setup, Side, running
from probes import await_entitled, await_push

CONNECTIONS = 8
KILL_SECONDS = (0.8, 1.2)
"""The instant of the kill is the subject: anywhere in a span, under full load."""
CLIENT_START_SECONDS = 0.3
LOAD_SECONDS = 30.0
"""Long enough that the server is never alive at its end."""


@dataclass(frozen=True, kw_only=True)
class Crash:
    acknowledged: int
    missing: int
    more: int
    """Events in the ledger beyond the acknowledged: those under way when it died."""


def _crash(setup: Setup, side: Side) -> Crash:
    with running(setup, side, extra=METERING) as server:
        await_entitled(server)
        await_push(server)
        push = load.Push(
            port=server.push_port, path=PUSH_PATH[side], connections=CONNECTIONS, seconds=LOAD_SECONDS,
            warm_seconds=0, keep_ids=True,
        )  # fmt: skip
        found: list[load.Load] = []
        client = threading.Thread(target=lambda: found.append(load.run(push, "python")))
        client.start()
        time.sleep(CLIENT_START_SECONDS + random.uniform(*KILL_SECONDS))
        server.kill()
        client.join()
        if not found or found[0].failures or not found[0].ids:
            raise SystemExit(f"{side}: the load went wrong: {found}\n{server.log_tail()}")
        said = witness.sound(server)
        if said != "ok":
            raise SystemExit(f"{side}: integrity_check says {said}")
        kept, ids = witness.total(server) - 1, found[0].ids  # one made sure that pushes are kept
        absent = max(witness.missing(server, ids), len(ids) - kept)
    return Crash(acknowledged=len(ids), missing=absent, more=max(0, kept - len(ids)))


def measure(setup: Setup) -> list[table.Row]:
    """I6."""
    crashes: dict[Side, list[Crash]] = {side: [] for side in SIDES}
    rounds = setup.count(5, 2)
    for _ in range(rounds):
        for side in SIDES:
            crashes[side].append(_crash(setup, side))
    missing, acknowledged, more = (
        [sum(getattr(one, name) for one in crashes[side]) for side in SIDES]
        for name in ("missing", "acknowledged", "more")
    )
    names = (
        ("I6", "acknowledged events missing after kill -9", missing),
        ("I6", "… of acknowledged", acknowledged),
        ("I6", "… kept, and under way when it died", more),
    )
    return [
        table.Row(measure=name, what=what, unit="", gated=n == 0, baseline=baseline, ours=ours, rounds=rounds)
        for n, (name, what, (baseline, ours)) in enumerate(names)
    ]


if __name__ == "__main__":
    raise SystemExit(table.main(__doc__ or "", measure))
