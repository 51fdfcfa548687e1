"""Prints how long a probe waits while clients misbehave, and what that costs in memory.

    python -m bench.slow_clients [--tries 200]

Each row is a fresh server under one attack on one listener; `/entitled` is asked on fresh connections
of both listeners in turn. Times are milliseconds; memory is the worker's anonymous resident growth.
"""

from __future__ import annotations

import argparse
import statistics

from tests.integration.agent.attacks import ATTACKS, attacked
from tests.integration.agent.servers import Server, server


def probe_times(running: Server, tries: int) -> list[float]:
    """Milliseconds of each try, alternating between the listeners."""
    return [running.probe_seconds(("probe", "api")[n % 2]) * 1_000 for n in range(tries)]


def row(attack: str, listener: str, tries: int) -> str:
    """One line of the table."""
    with server() as running:
        probe_times(running, 20)
        before = running.resident_kib()
        with attacked(running, attack, listener):
            times = probe_times(running, tries)
            grown = running.resident_kib() - before
    median, worst = statistics.median(times), max(times)
    return f"| {attack} | {listener} | {median:.2f} | {worst:.2f} | {grown / 1024:+.1f} |"


def main() -> None:
    """Every attack on each listener."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=200)
    tries = parser.parse_args().tries
    print("| attack | on | median ms | worst ms | RSS MiB |\n| --- | --- | --- | --- | --- |")
    with server() as running:
        probe_times(running, 20)
        times = probe_times(running, tries)
    print(f"| none | - | {statistics.median(times):.2f} | {max(times):.2f} | |")
    for attack in ATTACKS:
        for listener in ("probe", "api"):
            print(row(attack, listener, tries), flush=True)


if __name__ == "__main__":
    main()
