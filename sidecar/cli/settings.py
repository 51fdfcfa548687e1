"""Show the effective settings, their JSON Schema or their table, and add a flag for each setting to a parser."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Collection, Sequence

from sidecar.cli.commands import Commands
from sidecar.settings import SETTINGS, Setting, Settings, describe


def add_parser(commands: Commands) -> None:
    """Add the command `settings`."""
    command = commands.add(
        "settings",
        show,
        "show the effective settings, each with its source",
        "0, 78 bad settings",
        "entitlement-sidecar settings | column -t -s $'\\t'",
    )
    add_flags(command)
    form = command.add_mutually_exclusive_group()
    form.add_argument("--schema", action="store_true", help="print the JSON Schema of the settings file instead")
    form.add_argument("--markdown", action="store_true", help="print the table of all settings as Markdown instead")


def add_flags(
    parser: argparse.ArgumentParser, more: Sequence[Setting] = (), unlisted: Collection[str] = frozenset()
) -> None:
    """Add `--config` and a flag for each setting, and for those in `more`. `unlisted`: names not shown in the help."""
    group = parser.add_argument_group(
        "settings",
        "each also as SIDECAR_… or in the file of --config. Where listeners move, use one of these two: healthcheck,"
        " wait, exec, recheck, report and usage read them, not the flags of another process",
    )
    group.add_argument("--config", metavar="FILE", help="YAML file with settings under their lower-case names")
    for setting in (*SETTINGS, *more):
        default = setting.default_text.replace("`", "") or setting.default
        meaning = f"{setting.meaning.replace('`', '')} (default: {default})".replace("%", "%%")
        listed = setting.name not in unlisted
        group.add_argument(setting.flag, metavar="V", help=meaning if listed else argparse.SUPPRESS)


def flags(args: argparse.Namespace, more: Sequence[Setting] = ()) -> dict[str, str]:
    """Return the settings given as flags, by name."""
    names = ["config", *(setting.name for setting in (*SETTINGS, *more))]
    return {name: value for name in names if (value := getattr(args, name, None)) is not None}


def show(args: argparse.Namespace) -> int:
    """Print what was asked for. Raises SettingsError."""
    if args.schema:
        sys.stdout.write(json.dumps(describe.file_schema(), indent=2, ensure_ascii=False) + "\n")
    elif args.markdown:
        sys.stdout.write(describe.markdown())
    else:
        sys.stdout.write(describe.effective(Settings.load(os.environ, flags(args), args.manifest_path)))
    return 0
