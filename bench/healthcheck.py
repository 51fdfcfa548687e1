"""What one exec probe costs: `entitlement-sidecar healthcheck` against a one-liner with urllib.

H1  CPU against `python -I -c pass`, the least that any command in Python can take
H   wall time, CPU and memory against the one-liner

Both ask the same running sidecar, in turns. Wall time from spawn to exit; CPU and highest resident
size from `wait4`. A process inherits the resident size of the process that forked it in that last number,
so each command is forked by a shell that then leaves; the kernel hands the orphan to us.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import sys
import time
from dataclasses import dataclass

import bytecode
import table
from lib import LIBC, Server, Setup, environment, running
from probes import await_entitled

PR_SET_CHILD_SUBREAPER = 36
NAIVE = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:{port}/entitled', timeout=2).read()"
LAUNCH = ("/bin/sh", "-c", '"$@" >/dev/null & exit 0', "launch")


@dataclass(frozen=True, kw_only=True)
class Cost:
    wall_ms: float
    cpu_ms: float
    rss_mib: float


def _cost(command: list[str], env: dict[str, str]) -> Cost:
    began = time.monotonic()
    shell = os.posix_spawn(LAUNCH[0], [*LAUNCH, *command], env)
    orphan = None
    for _ in range(2):
        pid, status, used = os.wait4(-1, 0)
        if os.waitstatus_to_exitcode(status) != 0:
            raise SystemExit(f"failed: {shlex.join(command)}")
        if pid != shell:
            orphan, ended = used, time.monotonic()
    if orphan is None:
        raise SystemExit("the shell did not hand over its child")
    cpu = orphan.ru_utime + orphan.ru_stime
    return Cost(wall_ms=(ended - began) * 1e3, cpu_ms=cpu * 1e3, rss_mib=orphan.ru_maxrss / 1024)


def _samples(setup: Setup, server: Server) -> list[tuple[Cost, Cost, Cost]]:
    """(bare interpreter, one-liner, ours) of each round."""
    env = environment(setup, server.port, server.home)
    bare, naive = [sys.executable, "-I", "-c", "pass"], [sys.executable, "-c", NAIVE.format(port=server.port)]
    ours = shlex.split(setup.healthcheck_command.replace("{probe_port}", str(server.port)))
    found = [(_cost(bare, env), _cost(naive, env), _cost(ours, env)) for _ in range(setup.count(20, 3) + 1)]
    return found[1:]


def measure(setup: Setup) -> list[table.Row]:
    """H1, and three numbers of one exec probe that have no goal."""
    bytecode.require()
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(1))
    try:
        with running(setup, "ours") as server:
            await_entitled(server)
            samples = _samples(setup, server)
    finally:
        LIBC.prctl(PR_SET_CHILD_SUBREAPER, ctypes.c_ulong(0))
    pairs = [(naive, ours) for _, naive, ours in samples]
    against_bare = [(bare.cpu_ms, ours.cpu_ms) for bare, _, ours in samples]
    return [
        table.compare("H1", "exec probe, CPU, against `python -I -c pass`", "ms", against_bare),
        table.compare("H", "exec probe, wall", "ms", [(a.wall_ms, b.wall_ms) for a, b in pairs]),
        table.compare("H", "exec probe, CPU", "ms", [(a.cpu_ms, b.cpu_ms) for a, b in pairs]),
        table.compare("H", "exec probe, largest resident size", "MiB", [(a.rss_mib, b.rss_mib) for a, b in pairs]),
    ]


if __name__ == "__main__":
    raise SystemExit(table.main(__doc__ or "", measure))
