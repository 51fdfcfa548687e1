"""What a sidecar costs while nothing happens: wake-ups and CPU.

D1  both servers run side by side; after 5 s to settle, each round is 60 s without a request. The
    difference of voluntary and involuntary context switches, and of run time, over all threads of
    both trees. Run time is the control group's where there is one: it also counts children that
    came and went.
"""

from __future__ import annotations

import time
from contextlib import ExitStack

import kernel
import table
from lib import SIDES, Server, Setup, running
from probes import await_entitled

SETTLE_SECONDS = 5
"""What a start still does after it is entitled is not idling. Nothing tells when that is over."""
WINDOW_SECONDS = 60
WINDOW_SECONDS_QUICK = 10
NS_PER_MS = 1e6


def _counters(server: Server) -> kernel.Activity:
    seen = kernel.activity(server.pid)
    group_ns = server.group.cpu_ns()
    return seen if group_ns is None else kernel.Activity(switches=seen.switches, cpu_ns=group_ns)


def _window(servers: list[Server], seconds: int) -> list[tuple[float, float]]:
    """(context switches per second, CPU ms per minute) of each server."""
    before = [_counters(server) for server in servers]
    began = time.monotonic()
    time.sleep(seconds)
    after = [_counters(server) for server in servers]
    lasted = time.monotonic() - began
    return [
        ((b.switches - a.switches) / lasted, (b.cpu_ns - a.cpu_ns) / NS_PER_MS * 60 / lasted)
        for a, b in zip(before, after, strict=True)
    ]


def measure(setup: Setup) -> list[table.Row]:
    """D1, twice: by context switches and by CPU."""
    seconds = WINDOW_SECONDS_QUICK if setup.quick else WINDOW_SECONDS
    with ExitStack() as stack:
        servers = [stack.enter_context(running(setup, side)) for side in SIDES]
        for server in servers:
            await_entitled(server)
        time.sleep(SETTLE_SECONDS)
        windows = [_window(servers, seconds) for _ in range(setup.count(3, 1))]
    switches = [(baseline[0], ours[0]) for baseline, ours in windows]
    cpu = [(baseline[1], ours[1]) for baseline, ours in windows]
    return [
        table.compare("D1", f"idle {seconds} s, context switches", "/s", switches),
        # Ten seconds hold too few ticks to judge CPU by.
        table.compare("D1", f"idle {seconds} s, CPU", "ms/min", cpu, gated=not setup.quick),
    ]


if __name__ == "__main__":
    raise SystemExit(table.main(__doc__ or "", measure))
