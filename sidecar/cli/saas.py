"""Run the SaaS service, and hand it notices from a script.

Invariants:
- The service's own modules, and what only it needs of third parties, are imported when it runs.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator

from sidecar.cli import settings
from sidecar.cli.commands import Commands
from sidecar.cli.output import run_printing
from sidecar.errors import Exit
from sidecar.settings.saas_table import OF_A_SIDECAR, SAAS_SETTINGS
from sidecar.strict_json import shown

ABOUT = (
    "Meter the customers of a SaaS product. A service beside the product, in the seller's account: it resolves"
    " registration tokens, takes usage for each customer over HTTP, and sends it to AWS Marketplace each hour"
    " (BatchMeterUsage). It keeps its state in SQLite, for one replica, or in PostgreSQL, for any number.\n\n"
    "`saas notices` reads subscription notices (SNS or EventBridge, as JSON) from stdin and hands them to the service"
    " that runs here. `saas migrate` prints the SQL of its tables."
)


def add_parser(commands: Commands) -> None:
    """Add the command `saas`."""
    command = commands.add(
        "saas",
        run,
        "be the metering service of a SaaS product, in the seller's account",
        "0 after SIGTERM, 69 the database cannot be opened, 78 bad settings; notices: 0 all taken, 65 one refused, 69"
        " no service answers; migrate: 0 printed, 65 no such schema",
        "SIDECAR_PRODUCT_CODE=… SIDECAR_DIMENSIONS=requests SIDECAR_DATABASE_URL=postgresql://saas@db/saas"
        " entitlement-sidecar saas",
    )
    command.description = ABOUT
    command.add_argument(
        "action",
        nargs="?",
        choices=("notices", "migrate"),
        help="notices: hand over the notices on stdin; migrate: print the statements that make the tables, for a"
        " database administrator (default: serve, which makes them itself)",
    )
    command.add_argument(
        "--sql", choices=("postgresql", "sqlite"), default="postgresql", help="migrate: for which database"
    )
    command.add_argument(
        "--from",
        dest="since",
        metavar="SCHEMA",
        help="migrate: print only what brings this schema, as `SELECT version_num FROM saas_schema` has it, to the"
        " newest (default: make all tables)",
    )
    settings.add_flags(command, SAAS_SETTINGS, unlisted=OF_A_SIDECAR)


def run(args: argparse.Namespace) -> int:
    """Serve, or hand over notices. Raises SettingsError."""
    if args.action == "notices":
        return run_printing(lambda: notices(sys.stdin.buffer.read().decode("utf-8", "replace")))
    from sidecar.app import saas

    if args.action == "migrate":
        return run_printing(lambda: migrate(args.sql, args.since))
    return saas.run(os.environ, settings.flags(args, SAAS_SETTINGS))


def migrate(dialect: str, since: str | None = None) -> int:
    """Print the statements that make the service's tables, from nothing or from a schema. Returns the exit code."""
    from sidecar.app import saas

    if fault := saas.missing():
        sys.stderr.write(f"{fault}\n")
        return Exit.CONFIG
    from sidecar.saas import migrating

    known = migrating.revisions()
    if since is not None and since not in known:
        sys.stderr.write(f"--from is {shown(since)}; this version knows the schemas {', '.join(known)}.\n")
        return Exit.REFUSED
    sys.stdout.write(migrating.sql(dialect, since))
    return Exit.OK


def notices(text: str) -> int:
    """Send each JSON document of a text to the service of this container. Returns the exit code."""
    from sidecar.cli import usage

    code = Exit.OK
    taken = 0
    try:
        for number, document in enumerate(_documents(text), 1):
            try:
                usage.request("POST", "/v1/notices", document.encode())
                taken += 1
            except usage.NoResponse:
                raise
            except usage.CommandFailed as exc:
                sys.stderr.write(f"notice {number}: {exc}\n")
                code = exc.code
    except usage.CommandFailed as exc:
        sys.stderr.write(f"{exc}\n")
        return exc.code
    except ValueError as exc:
        sys.stderr.write(f"stdin {exc}; give JSON documents, one after the other.\n")
        return Exit.REFUSED
    sys.stdout.write(f"{taken} taken\n")
    return code


def _documents(text: str) -> Iterator[str]:
    """Yield the JSON documents of a text. Raises ValueError where it holds anything else."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        try:
            _, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            raise ValueError(f"is not JSON at character {at}") from None
        yield text[at:end]
        at = end
