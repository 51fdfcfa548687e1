"""Write the reference pages and the JSON Schemas under docs/reference, made from the code.

    python docs/generate.py            write them
    python docs/generate.py --check    compare instead: print what differs, exit 1

What the pages say: `reference_pages`.
"""

from __future__ import annotations

import argparse
import difflib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent
REFERENCE: Final = HERE / "reference"
sys.path[:0] = [str(HERE), str(HERE.parent)]

import reference_pages as pages  # noqa: E402

from sidecar.api import openapi  # noqa: E402
from sidecar.settings import describe  # noqa: E402


def schema(made: Callable[[], object]) -> Callable[[], str]:
    """Return what makes the file of a JSON Schema."""
    return lambda: json.dumps(made(), indent=2, ensure_ascii=False) + "\n"


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "settings.md": pages.settings,
    "reasons.md": pages.reasons,
    "doctor.md": pages.doctor,
    "listing-rules.md": pages.listing_rules,
    "statuses.md": pages.statuses,
    "records.md": pages.records,
    "metering-answers.md": pages.metering_answers,
    "saas-answers.md": pages.saas_answers,
    "push-refusals.md": pages.push_refusals,
    "pod-events.md": pages.pod_events,
    "metrics.md": pages.metrics,
    "log-events.md": pages.log_events,
    "http.md": pages.http,
    "commands.md": pages.commands,
    "settings.schema.json": schema(describe.file_schema),
    "product-manifest.schema.json": schema(describe.manifest_schema),
    "openapi.json": schema(openapi.document),
}
"""File below docs/reference → what makes it."""


def differences(directory: Path) -> str:
    """Return a diff from what the directory holds to what the code makes; empty where they are equal."""
    made = ""
    for name, make in PAGES.items():
        path = directory / name
        before = path.read_text().splitlines(keepends=True) if path.exists() else []
        diff = difflib.unified_diff(before, make().splitlines(keepends=True), f"{name} (file)", f"{name} (code)")
        made += "".join(diff)
    return made


def main(argv: Sequence[str] | None = None, directory: Path = REFERENCE) -> int:
    """Write the pages, or compare them. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="docs/generate.py",
        description="Write the reference pages and JSON Schemas under docs/reference, made from the code.",
        epilog="exit: 0 written, or equal; 1 --check found a difference",
    )
    parser.add_argument("--check", action="store_true", help="compare instead of writing, and print what differs")
    if parser.parse_args(argv).check:
        found = differences(directory)
        sys.stdout.write(found)
        if found:
            sys.stderr.write("docs/reference is not what the code makes. Run: python docs/generate.py\n")
        return 1 if found else 0
    directory.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (directory / name).write_text(make())
    return 0


if __name__ == "__main__":
    sys.exit(main())
