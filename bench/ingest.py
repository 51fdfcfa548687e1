"""Usage kept on disk: how much in a second, and what probes feel of it.

I1  requests acknowledged in a second, one event each, 16 connections
I2  events acknowledged in a second, batches of 100, 4 connections
I3  I1 where each fsync takes 5 ms longer, with 16 and with 64 connections
I5  requests in a second at 1 000 tag sets ÷ at 5, of each side by itself
P1  `GET /entitled`, 99th percentile, on a fresh connection each time and on a kept one, during I1 (`probes`)
P2  the same during I2
P1/idle, P2/idle
    the same of another process, in Python too, which does nothing but answer while ours is under the load

Each load has a fresh server and ledger, one second to warm up, and a random UUID for each event; baseline
and ours in turns, the first round is dropped. Afterwards the server is killed with SIGKILL and its file
read: it must hold at least what was acknowledged, and no request may have failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import median

import load
import slow_disk
import table
import witness
from lib import METERING, PUSH_PATH, SIDES, Server, Setup, Side, running
from probes import Watch, await_entitled, await_push, watching
from responder import responder

SECONDS = 4.0
SECONDS_QUICK = 1.0
BATCH = 100
BATCH_CONNECTIONS = 4
TAG_SETS_MANY = 1_000
SLOW_CONNECTIONS = (16, 64)
MS = 1e6


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One side under one load."""

    load: load.Load
    watch: Watch

    def probe_ms(self, percent: float, *, kept: bool) -> float:
        return load.percentile(self.watch.kept_ns if kept else self.watch.fresh_ns, percent) / MS


Pair = tuple[Sample, Sample]


def _seconds(setup: Setup) -> float:
    return SECONDS_QUICK if setup.quick else SECONDS


def under(setup: Setup, side: Side, push: load.Push, extra: Mapping[str, str], watched: int | None = None) -> Sample:
    """Start one side, load it, kill it, and hold its ledger against what it said.

    `watched`: the port of another process, to be asked instead.
    """
    with running(setup, side, extra=METERING | dict(extra)) as server:
        await_entitled(server)
        await_push(server)
        with watching(watched or server.port) as watch:
            found = load.run(replace(push, port=server.push_port, path=PUSH_PATH[side]), load.chosen(setup.loader))
        require_answered(server, found)
        require_kept(server, found.acknowledged * push.batch)
        if watch.failed:
            raise SystemExit(f"{side}: {watch.failed} probes failed under load\n{server.log_tail()}")
    return Sample(load=found, watch=watch)


def require_answered(server: Server, found: load.Load) -> None:
    """Every request must have been acknowledged."""
    if found.failures:
        raise SystemExit(f"{server.side}: {found.failures} requests failed: {found.detail}\n{server.log_tail()}")


def require_kept(server: Server, acknowledged: int) -> None:
    """Kill the server; every acknowledged event must be in its ledger."""
    server.kill()
    kept = witness.total(server)
    if not acknowledged or kept < acknowledged:
        raise SystemExit(f"{server.side}: {acknowledged} events acknowledged, {kept} in the ledger")


def push_of(setup: Setup, **what: int) -> load.Push:
    return load.Push(port=0, path="", seconds=_seconds(setup), **what)


def _pair(setup: Setup, push: load.Push, extra: Mapping[str, str] | None = None) -> Pair:
    baseline, ours = (under(setup, side, push, extra or {}) for side in SIDES)
    return baseline, ours


def _pairs(setup: Setup, push: load.Push, extra: Mapping[str, str] | None = None) -> list[Pair]:
    return [_pair(setup, push, extra) for _ in range(setup.count(3, 1) + 1)][1:]


def _rate(pair: Pair, events: int = 1) -> tuple[float, float]:
    baseline, ours = pair
    return baseline.load.requests_per_second * events, ours.load.requests_per_second * events


def _throughput(measure: str, what: str, unit: str, pairs: list[Pair], events: int = 1) -> list[table.Row]:
    rates = [_rate(pair, events) for pair in pairs]
    waits = [(a.load.p99_ms, b.load.p99_ms) for a, b in pairs]
    return [
        table.compare(measure, what, unit, rates, more_is_better=True),
        table.compare(measure, "… p99 of an acknowledgement", "ms", waits, gated=False),
    ]


def _probed(measure: str, what: str, pairs: list[Pair]) -> list[table.Row]:
    rows = []
    for kept, how in ((False, "fresh"), (True, "kept")):
        p99, p50 = ([(a.probe_ms(p, kept=kept), b.probe_ms(p, kept=kept)) for a, b in pairs] for p in (99, 50))
        rows.append(table.compare(measure, f"/entitled during {what}, {how} connection, p99", "ms", p99))
        rows.append(table.compare(measure, "… p50", "ms", p50, gated=False))
    return rows


def _idle(measure: str, what: str, samples: list[Sample]) -> list[table.Row]:
    """What probes took of a process that does nothing else, while ours was under this load."""
    rows = []
    for kept, how in ((False, "fresh"), (True, "kept")):
        p99 = [one.probe_ms(99, kept=kept) for one in samples]
        row = table.Row(
            measure=f"{measure}/idle", what=f"an idle process during {what}, {how} connection, p99", unit="ms",
            ours=median(p99), ours_min=min(p99), ours_max=max(p99), rounds=len(p99),
        )  # fmt: skip
        rows.append(row)
    return rows


def measure(setup: Setup) -> list[table.Row]:
    """I1, I2, I3, I5, P1 and P2."""
    few, many = push_of(setup), push_of(setup, tag_sets=TAG_SETS_MANY)
    hundreds = push_of(setup, batch=BATCH, connections=BATCH_CONNECTIONS)
    disk, five, thousand = list[float](), list[Pair](), list[Pair]()
    batches, idle_few, idle_hundreds = list[Pair](), list[Sample](), list[Sample]()
    with responder() as port:
        for _ in range(setup.count(3, 1) + 1):
            wait_ms, kind = witness.disk()
            disk.append(wait_ms)
            five.append(_pair(setup, few))
            idle_few.append(under(setup, "ours", few, {}, port))
            thousand.append(_pair(setup, many))
            batches.append(_pair(setup, hundreds))
            idle_hundreds.append(under(setup, "ours", hundreds, {}, port))
    for found in (disk, five, thousand, batches, idle_few, idle_hundreds):
        del found[:1]
    client = five[0][0].load.client
    return [
        *_throughput("I1", f"single events on disk, 16 connections ({client})", "/s", five),
        *_probed("P1", "single events", five),
        *_idle("P1", "single events", idle_few),
        *_throughput("I2", f"events on disk, batches of {BATCH} ({client})", "/s", batches, BATCH),
        *_probed("P2", f"batches of {BATCH}", batches),
        *_idle("P2", f"batches of {BATCH}", idle_hundreds),
        *_slow(setup),
        _flat(five, thousand),
        table.Row(
            measure="disk", what=f"4 KiB appended + fdatasync, same directory ({kind}), p50", unit="ms",
            ours=median(disk), rounds=len(disk),
        ),
    ]  # fmt: skip


def _slow(setup: Setup) -> list[table.Row]:
    rows: list[table.Row] = []
    with slow_disk.slowed() as (extra, why):
        for connections in SLOW_CONNECTIONS:
            name, what = f"I3/{connections}", f"fsync + {slow_disk.DELAY_MS} ms, {connections} connections"
            if why:
                rows.append(table.skipped(name, what, "/s", why))
            else:
                pairs = _pairs(setup, push_of(setup, connections=connections), extra)
                rows += _throughput(name, what, "/s", pairs)
    return rows


def _flat(five: list[Pair], thousand: list[Pair]) -> table.Row:
    shares = []
    for few, many in zip(five, thousand, strict=True):
        (few_baseline, few_ours), (many_baseline, many_ours) = _rate(few), _rate(many)
        shares.append((many_baseline / few_baseline, many_ours / few_ours))
    return table.absolute("I5", f"requests/s at {TAG_SETS_MANY} tag sets ÷ at 5", "", shares)


if __name__ == "__main__":
    raise SystemExit(table.main(__doc__ or "", measure))
