"""Cold start: how soon, and for how much CPU, a fresh process answers and is entitled.

C1  exec → first `GET /entitled` = 200 after a real RegisterUsage and token verification, wall time
C2  user + system time of the whole tree up to that 200, children that left included (control group;
    without one: schedstat, and 10 ms ticks for what was waited for)
C3  C1 with a quota of 25 ms CPU in each 100 ms; skipped where quotas cannot be set
C4  exec → first HTTP answer of any status

Baseline and ours start in turns, each in a fresh directory; the first round is dropped. The clock
starts in the child just before exec. Polling waits 1 ms after a refused connection and 10 ms after
an answer that is not 200.
"""

from __future__ import annotations

from dataclasses import dataclass

import bytecode
import kernel
import table
from lib import SIDES, Server, Setup, Side, running
from probes import Boot, await_entitled

QUOTA_US = 25_000
MS = 1e6


@dataclass(frozen=True, kw_only=True)
class Start:
    boot: Boot
    cpu_ns: int


def _start(setup: Setup, side: Side, quota_us: int | None) -> Start:
    with running(setup, side, quota_us=quota_us) as server:
        return entitled(server)


def entitled(server: Server) -> Start:
    """Wait for the first 200 and read what it cost."""
    boot = await_entitled(server)
    cpu_ns = server.group.cpu_ns()
    if cpu_ns is None:
        cpu_ns = kernel.activity(server.pid).cpu_ns
    return Start(boot=boot, cpu_ns=cpu_ns)


def _rounds(setup: Setup, kept: int, quota_us: int | None = None) -> list[tuple[Start, Start]]:
    pairs = []
    for _ in range(kept + 1):
        baseline, ours = (_start(setup, side, quota_us) for side in SIDES)
        pairs.append((baseline, ours))
    return pairs[1:]


def measure(setup: Setup) -> list[table.Row]:
    """C1, C2 and C4 from one series of starts, C3 from a second one."""
    bytecode.require()
    pairs = _rounds(setup, setup.count(9, 2))
    wall = [(a.boot.entitled_ns / MS, b.boot.entitled_ns / MS) for a, b in pairs]
    cpu = [(a.cpu_ns / MS, b.cpu_ns / MS) for a, b in pairs]
    first = [(a.boot.first_answer_ns / MS, b.boot.first_answer_ns / MS) for a, b in pairs]
    return [
        table.compare("C1", "exec → entitled, wall", "ms", wall),
        table.compare("C2", "exec → entitled, CPU", "ms", cpu),
        _limited(setup),
        table.compare("C4", "exec → first answer", "ms", first),
    ]


def _limited(setup: Setup) -> table.Row:
    name, what = "C3", "exec → entitled at 0.25 CPU"
    group = kernel.Group("entitlement-bench-quota")
    possible = group.limit_cpu(QUOTA_US)
    group.remove()
    if not possible:
        return table.skipped(name, what, "ms", "no CPU quota can be set here")
    pairs = _rounds(setup, setup.count(9, 1), QUOTA_US)
    wall = [(a.boot.entitled_ns / MS, b.boot.entitled_ns / MS) for a, b in pairs]
    return table.compare(name, what, "ms", wall)


if __name__ == "__main__":
    raise SystemExit(table.main(__doc__ or "", measure))
