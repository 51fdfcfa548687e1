"""Run `listing check`: what AWS Marketplace would refuse of a chart, an image, a task definition or a manifest.

Invariants:
- Nothing is asked of AWS or of any registry; only an image that is named, and is no file, is read through an engine
  of this machine.
- stdout has the result alone, or nothing where --output names a file; progress goes to stderr, and only to a terminal.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sidecar.cli.commands import Commands
from sidecar.cli.progress import Progress
from sidecar.errors import Exit

if TYPE_CHECKING:
    from sidecar.listing.finding import Target
    from sidecar.listing.report import Report

FORMATS: Final = ("text", "json", "sarif")
USAGE: Final = 2
"""argparse's exit code for a wrong command line."""
NOTHING_GIVEN: Final = """\
listing check: nothing to check. Name at least one, and as many as you like:
  --chart DIR             a Helm chart, by the directory with Chart.yaml
  --image I               an image: an OCI layout, an archive (.tar), or a name that podman, docker or skopeo has
  --task-definition F     an ECS task definition, JSON
  --manifest FILE         a product manifest, before it is sealed into an image
example:
  entitlement-sidecar listing check --chart charts/shop --image shop.tar --task-definition taskdef.json
"""


def add_parsers(commands: Commands) -> None:
    """Add the command `listing` with its actions."""
    command = commands.add_group("listing", "work on what AWS Marketplace lists").add(
        "check",
        run,
        "name what AWS Marketplace would refuse of charts, images, task definitions and manifests; sends nothing",
        "0 nothing but notes, 1 findings; with --strict, a rule that was not checked; 2 wrong command line",
        "entitlement-sidecar listing check --chart charts/shop --image shop.tar --format sarif --output listing.sarif",
    )
    _add_targets(command)
    command.add_argument(
        "--ignore", metavar="RULE", action="append", default=[], help="a rule to leave out; may be repeated; counted"
    )
    command.add_argument("--format", choices=FORMATS, help="default: text. sarif is for code scanning")
    command.add_argument("--json", action="store_true", help="the same as --format json")
    command.add_argument("--output", metavar="FILE", type=Path, help="write the result there instead of to stdout")
    command.add_argument("--strict", action="store_true", help="end with 1 where a rule could not be checked, too")


def _add_targets(command: argparse.ArgumentParser) -> None:
    for flag, metavar, what in (
        ("--chart", "DIR", "a Helm chart, by its directory"),
        ("--image", "I", "an OCI layout, an archive (.tar), or a name that podman, docker or skopeo has"),
        ("--task-definition", "F", "an ECS task definition, JSON"),
        ("--manifest", "FILE", "a product manifest"),
    ):
        command.add_argument(flag, metavar=metavar, action="append", default=[], help=f"{what}; may be repeated")


def run(args: argparse.Namespace) -> int:
    """Check everything that is named, and write the result. Returns 0, 1, or 2 for a wrong command line."""
    from sidecar.listing.report import report_of

    targets = _targets(args)
    fault = _fault(args, targets)
    if fault:
        sys.stderr.write(fault)
        return USAGE
    progress = Progress()
    report = report_of(targets, frozenset(args.ignore), lambda one: progress.show(f"checking {one.name}"))
    progress.clear()
    if not _write(report, args):
        return Exit.FAILED
    return Exit.FAILED if report.refused or (args.strict and report.unchecked) else Exit.OK


def _targets(args: argparse.Namespace) -> list[Target]:
    from sidecar.listing.finding import Kind, Target

    return [Target(kind=kind, name=name) for kind in Kind for name in getattr(args, kind.value.replace("-", "_"))]


def _fault(args: argparse.Namespace, targets: list[Target]) -> str:
    """Return what is wrong with the command line, empty where nothing is."""
    if not targets:
        return NOTHING_GIVEN
    if args.json and args.format not in (None, "json"):
        return f"listing check: --json and --format {args.format} contradict each other. Leave one out.\n"
    if args.output and any(args.output.absolute() == Path(one.name).absolute() for one in targets):
        return f"listing check: --output {args.output} is what is to be checked. Name another file.\n"
    return "".join(_unknown(id_) for id_ in args.ignore)


def _unknown(id_: str) -> str:
    from difflib import get_close_matches

    from sidecar.listing.table import BY_ID

    if id_ in BY_ID:
        return ""
    near = get_close_matches(id_, BY_ID, n=1, cutoff=0.5)
    there = f"Did you mean {near[0]}?" if near else f"Rules: {', '.join(BY_ID)}."
    return f"listing check: --ignore {id_!r} is no rule. {there}\n"


def _write(report: Report, args: argparse.Namespace) -> bool:
    """Write the result. Returns False where the file cannot be written."""
    from sidecar.listing.text import summary

    content = rendered(report, "json" if args.json else args.format or "text")
    if args.output is None:
        sys.stdout.write(content)
        return True
    try:
        args.output.write_bytes(content.encode("utf-8", "replace"))
    except OSError as exc:
        sys.stderr.write(f"listing check: --output {args.output} cannot be written: {exc.strerror}.\n")
        return False
    sys.stderr.write(f"{summary(report)}; written to {args.output}\n")
    return True


def rendered(report: Report, form: str) -> str:
    """Return the report in one of FORMATS."""
    from sidecar.listing.document import document
    from sidecar.listing.sarif import sarif
    from sidecar.listing.text import text

    if form == "text":
        return text(report)
    made = document(report) if form == "json" else sarif(report)
    return json.dumps(made, indent=2) + "\n"
