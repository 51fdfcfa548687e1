"""Where the worker's samples fall under single events, seen by py-spy, and a flame graph of them."""

from __future__ import annotations

import argparse
import collections
import html
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import load
from lib import METERING, PUSH_PATH, Setup, running
from probes import await_entitled, await_push
from where_processes import processes_of
from where_table import ROWS, table

LINE = re.compile(r"(\(.*):\d+\)$")
GRAPH_WIDTH, ROW_HEIGHT, SHARE_MIN = 1100, 16, 0.004


def flames(setup: Setup, options: argparse.Namespace) -> None:
    """Print where the worker's samples fall under single events, and draw them."""
    spy = shutil.which("py-spy") or (Path(sys.executable).with_name("py-spy"))
    if not Path(spy).exists():
        print("\nload: skipped, no py-spy here")
        return
    with tempfile.TemporaryDirectory() as directory, running(setup, "ours", extra=METERING) as server:
        await_entitled(server)
        await_push(server)
        output, worker = Path(directory) / "stacks", list(processes_of(server).values())[-1]
        sampler = subprocess.Popen(
            [str(spy), "record", "--gil", "--threads", "-r", "200", "-f", "raw",
             "-d", str(options.seconds), "-o", str(output), "-p", str(worker)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        push = load.Push(
            port=server.push_port, path=PUSH_PATH["ours"], connections=16, seconds=options.seconds + 2, warm_seconds=1
        )
        found = load.run(push, load.chosen(setup.loader))
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
        table(title, ("where", "share"), rows)
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
