"""Compare two checkouts of this repository on one machine: start, memory at rest, and usage kept on disk.

    python bench/compare.py --before DIR --after DIR [--rounds N] [--quick]

Each checkout needs a virtual environment `.venv` with the package installed in it (`uv sync`). The load, the fake AWS
and the clock are those of the checkout that this script is in; its environment needs the group `bench`.

Invariants:
- Both checkouts get the same settings. They run in turns, and every second round begins with the other one.
- The first round of each measure is dropped.
- Under load both run, and are pushed to in turns of a second: the speed of a shared machine changes that fast.
- A ratio is made within one round, and above 1 `after` is better. With the same code in both, the range that is printed
  is the noise of the machine; only a ratio outside that range is a difference.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import cold_start
import ingest
import kernel
import load
import memory
import table
from arguments import positive_integer
from lib import METERING, PUSH_PATH, REST_SECONDS, STOP_SECONDS_MAX, Setup, fake_aws, running, setup_from
from probes import await_entitled, await_push

EVENT: Final = "instructions:u"
START_ROUNDS, LOAD_ROUNDS, QUICK_ROUNDS = 10, 12, 2
PORTS: Final = 4
"""Of each checkout."""
HEAD: Final = ("what", "before", "after", "ratio (median, min–max)", "rounds")
Sample = tuple[float, ...]


def runs(directory: Path) -> str:
    """Return the command that runs the sidecar of a checkout, compiled; exit where the environment has another one."""
    python = directory / ".venv" / "bin" / "python"
    if not python.exists():
        raise SystemExit(f"{directory} has no .venv; run `uv sync` there")
    where = "import sidecar; print(sidecar.__file__)"
    found = subprocess.run([python, "-c", where], cwd="/", capture_output=True, text=True, check=False)
    if not Path(found.stdout.strip()).is_relative_to(directory):
        raise SystemExit(f"{python} runs {found.stdout.strip() or found.stderr.strip()}, not {directory}")
    subprocess.run([python, "-m", "compileall", "-q", directory / "sidecar"], check=True)
    return f"{python.with_name('entitlement-sidecar')} run"


def alternated(
    before: Setup, after: Setup, rounds: int, sample: Callable[[Setup], Sample]
) -> list[tuple[Sample, Sample]]:
    """Return (before, after) of each round but the first."""
    pairs = []
    for n in range(rounds + 1):
        if n % 2:
            second, first = sample(after), sample(before)
        else:
            first, second = sample(before), sample(after)
        pairs.append((first, second))
    return pairs[1:]


def started(setup: Setup) -> Sample:
    """Return wall and CPU milliseconds until the first 200, and anonymous MiB of the process tree at rest."""
    with running(setup, "ours") as server:
        start = cold_start.entitled(server)
        time.sleep(REST_SECONDS)
        anon = kernel.memory(server.pid).anon
    return start.boot.entitled_ns / cold_start.MS, start.cpu_ns / cold_start.MS, anon / memory.MIB


def pushed(before: Setup, after: Setup, batch: int, connections: int) -> list[tuple[Sample, Sample]]:
    """Return the events a second that are on disk when they are acknowledged: both run, and are loaded in turns.

    A turn is as short as the load allows.
    """
    push = replace(ingest.push_of(before, batch=batch, connections=connections), warm_seconds=1, seconds=1)
    with contextlib.ExitStack() as stack:
        servers = {}
        for setup in (before, after):
            server = servers[setup] = stack.enter_context(running(setup, "ours", extra=METERING))
            await_entitled(server)
            await_push(server)
        acknowledged = dict.fromkeys(servers, 0)

        def sample(setup: Setup) -> Sample:
            here = replace(push, port=servers[setup].push_port, path=PUSH_PATH["ours"])
            found = load.run(here, load.chosen(setup.loader))
            ingest.require_answered(servers[setup], found)
            acknowledged[setup] += found.acknowledged * batch
            return (found.requests_per_second * batch,)

        pairs = alternated(before, after, before.count(LOAD_ROUNDS, QUICK_ROUNDS), sample)
        for setup, server in servers.items():
            ingest.require_kept(server, acknowledged[setup])
    return pairs


def counted(event: str) -> Callable[[Setup], Sample]:
    """Return a sample of what `perf stat` counts of the process tree from exec, over the first 200, to its end."""

    def sample(setup: Setup) -> Sample:
        with tempfile.NamedTemporaryFile(prefix="entitlement-bench-") as file:
            perf = f"{shutil.which('perf')} stat -x, -e {event} -o {file.name} -- "
            with running(replace(setup, ours_command=perf + setup.ours_command), "ours") as server:
                cold_start.entitled(server)
                for child in Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split():
                    os.kill(int(child), signal.SIGTERM)  # perf itself would leave it running
                deadline = time.monotonic() + STOP_SECONDS_MAX
                while not server.ended():
                    if time.monotonic() > deadline:
                        raise SystemExit("the sidecar did not end under perf")
                    time.sleep(0.01)
            return (counts(Path(file.name).read_text()) / 1e6,)

    return sample


def counts(text: str) -> float:
    """Return the number that `perf stat -x,` wrote."""
    (line,) = (line for line in text.splitlines() if line and not line.startswith("#"))
    return float(line.split(",")[0])


def why_not_counted(event: str) -> str:
    """Return why `perf stat` has no number here, or nothing."""
    if not shutil.which("perf"):
        return "perf is not installed"
    done = subprocess.run(["perf", "stat", "-x,", "-e", event, "true"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 and done.stderr[:1].isdigit() else f"perf cannot count {event} here"


def measure(before: Setup, after: Setup) -> list[table.Row]:
    """Return a row for each number."""
    starts = alternated(before, after, before.count(START_ROUNDS, QUICK_ROUNDS), started)
    rows = [
        row("exec → entitled, wall", "ms", starts, 0),
        row("exec → entitled, CPU", "ms", starts, 1),
    ]
    what, unit = "start and stop, instructions in user space", "M"
    if why := why_not_counted(EVENT):
        rows.append(table.skipped("", what, unit, why))
    else:
        rounds = before.count(START_ROUNDS, QUICK_ROUNDS)
        rows.append(row(what, unit, alternated(before, after, rounds, counted(EVENT))))
    rows.append(row("memory at rest, anonymous", "MiB", starts, 2))
    for batch, connections, what in (
        (1, load.Push.connections, "single events on disk"),
        (ingest.BATCH, ingest.BATCH_CONNECTIONS, f"events on disk, batches of {ingest.BATCH}"),
    ):
        rows.append(row(what, "/s", pushed(before, after, batch, connections), more_is_better=True))
    return rows


def row(
    what: str, unit: str, pairs: Sequence[tuple[Sample, Sample]], at: int = 0, *, more_is_better: bool = False
) -> table.Row:
    """Return the row of one number of each sample."""
    numbers = [(first[at], second[at]) for first, second in pairs]
    return table.compare("", what, unit, numbers, gated=False, more_is_better=more_is_better)


def as_markdown(rows: Sequence[table.Row]) -> str:
    """Return the table that is printed."""
    lines = [HEAD, tuple("---" for _ in HEAD)]
    for one in rows:
        if one.skipped:
            lines.append((one.what, "–", "–", one.skipped, "–"))
            continue
        numbers = [f"{value:.{1 if value < 1000 else 0}f} {one.unit}" for value in (one.baseline, one.ours)]
        ratio = f"{one.ratio:.3f} ({one.ratio_min:.3f}–{one.ratio_max:.3f})"
        lines.append((one.what, *numbers, ratio, str(one.rounds)))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--before", type=Path, required=True, metavar="DIR", help="the checkout to compare with")
    parser.add_argument("--after", type=Path, required=True, metavar="DIR", help="the checkout with the change")
    rounds = f"measured rounds (default: {START_ROUNDS} starts, {LOAD_ROUNDS} of each load)"
    parser.add_argument("--rounds", type=positive_integer, metavar="N", help=rounds)
    parser.add_argument("--quick", action="store_true", help="smoke run: two rounds")
    parser.add_argument("--port", type=int, default=18480, help=f"first of {2 * PORTS} loopback ports (default: 18480)")
    parser.add_argument("--loader", choices=["auto", "wrk", "python"], default="auto", help="as for bench/run")
    parser.set_defaults(ours_command="", healthcheck_command="", peer=None)
    options = parser.parse_args()
    before = replace(setup_from(options), ours_command=runs(options.before.resolve()))
    options.port += PORTS
    after = replace(setup_from(options), ours_command=runs(options.after.resolve()))
    with fake_aws(before), fake_aws(after):
        rows = measure(before, after)
    print(as_markdown(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
