"""What the image has above its base, by distribution, and its layers."""

from __future__ import annotations

import argparse
import json
import subprocess
import tarfile
import tempfile
import zlib
from collections.abc import Sequence
from typing import IO

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
    table("Layers, the base's first", ("KiB", "bytes in gzip", "made by"), _layers(options.engine, options.image))


def _layers(engine: str, name: str) -> list[tuple[int, int, str]]:
    """What each layer takes as it is, and packed as a registry keeps it (`gzip -6`)."""
    with tempfile.TemporaryFile() as saved:
        subprocess.run([engine, "save", name], check=True, stdout=saved)
        saved.seek(0)
        with tarfile.open(fileobj=saved) as archive:
            (manifest,) = json.load(_member(archive, "manifest.json"))
            history = json.load(_member(archive, manifest["Config"]))["history"]
            makers = [one.get("created_by", "?")[:90] for one in history if not one.get("empty_layer")]
            sizes = [_packed(_member(archive, one)) for one in manifest["Layers"]]
    return [(plain // KIB, packed, f"`{by}`") for (plain, packed), by in zip(sizes, makers, strict=True)]


def _member(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    found = archive.extractfile(name)
    assert found is not None
    return found


def _packed(layer: IO[bytes]) -> tuple[int, int]:
    """Return a layer's bytes, and those in gzip."""
    packer, plain, packed = zlib.compressobj(6, zlib.DEFLATED, 31), 0, 0
    while part := layer.read(1 << 20):
        plain += len(part)
        packed += len(packer.compress(part))
    return plain, packed + len(packer.flush())


def _sizes(rows: Sequence[Sequence[int]]) -> tuple[int, int, int]:
    files, plain, packed = (sum(row[at] for row in rows) for at in range(3))
    return files, plain // KIB, packed // KIB
