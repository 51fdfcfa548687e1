"""Search one target by coverage: `python -m tests.fuzz push --executions 10000000`.

The search begins with the inputs in tests/fuzz/corpus/TARGET; `--add DIR` adds inputs of DIR that reach new code.
Exits with 0 where nothing was found, with 69 without Atheris (`.venv/bin/uv sync --group fuzz`), with 2 for a wrong
argument, and with another code after a finding: the output says where its input lies; `--replay FILE` runs it alone.
"""

from __future__ import annotations

import argparse
import atexit
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from bench.arguments import positive_integer

CORPUS: Final = Path(__file__).parent / "corpus"
NAMES: Final = ("token", "push", "at", "quantities", "tags", "settings", "manifest", "taskdef", "kept", "child", "http")
INPUT_BYTES_MAX: Final = 2048
HANG_SECONDS: Final = 30
"""On the clock, for what never returns. What returns after a second of its own is found by `watch`."""
RESIDENT_MEGABYTES_MAX: Final = 512
"""For an input that takes much at once; a search is at 70. What grows slowly is found by `watch`."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--executions", type=positive_integer, default=-1, help="stop after so many")
    parser.add_argument("--seconds", type=positive_integer, default=0, help="stop after so long")
    parser.add_argument("--seed", type=int, default=1, help="what every choice comes from (1)")
    parser.add_argument("--bytes-alone", action="store_true", help="change bytes, and nothing by the format")
    parser.add_argument("--add", type=Path, metavar="DIR", help="add what reaches new code in DIR to the corpus")
    parser.add_argument("--replay", type=Path, help="run this one input, and nothing else")
    given = parser.parse_args(arguments)
    if given.replay:
        from .targets import TARGETS

        try:
            data = given.replay.read_bytes()
        except OSError as error:
            parser.error(f"argument --replay: {given.replay}: {error.strerror}")
        TARGETS[given.target](data)
        print(f"{len(data)} bytes, and nothing found")
        return 0
    try:
        import atheris
    except ImportError:
        print("Atheris is not installed: .venv/bin/uv sync --group fuzz", file=sys.stderr)
        return 69
    with atheris.instrument_imports(include=["sidecar", "h11", "gunicorn.http", "yaml"]):
        from .mutate import mutator
        from .targets import TARGETS
    work = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, work, True)
    kept = CORPUS / given.target
    folders = [kept, given.add] if given.add else [work, kept]
    flags = ["-merge=1"] if given.add else [f"-runs={given.executions}", f"-max_total_time={given.seconds}"]
    found = Path(tempfile.gettempdir()) / given.target
    change = None if given.bytes_alone else mutator(given.target, lambda data, size_max: atheris.Mutate(data, size_max))
    flags += [f"-seed={given.seed}", f"-artifact_prefix={found}-"]
    search(TARGETS[given.target], [*flags, *map(str, folders)], change=change)
    return 0


def search(
    target: Callable[[bytes], None],
    flags: Sequence[str],
    *,
    hang_seconds: int = HANG_SECONDS,
    change: Callable[[bytes, int, int], bytes] | None = None,
) -> None:
    """Run a target, watched, on what libFuzzer makes of its corpus. The process ends with it."""
    import atheris

    from .watch import Watched

    limits = [
        f"-timeout={hang_seconds}",
        f"-rss_limit_mb={RESIDENT_MEGABYTES_MAX}",
        f"-max_len={INPUT_BYTES_MAX}",
        "-len_control=100",
    ]
    own = {"custom_mutator": change} if change else {}
    atheris.Setup([sys.argv[0], *limits, "-print_final_stats=1", *flags], Watched(target), **own)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
