"""The ledger by itself, without HTTP: bytes and memory for an event, and events a second.

I4  bytes an event of the file and its log, after closing (the log is folded in) and as they lie while it runs
M2  anonymous memory of the process as events grow
    batches of 100 from 4 threads, single events from 16

Ids are random: sequential ones flatter any sorted table. Clients run in this process, so rates include making events.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import kernel

from sidecar.ledger.ledger import Ledger
from sidecar.ledger.opening import Owner
from sidecar.metering.events import PushAccepted, UsageEvent
from sidecar.metering.quantities import Micros
from sidecar.settings.dimensions import Dimension

NOON = datetime(2026, 1, 2, 12, 10, tzinfo=UTC)
MILLION = 1_000_000
SINGLES = 20_000


@dataclass(frozen=True, kw_only=True)
class Sample:
    """After so many events."""

    events: int
    lying: int
    """Bytes of file and log while it runs."""
    closed: int
    """Bytes once it is closed."""
    anon: int
    """Bytes of this process."""
    batches_per_second: float
    """Events a second in batches of 100, over the last million."""
    singles_per_second: float


def measure(directory: Path, millions: int = 2) -> Iterator[Sample]:
    """A sample after each million events with random ids."""
    for number in range(1, millions + 1):
        ledger = Ledger.open(directory, Owner(workload="w", product_code="p", region="r"), [Dimension(name="n")], NOON)
        batches = _rate(ledger, 4, MILLION - SINGLES, 100)
        singles = _rate(ledger, 16, SINGLES, 1)
        lying, anon = _bytes(directory), kernel.memory(os.getpid()).anon
        ledger.close()
        yield Sample(
            events=number * MILLION,
            lying=lying,
            closed=_bytes(directory),
            anon=anon,
            batches_per_second=batches,
            singles_per_second=singles,
        )


def _rate(ledger: Ledger, threads: int, events: int, each: int) -> float:
    begun = time.perf_counter()
    _together(threads, lambda: [_push(ledger, each) for _ in range(events // threads // each)])
    return events / (time.perf_counter() - begun)


def _push(ledger: Ledger, each: int) -> None:
    batch = [UsageEvent(dimension="n", micros=Micros(1), id=os.urandom(16).hex()) for _ in range(each)]
    if ledger.push(batch, NOON) != PushAccepted(accepted=each, duplicates=0):
        raise SystemExit("the ledger refused")


def _together(threads: int, work: Callable[[], object]) -> None:
    running = [threading.Thread(target=work) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def _bytes(directory: Path) -> int:
    return sum(part.stat().st_size for part in directory.iterdir())


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        for one in measure(Path(directory)):
            print(
                f"{one.events / MILLION:.0f} M events: {one.closed / one.events:.1f} B each closed,"
                f" {one.lying / one.events:.1f} lying; {one.anon / 2**20:.1f} MiB anonymous;"
                f" {one.batches_per_second:,.0f} events/s in batches, {one.singles_per_second:,.0f} single",
                flush=True,
            )


if __name__ == "__main__":
    main()
