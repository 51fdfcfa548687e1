"""What the image has above its base, by distribution, and its layers."""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Sequence

from lib import Setup
from where_table import KIB, ROWS, table

IMAGE_PYTHON = "/opt/entitlement-sidecar/bin/python"
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
    table("The image above its base", ("what", "files", "KiB", "KiB in gzip"), rows)
    layers = subprocess.run(
        [options.engine, "history", "--no-trunc", "--format", "{{.Size}}\t{{.CreatedBy}}", options.image],
        check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    rows = [line.split("\t")[:2] for line in layers.splitlines() if not line.startswith(("0B", "0 B"))]
    table("Layers", ("size", "made by"), [(size, f"`{by[:90]}`") for size, by in rows])


def _sizes(rows: Sequence[Sequence[int]]) -> tuple[int, int, int]:
    files, plain, packed = (sum(row[at] for row in rows) for at in range(3))
    return files, plain // KIB, packed // KIB
