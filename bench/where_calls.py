"""System calls by process, seen by strace: of a start, and while nothing happens."""

from __future__ import annotations

import argparse
import collections
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import kernel
from lib import METERING, REST_SECONDS, Setup, running
from probes import await_entitled, await_push
from where_processes import processes_of
from where_table import ROWS, table

CALL = re.compile(r"^(\d+)\s+(?:<\.\.\. (\w+) resumed>|(\w+)\()")


@contextmanager
def _traced(pids: Iterable[int], output: Path, *flags: str) -> Iterator[None]:
    attach = [part for pid in pids for part in ("-p", str(pid))]
    tracer = subprocess.Popen(
        ["strace", "-f", "-o", str(output), *flags, *attach],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        if tracer.stderr is None or b"attached" not in tracer.stderr.readline():
            raise SystemExit("strace cannot attach")
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()


def start(setup: Setup, options: argparse.Namespace) -> None:
    """Print the system calls of one start, by process."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "trace"
        traced = f"strace -D -f -s 0 -o {output} {setup.ours_command}"
        with running(Setup(**{**vars(setup), "ours_command": traced}), "ours") as server:
            await_entitled(server)
            text = output.read_text(errors="replace")
    names: dict[str, str] = {}
    counts: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    forked: dict[str, str] = {}
    for line in text.splitlines():
        found = CALL.match(line)
        if not found:
            continue
        pid, _, call = found.groups()
        if pid not in names:
            names[pid] = _role(len(set(names.values())), forked.get(pid))
        if call:
            counts[names[pid]][call] += 1
        born = re.search(r"(clone3?|fork|vfork)\b.*= (\d+)$", line)
        if born:
            forked[born[2]] = names[pid] if "CLONE_THREAD" in line else ""
    total = sum(counts.values(), collections.Counter[str]())
    rows = [(f"`{call}`", *(one[call] for one in counts.values())) for call, _ in total.most_common(ROWS)]
    rows.append(("all", *(one.total() for one in counts.values())))
    table("System calls from exec until entitled", ("call", *counts), rows)


def _role(known: int, thread_of: str | None) -> str:
    """Processes come in this order: ours, the worker, the first check's child."""
    return thread_of or ("supervisor", "worker", "child", "later children")[min(known, 3)]


def idle(setup: Setup, options: argparse.Namespace) -> None:
    """Print what wakes each process while nothing happens."""
    with tempfile.TemporaryDirectory() as directory, running(setup, "ours", extra=METERING) as server:
        await_entitled(server)
        await_push(server)
        time.sleep(REST_SECONDS * 5)
        output, processes = Path(directory) / "trace", processes_of(server)
        threads = {task.name: name for name, pid in processes.items() for task in Path(f"/proc/{pid}/task").iterdir()}
        with _traced(processes.values(), output):
            time.sleep(options.seconds)
        calls = collections.Counter[tuple[str, str]]()
        for line in output.read_text(errors="replace").splitlines():
            if (found := CALL.match(line)) and found[3]:
                calls[threads.get(found[1], "later"), found[3]] += 1
        again = kernel.activity(server.pid)
        time.sleep(options.seconds)
        after = kernel.activity(server.pid)
    rows = [(name, f"`{call}`", f"{count / options.seconds:.2f}") for (name, call), count in calls.most_common(ROWS)]
    table(f"System calls a second while idle, {options.seconds} s", ("process", "call", "a second"), rows)
    print(f"\ncontext switches a second, not traced: {(after.switches - again.switches) / options.seconds:.2f}")
