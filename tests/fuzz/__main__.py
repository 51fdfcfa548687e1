"""Search one target by coverage: `python -m tests.fuzz push --executions 10000000`.

The search begins with the inputs in tests/fuzz/corpus/TARGET; `--add DIR` adds inputs of DIR that reach new code.
Exits with 0 where nothing was found, with 69 without Atheris (`uv sync --group fuzz`), and with another code after a
finding: the output says where its input lies, and `--replay FILE` runs it alone.
"""

from __future__ import annotations

import argparse
import atexit
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

CORPUS: Final = Path(__file__).parent / "corpus"
NAMES: Final = ("token", "push", "at", "quantities", "tags", "settings", "manifest", "taskdef", "kept", "child", "http")
INPUT_BYTES_MAX: Final = 2048


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=NAMES)
    parser.add_argument("--executions", type=int, default=-1, help="stop after so many")
    parser.add_argument("--seconds", type=int, default=0, help="stop after so long")
    parser.add_argument("--seed", type=int, default=1, help="what every choice comes from (1)")
    parser.add_argument("--add", type=Path, metavar="DIR", help="add what reaches new code in DIR to the corpus")
    parser.add_argument("--replay", type=Path, help="run this one input, and nothing else")
    given = parser.parse_args()
    if given.replay:
        from .targets import TARGETS

        TARGETS[given.target](given.replay.read_bytes())
        return 0
    try:
        import atheris
    except ImportError:
        print("Atheris is not installed: uv sync --group fuzz", file=sys.stderr)
        return 69
    with atheris.instrument_imports(include=["sidecar", "gunicorn.http", "yaml"]):
        from .targets import TARGETS
        from .watch import Watched
    watched = Watched(TARGETS[given.target])
    work = Path(tempfile.mkdtemp(prefix="fuzz-"))
    atexit.register(shutil.rmtree, work, True)
    kept = CORPUS / given.target
    folders = [str(kept), str(given.add)] if given.add else [str(work), str(kept)]
    flags = ["-merge=1"] if given.add else [f"-runs={given.executions}", f"-max_total_time={given.seconds}"]
    limits = ["-timeout=30", "-rss_limit_mb=1024", f"-max_len={INPUT_BYTES_MAX}", f"-seed={given.seed}"]
    found = f"{Path(tempfile.gettempdir()) / given.target}-"
    shown = ["-print_final_stats=1", f"-artifact_prefix={found}"]
    atheris.Setup([sys.argv[0], *flags, *limits, *shown, *folders], watched)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
