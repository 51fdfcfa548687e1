"""Where the sidecar's time and memory go: one Markdown table each, of ours alone.

bench/where.py [PART …] [--starts N] [--seconds N] [--svg FILE] [--image NAME]

imports  each package's own CPU time and bytes kept by Python's allocators, of supervisor and worker (`where_hook.py`):
         the least of several starts, since other work on the machine only adds
options  what options of Python and its allocators change: CPU time and memory of all imports
memory   pages of each process at rest by mapping (`smaps`): private, and shared with the other process since the fork
start    system calls from exec until entitled, by process, counted by strace
idle     what ends each wait while nothing happens, by process, seen by strace
probe    what the poller does for one `GET /entitled`, with nothing beside it
commit   what a commit of the ledger takes, by statement, with nothing beside it
threads  what the worker's threads do for each of many single events: CPU time, and how often they wait
load     where samples under single events fall, with py-spy (`pip install py-spy`), and a flame graph as SVG
image    what the image has above its base, by distribution: bytes, and bytes in gzip

Without a part it prints all; without --image there is no image, and without py-spy or strace not what needs them.
Counts and bytes depend little on what else the machine does; times do.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import bytecode
from arguments import positive_integer
from lib import Setup, add_arguments, fake_aws, setup_from
from where_calls import idle, start
from where_commit import commit
from where_image import image
from where_imports import imports
from where_load import flames
from where_memory import memory
from where_options import options_of_python
from where_probe import probe
from where_threads import threads

PARTS: Mapping[str, Callable[[Setup, argparse.Namespace], None]] = {
    "imports": imports,
    "options": options_of_python,
    "memory": memory,
    "start": start,
    "idle": idle,
    "probe": probe,
    "commit": commit,
    "threads": threads,
    "load": flames,
    "image": image,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default: all")
    parser.add_argument("--starts", type=positive_integer, default=5, help="for imports and options (default: 5)")
    parser.add_argument("--seconds", type=positive_integer, default=10, help="of idling, and of load")
    parser.add_argument("--svg", type=Path, help="where the flame graph goes")
    parser.add_argument("--image", help="an image of the sidecar")
    parser.add_argument("--engine", default="podman", help="what runs it (default: podman)")
    add_arguments(parser)
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
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
