"""Run `ecs render`: a file in, JSON on stdout, diff and notes on stderr.

Invariants:
- The input file is never written, unless --output names it.
- What is written is UTF-8 without a byte order mark, as `aws --cli-input-json` takes it, whatever was read.
- The diff is against the input as RegisterTaskDefinition takes it: a person sees every change before anything is
  registered, and no difference that is only the wrapping of a described definition.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sidecar.cli.commands import Commands
from sidecar.errors import Exit, Problem
from sidecar.taskdef import document
from sidecar.taskdef.container import LAUNCH_TYPES
from sidecar.taskdef.render import CannotRender, RenderOptions, as_text, difference, render
from sidecar.taskdef.schema import Json, registrable


def add_parsers(commands: Commands) -> None:
    """Add the command `ecs` with its actions."""
    command = commands.add_group("ecs", "work on ECS task definitions").add(
        "render",
        run,
        "merge the sidecar into a task definition: JSON on stdout, what changes on stderr",
        "0 merged, 78 not (stderr says what to change)",
        "entitlement-sidecar ecs render taskdef.json --gate app --image my-registry/my-gate:1.0.0 --output gated.json",
    )
    command.add_argument("file", metavar="TASKDEF", help="the definition, as registered or described; - reads stdin")
    command.add_argument(
        "--gate", metavar="NAME", action="append", default=[], help="a container to hold back; may be repeated"
    )
    command.add_argument("--image", metavar="I", help="the sidecar's image, with your product sealed in")
    command.add_argument(
        "--launch-type", choices=LAUNCH_TYPES, help="default: FARGATE where the definition requires it, else EC2"
    )
    command.add_argument("--product-code", metavar="C", help="only where the image's manifest does not name it")
    command.add_argument("--output", metavar="F", help="write the JSON there instead of to stdout")


def run(args: argparse.Namespace) -> int:
    """Render one file. Returns 0, or 78 where it cannot be merged."""
    options = RenderOptions(
        gate=args.gate, image=args.image, launch_type=args.launch_type, product_code=args.product_code
    )
    try:
        text, notes = _rendered(args.file, options)
        if args.output:
            _write(Path(args.output), text)
    except CannotRender as exc:
        count = len(exc.problems)
        lines = [f"{count} thing{'' if count == 1 else 's'} to change; nothing was written."]
        sys.stderr.write("\n".join([*lines, *(f"  - {problem}" for problem in exc.problems)]) + "\n")
        return int(Exit.CONFIG)
    sys.stderr.write(notes)
    if not args.output:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
    return int(Exit.OK)


def _rendered(name: str, options: RenderOptions) -> tuple[str, str]:
    """Return the JSON, and the diff with the notes."""
    try:
        given = _read(name)
        made, notes = render(given, options)
        changes = difference(registrable(given), made, name) or "nothing changes\n"
        return as_text(made), changes + "".join(f"note: {note}\n" for note in notes)
    except RecursionError as exc:
        raise document.too_deep(name) from exc


def _read(name: str) -> Json:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as exc:
        raise CannotRender([Problem(setting=name, fault=f"cannot be read: {exc.strerror}.")]) from exc
    return document.parse(content, name)


def _write(path: Path, text: str) -> None:
    try:
        path.write_bytes(text.encode())
    except OSError as exc:
        raise CannotRender([Problem(setting="--output", fault=f"{path} cannot be written: {exc.strerror}.")]) from exc
