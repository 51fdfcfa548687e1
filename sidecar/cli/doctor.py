"""Run `doctor`: print each check with what was seen, the rule and the fix.

Invariants:
- Nothing is registered or billed and no lock is taken: a sidecar may run beside it. What is written is a small file in
  the state directory, removed at once. Where no sidecar answers its ports are bound for a moment, and not listened on.
- stdout has the result alone; progress goes to stderr, and only to a terminal.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TextIO

from sidecar.cli import endpoint, local_client
from sidecar.cli.commands import Commands
from sidecar.cli.progress import Progress
from sidecar.errors import Exit

if TYPE_CHECKING:
    from sidecar.doctor.context import Context

STATUS_SECONDS: Final = 5.0
COLUMN: Final = 12
"""Characters, on a terminal; elsewhere columns are apart by tabs, for `cut` and `column`."""


def add_parser(commands: Commands) -> None:
    """Add the command `doctor`."""
    command = commands.add(
        "doctor",
        _doctor,
        "check settings, identity, network, AWS and disk, and say how to mend what fails; registers and bills nothing",
        "0 nothing fails, 1 otherwise",
        "kubectl exec POD -c entitlement-sidecar -- entitlement-sidecar doctor",
    )
    command.add_argument("--json", action="store_true", help="print one JSON document instead of a table")


def _doctor(args: argparse.Namespace) -> int:
    return run(context_of(args.manifest_path), args.json)


def context_of(manifest_path: Path) -> Context:
    """Return what doctor looks at in this container."""
    from sidecar.doctor.context import Context
    from sidecar.doctor.environment import with_first_process

    return Context(
        env=with_first_process(os.environ),
        manifest_path=manifest_path,
        read_status=lambda: read_status(manifest_path),
        read_gate=lambda: read_gate(manifest_path),
    )


def run(context: Context, as_json: bool, out: TextIO | None = None, progress: TextIO | None = None) -> int:
    """Print the diagnosis. Returns 0 where nothing fails, else 1."""
    from sidecar.doctor.diagnosis import diagnose

    out, shown = out or sys.stdout, Progress(progress)
    diagnosis = diagnose(context, begun=lambda id_: shown.show(f"checking {id_}"))
    shown.clear()
    document = diagnosis.as_json()
    if as_json:
        out.write(json.dumps(document, ensure_ascii=False) + "\n")
    else:
        text = table(document)
        out.write(text.expandtabs(COLUMN) if out.isatty() else text)
    return Exit.OK if diagnosis.ok else Exit.FAILED


def table(document: Mapping[str, object]) -> str:
    """Return the document of `--json` as lines: check, status and what was seen, apart by tabs; rule and fix below."""
    checks = document["checks"]
    assert isinstance(checks, list)
    text = "CHECK\tSTATUS\tSEEN\n"
    for one in checks:
        text += f"{one['id']}\t{one['status']}\t{' '.join(one['seen'].split())}\n"
        if one["status"] in ("fail", "warn"):
            text += f"\trule\t{one['rule']}\n"
        text += "".join(f"\tfix\t{line}\n" for line in one["fix"].splitlines() if line.strip())
    failing = [one["id"] for one in checks if one["status"] == "fail"]
    return text + (f"{len(failing)} failing: {', '.join(failing)}\n" if failing else "nothing fails\n")


def read_status(manifest: Path) -> Mapping[str, object]:
    """Return the status of the sidecar of this container. Raises OSError, ValueError or SettingsError."""
    where = endpoint.api(str(manifest))
    headers = where.headers() | local_client.authorization(str(manifest))
    status, found = local_client.get_json(where.addresses, "GET /v1/status", STATUS_SECONDS, headers)
    if status != 200:
        raise ValueError(f"{where.shown} answers {status} ({found.get('reason')})")
    return found


def read_gate(manifest: Path) -> tuple[int, Mapping[str, object]]:
    """Return status and body of `/entitled` on the probe listener. Raises what `read_status` raises."""
    return local_client.read_gate(endpoint.probe(str(manifest)), STATUS_SECONDS)
