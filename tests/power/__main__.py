"""Cut the power many times: `python -m tests.power --cuts 10000 --seed 1`; fail each call once: `--each`.

Exits with 0 where everything acknowledged was there after each cut, with 1 otherwise, and with 69 without a C compiler.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.arguments import positive_integer
from sidecar.cli.progress import Progress
from tests.power import trace
from tests.power.campaign import Campaign, Report
from tests.power.sweep import Sweep

MEMORY = Path("/dev/shm")
"""Where a sync costs nothing: the disk is a model."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.power", description=__doc__)
    parser.add_argument("--cuts", type=positive_integer, default=1_000, help="how often the power fails (1000)")
    parser.add_argument("--seed", type=int, default=1, help="what every choice comes from (1)")
    parser.add_argument(
        "--each",
        type=positive_integer,
        nargs="?",
        const=0,
        metavar="MOST",
        help="instead of --cuts: short lives of a ledger, its kept files and its successor, again and again; each time "
        "one call fails alone (EIO, ENOSPC, EROFS, a short write): every call once, or MOST of each life and fault",
    )
    parser.add_argument("--pushes", type=positive_integer, default=24, help="pushes of each client in one life (24)")
    parser.add_argument("--unsynced", action="store_true", help="a disk that lies about fsync: a loss must be found")
    parser.add_argument("--keep", type=Path, help="a directory for the images and traces of failures")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    given = parser.parse_args(arguments)
    if not trace.available():
        print(f"no C compiler: {trace.NEEDS}", file=sys.stderr)
        return 69
    progress = Progress()
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as work:
        if given.each is None:
            campaign = Campaign(given.seed, Path(work), given.keep, unsynced=given.unsynced)
            report = campaign.run(given.cuts, pushes=given.pushes, show=progress.show)
        else:
            sweep = Sweep(given.seed, Path(work), given.keep, unsynced=given.unsynced)
            report = sweep.run_each(given.each, show=progress.show)
    progress.clear()
    print(report.as_json() if given.json else words(report))
    return 1 if report.failures else 0


def words(report: Report) -> str:
    """Return the report for a person."""
    lines = [
        f"seed {report.seed}: {report.cuts} cuts in {report.lives} lives, {report.seconds} s",
        f"calls recorded: {report.calls}; pushes acknowledged: {report.acknowledged}; looked for: {report.judged}",
        f"cuts by what was lost: {dict(report.losses)}; last commit left out: {report.in_doubt}",
        *([f"calls that failed alone: {report.failed.total()}, {dict(report.failed)}"] if report.failed else []),
        f"lives by fault: {dict(report.faults)}; refused meanwhile: {dict(report.refused)}",
        f"failures: {len(report.failures)}",
    ]
    return "\n".join([*lines, *map(str, report.failures[:10])])


if __name__ == "__main__":
    sys.exit(main())
