"""Count the fsyncs of a server, and the requests that share one commit.

Q1      fsync and fdatasync calls ÷ commits, under 16 connections of single events: 1, and a little for
        checkpoints
Q1/ack  commits ÷ acknowledged requests: at most 1; below it, a group shares a commit

Counted from outside by strace over the whole load, of baseline and ours alike: a commit is a write of 24
bytes, the head of a frame of the write-ahead log, that says how many pages the database has after it
(sqlite.org/fileformat2.html, 4.1: non-zero for commit records only). Skipped where strace is missing or
may not attach. Tracing slows a server down: these ratios say nothing of speed.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import kernel
import load
import table
from ingest import require_answered, require_kept
from lib import METERING, PUSH_PATH, SIDES, Server, Setup, Side, running
from probes import await_entitled, await_push

CONNECTIONS = 16
SECONDS = 2.0
ATTACH_SECONDS_MAX = 10
CALLS = "fsync,fdatasync,pwrite64"
SYNC = re.compile(r"\bf(?:data)?sync\(")
WAL = "".join(f"\\x{letter:02x}" for letter in b"-wal")  # strace writes paths as it writes data
FRAME = re.compile(rf'\bpwrite64\([0-9]+<[^>]*(?:-wal|{re.escape(WAL)})>, "((?:\\x[0-9a-f]{{2}}){{24}})", 24\b')


class CannotTrace(Exception):
    """Why there is no trace."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    syncs: int
    commits: int
    acknowledged: int


def counted(trace: str, acknowledged: int) -> Counted:
    """Read what strace wrote. A call that another thread interrupted is written in two lines: its start counts."""
    heads = (bytes.fromhex(found[1].replace("\\x", "")) for found in FRAME.finditer(trace))
    commits = sum(int.from_bytes(head[4:8], "big") != 0 for head in heads)
    return Counted(syncs=len(SYNC.findall(trace)), commits=commits, acknowledged=acknowledged)


def _traced(setup: Setup, side: Side) -> Counted:
    with running(setup, side, extra=METERING) as server, tempfile.TemporaryDirectory() as directory:
        await_entitled(server)
        await_push(server)
        output = Path(directory) / "trace"
        tracer = _attach(server, output)
        try:
            push = load.Push(
                port=server.push_port, path=PUSH_PATH[side], connections=CONNECTIONS, seconds=SECONDS, warm_seconds=0
            )
            found = load.run(push, "python")
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        require_answered(server, found)
        require_kept(server, found.acknowledged)
        return counted(output.read_text(errors="replace"), found.acknowledged)


def _attach(server: Server, output: Path) -> subprocess.Popen[bytes]:
    pids = [part for pid in sorted(kernel.tree(server.pid)) for part in ("-p", str(pid))]
    tracer = subprocess.Popen(
        ["strace", "-f", "-y", "-xx", "-s", "24", "-e", f"trace={CALLS}", "-o", str(output), *pids],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + ATTACH_SECONDS_MAX
    while time.monotonic() < deadline and tracer.poll() is None:
        if all(_is_traced(pid) for pid in kernel.tree(server.pid)):
            return tracer
        time.sleep(0.02)
    tracer.kill()
    _, said = tracer.communicate()
    raise CannotTrace(f"strace cannot attach: {said.decode(errors='replace').strip()[-80:]}")


def _is_traced(pid: int) -> bool:
    tasks = [task / "status" for task in Path(f"/proc/{pid}/task").iterdir()]
    return all("TracerPid:\t0\n" not in task.read_text() for task in tasks)


def measure(setup: Setup) -> list[table.Row]:
    """Q1."""
    names = (("Q1", "fsync + fdatasync per commit"), ("Q1/ack", "commits per acknowledged request"))
    pairs = []
    try:
        if shutil.which("strace") is None:
            raise CannotTrace("no strace here")
        for _ in range(setup.count(3, 1)):
            baseline, ours = (_traced(setup, side) for side in SIDES)
            pairs.append((baseline, ours))
    except CannotTrace as error:
        return [table.skipped(name, what, "", str(error)) for name, what in names]
    if not all(one.commits for pair in pairs for one in pair):
        return [
            table.skipped(name, what, "", "no commit seen: SQLite writes in another way here") for name, what in names
        ]
    syncs = [(a.syncs / a.commits, b.syncs / b.commits) for a, b in pairs]
    acks = [(a.commits / a.acknowledged, b.commits / b.acknowledged) for a, b in pairs]
    return [table.absolute(name, what, "", found) for (name, what), found in zip(names, (syncs, acks), strict=True)]


if __name__ == "__main__":
    raise SystemExit(table.main(__doc__ or "", measure))
