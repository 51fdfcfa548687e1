"""Run `usage reconcile`: compare exports with what AWS billed, and write the result.

Invariants:
- 0 means that what was compared is equal; 65 that nothing was compared, because something could not be read.
- A file is written whole or not at all. One that this command did not write is never replaced: a wrong argument must
  not destroy an export.
- Data go to stdout, messages and progress to stderr.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from sidecar.audit import adjustments, page, report
from sidecar.audit.input_files import STDIN
from sidecar.audit.outcome import Outcome
from sidecar.audit.reconcile import Inputs, reconcile
from sidecar.audit.spill import Spill, SpillFailed, temporary_spill
from sidecar.cli.progress import Progress
from sidecar.clock import SystemClock
from sidecar.errors import Exit
from sidecar.ledger import kept_file

PROGRESS_SECONDS: Final = 0.2
MARKS: Final = {"--html": page.MADE_BY, "--adjustments": f'{{\n  "made_by": "{adjustments.MADE_BY}"'}
"""Flag → what a file that this command wrote begins with."""
REFUSED: Final = "nothing was compared: what is named above could not be read"


class Reading:
    """Shows how far reading is."""

    def __init__(self) -> None:
        self.progress = Progress()
        self._shown_at = 0.0

    def advance(self, name: str, done: int, size: int) -> None:
        """Show that so much of a file has been read."""
        now = time.monotonic()
        if now - self._shown_at < PROGRESS_SECONDS:
            return
        self._shown_at = now
        percent = f" {min(done * 100 // size, 100)} %" if size else ""
        self.progress.show(f"{Path(name).name}{percent}")


def run(inputs: Inputs, *, html: Path | None = None, adjust: Path | None = None, as_json: bool = False) -> int:
    """Compare and write. Returns 0 equal, 1 different, 65 something could not be read or written."""
    files = {"--html": html, "--adjustments": adjust}
    faults = [*_repeated_stdin(inputs), *_foreign(files)]
    if faults:
        return _refuse(faults)
    try:
        with temporary_spill() as spill:
            return _run(inputs, spill, files, as_json)
    except SpillFailed as exc:
        return _refuse([str(exc)])


def _run(inputs: Inputs, spill: Spill, files: Mapping[str, Path | None], as_json: bool) -> int:
    reading = Reading()
    outcome = reconcile(inputs, spill, reading.advance)
    reading.progress.clear()
    if outcome.faults:
        return _refuse([*outcome.faults, REFUSED])
    try:
        _write_files(outcome, spill, files)
    except OSError as exc:
        return _refuse([f"{exc.filename}: cannot be written: {exc.strerror}."])
    lines = report.as_json if as_json else report.tables
    sys.stdout.writelines(lines(outcome, spill.differences()))
    sys.stdout.flush()
    sys.stderr.writelines(report.summary(outcome))
    return Exit.OK if outcome.equal else Exit.FAILED


def _write_files(outcome: Outcome, spill: Spill, files: Mapping[str, Path | None]) -> None:
    if path := files["--html"]:
        found = spill.differences(page.DIFFERENCES_MAX)
        kept_file.replace(path, page.page(outcome, found, SystemClock().now()))
    if path := files["--adjustments"]:
        document = adjustments.draft(spill.overbilled())
        kept_file.replace(path, json.dumps(document, indent=2) + "\n")
        sys.stderr.write(f"{path}: a draft for you to review; nothing was sent to AWS\n")


def _repeated_stdin(inputs: Inputs) -> Iterable[str]:
    given = (*inputs.exports, *inputs.cloudtrail, *inputs.daily_usage)
    if given.count(STDIN) > 1:
        yield f"{STDIN}: stdin can be read once; it is given {given.count(STDIN)} times."


def _foreign(files: Mapping[str, Path | None]) -> Iterable[str]:
    """Yield a fault for each file that exists and was not written by this command, and where both are the same."""
    named = [path for path in files.values() if path]
    if len({path.absolute() for path in named}) < len(named):
        yield f"{named[0]}: --html and --adjustments name the same file. Name two."
    for flag, path in files.items():
        if path and (fault := _unwritable(path, MARKS[flag])):
            yield f"{path}: {fault} ({flag})"


def _unwritable(path: Path, mark: str) -> str:
    try:
        with path.open("rb") as file:
            begin = file.read(len(mark.encode()))
    except FileNotFoundError:
        return "" if path.absolute().parent.is_dir() else "its directory does not exist. Make it first."
    except OSError as exc:
        return f"cannot be replaced: {exc.strerror}. Name another file."
    if not begin or begin == mark.encode():
        return ""
    return "exists, and this command did not write it. Name another file, or remove it."


def _refuse(faults: Iterable[str]) -> int:
    sys.stderr.writelines(f"{fault}\n" for fault in faults)
    return Exit.REFUSED
