"""Where the sidecar's time and memory go: one Markdown table each, of ours alone.

bench/where.py [imports] [memory] [start] [idle] [load] [image] [--starts N] [--seconds N] [--svg FILE] [--image NAME]

imports  each package's own CPU time and bytes kept by Python's allocators, of master and worker (`where_hook.py`): the
         least of several starts, since other work on the machine only adds
memory   pages of each process at rest by mapping (`smaps`): private, and shared with the other process since the fork
start    system calls from exec until entitled, by process, counted by strace
idle     what ends each wait while nothing happens, by process, seen by strace
load     where samples under single events fall, with py-spy (`pip install py-spy`), and a flame graph as SVG
image    what the image has above its base, by distribution: bytes, and bytes in gzip

Without a part it prints all; without --image there is no image, and without py-spy or strace not what needs them.
Counts and bytes depend little on what else the machine does; times do.
"""

from __future__ import annotations

import argparse
import collections
import html
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import bytecode
import kernel
import load
from lib import HERE, METERING, PUSH_PATH, Server, Setup, add_arguments, fake_aws, running, setup_from
from probes import await_entitled, await_push

IMAGE_PYTHON = "/opt/entitlement-sidecar/bin/python"
REST_SECONDS = 1.0
WRITE_SECONDS_MAX = 20
KIB, MS = 1024, 1e6
ROWS = 24
MALLOC_ARENA_BYTES = 64 * 2**20
"""glibc reserves an arena of a thread at a multiple of this."""
SIDES = ("master", "worker")
CALL = re.compile(r"^(\d+)\s+(?:<\.\.\. (\w+) resumed>|(\w+)\()")
LINE = re.compile(r"(\(.*):\d+\)$")
WALK = """
import gzip, json, pathlib, sys
site = pathlib.Path(next(p for p in sys.path if p.endswith("site-packages")))
found = {}
def add(name, files):
    took = found.setdefault(name, [0, 0, 0])
    for file in files:
        data = file.read_bytes()
        took[0] += 1; took[1] += len(data); took[2] += len(gzip.compress(data, 6))
for top in site.iterdir():
    name = top.name.partition("-")[0] if top.name.endswith("-info") else top.name.partition(".")[0]
    add(name, [top] if top.is_file() else [one for one in top.rglob("*") if one.is_file()])
print(json.dumps(found))
"""
GRAPH_WIDTH, ROW_HEIGHT, SHARE_MIN = 1100, 16, 0.004


def _table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print(f"\n### {title}\n")
    print("| " + " | ".join(head) + " |")
    print("| " + " | ".join("---" for _ in head) + " |")
    for row in rows:
        print("| " + " | ".join(str(cell) for cell in row) + " |")


def _processes(server: Server) -> dict[str, int]:
    """Name → pid. With one process, the worker is the master."""
    others = sorted(kernel.tree(server.pid) - {server.pid})
    return dict(zip(SIDES, [server.pid, *others], strict=False))


# -- imports ---------------------------------------------------------------------------------------


def _hooked(setup: Setup, mode: str, directory: str) -> Setup:
    script = HERE / "where_hook.py"
    return Setup(**{**vars(setup), "ours_command": f"{sys.executable} -I {script} {directory} {mode}"})


def _recorded(setup: Setup, mode: str) -> dict[str, dict[str, object]]:
    """Process → what it wrote, at rest."""
    with (
        tempfile.TemporaryDirectory() as directory,
        running(_hooked(setup, mode, directory), "ours") as server,
    ):
        await_entitled(server)
        time.sleep(REST_SECONDS)
        found = {}
        for name, pid in _processes(server).items():
            os.kill(pid, signal.SIGRTMIN)
            file, until = Path(directory) / f"{pid}.json", time.monotonic() + WRITE_SECONDS_MAX
            while not file.exists() and time.monotonic() < until:
                time.sleep(0.05)
            found[name] = json.loads(file.read_text())
        return found


def _package(module: str) -> str:
    """Ours by package, all others by their first name."""
    parts = module.split(".")
    return ".".join(parts[:2]) if parts[0] in ("sidecar", "gunicorn") else parts[0]


def imports(setup: Setup, options: argparse.Namespace) -> None:
    """Print what imports cost, by package and the dearest modules."""
    starts = [_recorded(setup, "cpu") for _ in range(options.starts)]
    heap = _recorded(setup, "heap")
    resident = list(heap)[-1]
    cpu: dict[str, int] = {}
    for module in starts[0][resident]["imports"]:
        cpu[module] = min(int(one[resident]["imports"].get(module, 0)) for one in starts)
    kept: Mapping[str, int] = heap[resident]["imports"]
    first: Mapping[str, str] = heap[resident]["first"]

    def owner(module: str) -> str:
        own = module.partition(".")[0]
        return own if own == first[module] else f"others, first by {first[module]}"

    for title, name in (
        ("Imports, by who leads to them", owner),
        ("Imports, by package", _package),
        ("Imports, by module", str),
    ):
        times, sizes, counts = (collections.Counter[str]() for _ in range(3))
        for module in cpu:
            times[name(module)] += cpu[module]
            sizes[name(module)] += kept.get(module, 0)
            counts[name(module)] += 1
        order = sorted(times, key=lambda one: -times[one] / MS - sizes[one] / KIB / 100)
        rows = [(f"`{one}`", counts[one], f"{times[one] / MS:.1f}", sizes[one] // KIB) for one in order[:ROWS]]
        rest = order[ROWS:]
        rows.append(
            ("others", sum(counts[one] for one in rest), f"{sum(times[one] for one in rest) / MS:.1f}",
             sum(sizes[one] for one in rest) // KIB)
        )  # fmt: skip
        rows.append(("all", len(cpu), f"{sum(times.values()) / MS:.1f}", sum(sizes.values()) // KIB))
        _table(title, ("what", "modules", "CPU ms", "KiB kept"), rows)
    for name, one in heap.items():
        print(f"\n{name}: {len(one['modules'])} modules, {one['total'] // KIB} KiB in Python's allocators")


# -- memory ----------------------------------------------------------------------------------------


def _mappings(pid: int) -> Iterator[tuple[list[str], dict[str, int]]]:
    """Each mapping's first line in fields, and its sizes in KiB."""
    head: list[str] = []
    sizes: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        row = line.split()
        if "-" in row[0] and not row[0].endswith(":"):
            if head:
                yield head, sizes
            head, sizes = row, {}
        elif len(row) == 3 and row[2] == "kB":
            sizes[row[0][:-1]] = int(row[1])
    yield head, sizes


def _kind(head: list[str], before: list[str] | None) -> str:
    name = head[5] if len(head) > 5 else ""
    start, end = (int(one, 16) for one in head[0].split("-"))
    if name == "[heap]":
        return "`malloc`: the main arena"
    if name == "[stack]":
        return "stack of the main thread"
    if name.startswith("/"):
        return f"`{Path(name).name.split('.cpython')[0]}`: data and relocations"
    if name:
        return name
    if before and before[1].startswith("---p") and int(before[0].split("-")[1], 16) == start and end - start > 2**16:
        return "stacks of threads"
    if start % MALLOC_ARENA_BYTES == 0:
        return "`malloc`: arenas of threads"
    return "Python's arenas, and large blocks"


def memory(setup: Setup, options: argparse.Namespace) -> None:
    """Print the pages of each process at rest that no file backs."""
    with running(setup, "ours") as server:
        await_entitled(server)
        time.sleep(REST_SECONDS)
        processes = _processes(server)
        private: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in processes}
        shared: dict[str, collections.Counter[str]] = {name: collections.Counter() for name in processes}
        for name, pid in processes.items():
            before: list[str] | None = None
            for head, sizes in _mappings(pid):
                kind = _kind(head, before)
                private[name][kind] += sizes.get("Private_Dirty", 0)
                shared[name][kind] += sizes.get("Shared_Dirty", 0)
                before = head
        total = kernel.memory(server.pid)
    kinds = sorted(
        set().union(*private.values()), key=lambda kind: -sum(private[one][kind] + shared[one][kind] for one in private)
    )
    sets = [counter for name in processes for counter in (private[name], shared[name])]
    rows = [(kind, *(one[kind] for one in sets)) for kind in kinds[:ROWS]]
    rows.append(("others", *(sum(one[kind] for kind in kinds[ROWS:]) for one in sets)))
    rows.append(("all", *(one.total() for one in sets)))
    head = ["what", *(f"{name}, {how}" for name in processes for how in ("private", "shared"))]
    _table("Memory at rest, KiB", head, rows)
    print(
        f"\nanonymous, of all {total.processes} processes: {total.anon / 2**20:.1f} MiB;"
        f" with every file page once: {total.alone / 2**20:.1f} MiB"
    )


# -- system calls ----------------------------------------------------------------------------------


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
    _table("System calls from exec until entitled", ("call", *counts), rows)


def _role(known: int, thread_of: str | None) -> str:
    """Processes come in this order: ours, the first check's child, the worker."""
    return thread_of or ("master", "child", "worker", "later children")[min(known, 3)]


def idle(setup: Setup, options: argparse.Namespace) -> None:
    """Print what wakes each process while nothing happens."""
    with tempfile.TemporaryDirectory() as directory, running(setup, "ours", extra=METERING) as server:
        await_entitled(server)
        await_push(server)
        time.sleep(REST_SECONDS * 5)
        output, processes = Path(directory) / "trace", _processes(server)
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
    _table(f"System calls a second while idle, {options.seconds} s", ("process", "call", "a second"), rows)
    print(f"\ncontext switches a second, not traced: {(after.switches - again.switches) / options.seconds:.2f}")


# -- load ------------------------------------------------------------------------------------------


def flames(setup: Setup, options: argparse.Namespace) -> None:
    """Print where the worker's samples fall under single events, and draw them."""
    spy = shutil.which("py-spy") or (Path(sys.executable).with_name("py-spy"))
    if not Path(spy).exists():
        print("\nload: skipped, no py-spy here")
        return
    with tempfile.TemporaryDirectory() as directory, running(setup, "ours", extra=METERING) as server:
        await_entitled(server)
        await_push(server)
        output, worker = Path(directory) / "stacks", list(_processes(server).values())[-1]
        sampler = subprocess.Popen(
            [str(spy), "record", "--gil", "--threads", "-r", "200", "-f", "raw",
             "-d", str(options.seconds), "-o", str(output), "-p", str(worker)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        push = load.Push(
            port=server.push_port, path=PUSH_PATH["ours"], connections=16, seconds=options.seconds + 2, warm_seconds=0
        )
        found = load.run(push, setup.loader)
        sampler.wait()
        stacks = collections.Counter[tuple[str, ...]]()
        for line in output.read_text().splitlines():
            stack, _, count = line.rpartition(" ")
            stacks[_frames(stack)] += int(count)
    total = stacks.total()
    own, whole = collections.Counter[str](), collections.Counter[str]()
    for stack, count in stacks.items():
        own[stack[-1]] += count
        for frame in set(stack):
            whole[frame] += count
    print(f"\n{found.acknowledged} events acknowledged, {total} samples")
    for title, counter in (("Samples under load, own", own), ("Samples under load, with callees", whole)):
        rows = [(f"`{frame}`", f"{count / total:.1%}") for frame, count in counter.most_common(ROWS)]
        _table(title, ("where", "share"), rows)
    if options.svg:
        Path(options.svg).write_text(_svg(stacks))


def _frames(stack: str) -> tuple[str, ...]:
    """Functions without their lines, from the poller's own on: what started it is in every sample."""
    found = [LINE.sub(r"\1)", frame) for frame in stack.split(";")]
    begins = next((at for at, frame in enumerate(found) if frame.startswith("EventLoop.turn")), 0)
    thread = found[0].partition(": ")[2].rstrip(")") or found[0]
    return (thread, *(found[begins:] if begins else found[1:]))


def _svg(stacks: Mapping[tuple[str, ...], int]) -> str:
    """A flame graph: width is the share of samples, callers below callees; what is too narrow is left out."""
    tree: dict[tuple[str, ...], int] = collections.Counter()
    for stack, count in stacks.items():
        for depth in range(len(stack) + 1):
            tree[stack[:depth]] += count
    total = tree[()]
    wide = {path for path, count in tree.items() if path and count / total >= SHARE_MIN}
    height = (max(map(len, wide)) + 1) * ROW_HEIGHT
    left: dict[tuple[str, ...], float] = {(): 0.0}
    ends: dict[tuple[str, ...], float] = {}
    boxes = []
    for path in sorted(wide, key=lambda one: (len(one), one)):
        parent = path[:-1]
        x = ends.get(parent, left[parent])
        width = tree[path] / total * GRAPH_WIDTH
        left[path], ends[parent] = x, x + width
        y = height - len(path) * ROW_HEIGHT
        label = html.escape(path[-1])
        shown = html.escape(path[-1][: max(0, int(width / 6.5))])
        colour = "#f2a65a" if "sidecar" in label else "#9cc5a1" if ".py" in label else "#c9ccd1"
        boxes.append(
            f'<g><title>{label} {tree[path] / total:.1%}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}"'
            f' height="{ROW_HEIGHT - 1}" fill="{colour}"/><text x="{x + 2:.1f}" y="{y + 11}">{shown}</text></g>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {GRAPH_WIDTH} {height}" font-family="monospace"'
        f' font-size="10"><rect width="100%" height="100%" fill="#fff"/>\n' + "\n".join(boxes) + "\n</svg>\n"
    )


# -- the image -------------------------------------------------------------------------------------


def image(setup: Setup, options: argparse.Namespace) -> None:
    """Print what of the image's virtual environment takes how much. One file at a time in gzip: a layer is smaller."""
    if not options.image:
        print("\nimage: skipped, no --image")
        return
    run = [options.engine, "run", "--rm", "--network", "host", "--entrypoint", IMAGE_PYTHON, options.image, "-I", "-c"]
    found = json.loads(subprocess.run([*run, WALK], check=True, capture_output=True, text=True).stdout)
    order = sorted(found, key=lambda name: -found[name][2])
    shown, rest = order[:ROWS], order[ROWS:]
    rows = [(f"`{name}`", *_sizes([found[name]])) for name in shown]
    rows += [("others", *_sizes([found[name] for name in rest])), ("all", *_sizes(list(found.values())))]
    _table("The image above its base", ("what", "files", "KiB", "KiB in gzip"), rows)
    layers = subprocess.run(
        [options.engine, "history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", options.image],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    rows = [line.split("\t")[:2] for line in layers.splitlines() if not line.startswith(("0B", "0 B"))]
    _table("Layers", ("size", "made by"), [(size, f"`{by[:90]}`") for size, by in rows])


def _sizes(rows: Sequence[Sequence[int]]) -> tuple[int, int, int]:
    files, plain, packed = (sum(row[at] for row in rows) for at in range(3))
    return files, plain // KIB, packed // KIB


PARTS: Mapping[str, Callable[[Setup, argparse.Namespace], None]] = {
    "imports": imports, "memory": memory, "start": start, "idle": idle, "load": flames,
    "image": image,
}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--starts", type=int, default=5, help="starts for imports")
    parser.add_argument("--seconds", type=int, default=10, help="of idling, and of load")
    parser.add_argument("--svg", type=Path, help="where the flame graph goes")
    parser.add_argument("--image", help="an image of the sidecar")
    parser.add_argument("--engine", default="podman", help="what runs it (default: podman)")
    add_arguments(parser)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    setup = setup_from(options)
    bytecode.require()
    with fake_aws(setup):
        for name in options.parts or PARTS:
            if name in ("start", "idle") and shutil.which("strace") is None:
                print(f"\n{name}: skipped, no strace here")
            else:
                PARTS[name](setup, options)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
