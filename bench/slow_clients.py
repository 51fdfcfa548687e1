"""Prints how long a probe waits while clients misbehave, and what that costs in memory.

    python -m bench.slow_clients [--tries 200]

Each row is a fresh server under one attack on one listener; `/entitled` is asked on fresh connections
of both listeners in turn; a flood's own listener serves in the order of arrival, the other one must not
feel it. Times are milliseconds; memory is the worker's anonymous resident growth.
"""

from __future__ import annotations

import argparse
import statistics

from bench.arguments import positive_integer
from tests.integration.server.attacks import ATTACKS, attacked
from tests.integration.server.servers import Server, server


def probe_times(running: Server, tries: int) -> str:
    """Median and worst milliseconds on each listener, asked in turn."""
    times: dict[str, list[float]] = {"probe": [], "api": []}
    for n in range(tries):
        name = ("probe", "api")[n % 2]
        times[name].append(running.probe_seconds(name) * 1_000)
    return " | ".join(f"{statistics.median(found):.2f} | {max(found):.2f}" for found in times.values())


def row(attack: str, listener: str, tries: int) -> str:
    """One line of the table."""
    with server() as running:
        probe_times(running, 20)
        before = running.resident_kib()
        with attacked(running, attack, listener):
            times = probe_times(running, tries)
            grown = running.resident_kib() - before
    return f"| {attack} | {listener} | {times} | {grown / 1024:+.1f} |"


def main() -> None:
    """Every attack on each listener."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=positive_integer, default=200)
    tries = parser.parse_args().tries
    print("| attack | on | probe median ms | worst ms | api median ms | worst ms | RSS MiB |")
    print("| --- " * 7 + "|")
    with server() as running:
        probe_times(running, 20)
        times = probe_times(running, tries)
    print(f"| none | - | {times} | |")
    for attack in ATTACKS:
        for listener in ("probe", "api"):
            print(row(attack, listener, tries), flush=True)


if __name__ == "__main__":
    main()
