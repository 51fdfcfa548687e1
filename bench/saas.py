"""Measure the events a second that the SaaS service's state acknowledges: SQLite, and PostgreSQL with several replicas.

Each replica is a process of its own with 8 threads that push 100 events at once, each with an id, for 100 customers.
The database, a private one with fsync, and the replicas share the machine. HTTP is not part of it.

Each way to run it is measured in several rounds, in turn; the output is a table of medians, lowest and highest.

Run: python -m bench.saas [SECONDS [ROUNDS]]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import threading
import time
from datetime import UTC, datetime
from multiprocessing.synchronize import Barrier

from bench.arguments import positive_integer, positive_number
from sidecar.metering.events import PushAccepted, UsageEvent
from sidecar.metering.quantities import Micros
from sidecar.saas.customers import Customer, key_of
from sidecar.saas.records import CustomerEvent
from sidecar.saas.sql_store import open_store
from sidecar.settings.dimensions import Dimension
from tests import postgresql

NOW = datetime(2026, 11, 20, 12, 10, tzinfo=UTC)
DIMENSIONS = (Dimension(name="requests"),)
CUSTOMERS, THREADS, EVENTS = 100, 8, 100


def customer(number: int) -> Customer:
    """Return one of the customers."""
    answer = {"product_code": "p", "aws_account_id": f"{number:012}", "license_arn": f"arn:l-{number}"}
    return Customer(key=key_of(**answer, identifier=""), resolved_at=NOW, state_since=NOW, **answer)


def replica(url: str, name: int, seconds: float, start: Barrier, counts: multiprocessing.Queue[float]) -> None:
    """Push from every thread until the time is over; report how many were acknowledged a second."""
    store = open_store(url, DIMENSIONS, NOW)
    keys = [customer(number).key for number in range(CUSTOMERS)]
    taken = [0] * THREADS
    start.wait()
    began = time.monotonic()
    until = began + seconds

    def push(thread: int) -> None:
        pushed = 0
        while time.monotonic() < until:
            ids = (f"{name}-{thread}-{pushed + n}" for n in range(EVENTS))
            events = [
                CustomerEvent(keys[(pushed + n) % CUSTOMERS], UsageEvent("requests", Micros(1_000_000), id=one))
                for n, one in enumerate(ids)
            ]
            result = store.accept(events, NOW)
            assert isinstance(result, PushAccepted), result
            pushed += EVENTS
            taken[thread] += result.accepted

    threads = [threading.Thread(target=push, args=(number,)) for number in range(THREADS)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    counts.put(sum(taken) / (time.monotonic() - began))  # the last pushes may end after the time is over
    store.close()


def measure(url: str, replicas: int, seconds: float) -> float:
    """Return events a second of all replicas together."""
    store = open_store(url, DIMENSIONS, NOW)
    for number in range(CUSTOMERS):
        store.keep_customer(customer(number))
    store.close()
    context = multiprocessing.get_context("spawn")
    start, counts = context.Barrier(replicas), context.Queue()
    every = [context.Process(target=replica, args=(url, n, seconds, start, counts)) for n in range(replicas)]
    for one in every:
        one.start()
    total = sum(counts.get() for _ in every)
    for one in every:
        one.join()
    return total


def rounds(seconds: float, count: int) -> dict[str, list[float]]:
    """Return the rates of each way to run it, a round of all of them after the other."""
    found: dict[str, list[float]] = {}
    with postgresql.running() as server:
        for number in range(count):
            with tempfile.TemporaryDirectory() as directory:
                rate = measure(f"sqlite:///{directory}/saas.db", 1, seconds)
            found.setdefault("| SQLite | 1 |", []).append(rate)
            for replicas in (1, 2, 4):
                schema = f"r{replicas}_{number}"
                server.run_sql(f"CREATE SCHEMA {schema}")
                rate = measure(server.url(search_path=schema), replicas, seconds)
                found.setdefault(f"| PostgreSQL | {replicas} |", []).append(rate)
    return found


def main() -> None:
    """Print a line of the table for each way to run it."""
    parser = argparse.ArgumentParser(prog="python -m bench.saas", description=__doc__)
    parser.add_argument("seconds", type=positive_number, nargs="?", default=10.0, help="of each measurement (10)")
    parser.add_argument("rounds", type=positive_integer, nargs="?", default=3, help="of each way (3)")
    given = parser.parse_args()
    before = os.getloadavg()[0]
    for way, rates in rounds(given.seconds, given.rounds).items():
        middle, least, most = (round(one, -1) for one in (statistics.median(rates), min(rates), max(rates)))
        print(f"{way} {middle:.0f} | {least:.0f}–{most:.0f} |", flush=True)
    print(f"{os.cpu_count()} CPUs, load {before:.1f} before and {os.getloadavg()[0]:.1f} after")


if __name__ == "__main__":
    main()
