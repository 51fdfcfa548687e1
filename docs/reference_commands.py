"""Make the tables and sections of the commands from the parser of the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import reference_data as data
from markdown_table import anchor, cell, table

from sidecar.cli.parser import build_parser
from sidecar.settings import SETTINGS

PROGRAM: Final = "entitlement-sidecar"


def exit_codes() -> str:
    return table(("Exit code", "Meaning"), ((str(code), text) for code, text in sorted(data.EXIT_CODES.items())))


def commands() -> str:
    rows = ((f"[`{name}`](#{anchor(name)})", cell(help_)) for name, help_, one in leaves(build_parser()) if one.epilog)
    return table(("Command", "What it does"), rows)


def command_sections() -> str:
    return "\n".join(_command(name, one) for name, _, one in leaves(build_parser()) if one.epilog)


def leaves(parser: argparse.ArgumentParser, name: str = "") -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Yield every command below a parser, with its one-line help, in the order of the program's own help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help or "" for one in action._choices_actions}
            for word, command in action.choices.items():
                full = f"{name} {word}".strip()
                yield full, helps[word], command
                yield from leaves(command, full)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    ends, examples = _epilog(parser.epilog or "")
    options = _options(parser)
    made = f"### `{name}`\n\n{cell(' '.join((parser.description or '').split()))}\n\n"
    made += f"```text\n{_usage(name, parser, options)}\n```\n\n"
    if options:
        made += table(("Option", "Meaning"), ((f"`{cell(_spelled(one))}`", _meaning(parser, one)) for one in options))
        made += "\n"
    if _takes_settings(parser):
        made += "Each [setting](settings.md) is an option too: `SIDECAR_ON_DENIED` is `--on-denied`.\n\n"
    language = "text" if re.match(r"[A-Z]+:? ", examples) else "sh"  # a line of a file, not of a shell
    return made + f"Exit codes: {ends}.\n\n```{language}\n{examples}\n```\n"


def _takes_settings(parser: argparse.ArgumentParser) -> bool:
    return any(group.title == "settings" for group in parser._action_groups)


def _epilog(text: str) -> tuple[str, str]:
    """Return how a command ends, and its examples."""
    ends = re.search(r"^exit(?: status)?: (.+)$", text, re.MULTILINE)
    examples = re.search(r"^examples?:\n(.+?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    if ends is None or examples is None:
        raise ValueError(f"a command's help says how it ends and has an example: {text!r}")
    lines = [line.removeprefix("  ") for line in examples[1].rstrip().splitlines()]
    # Where examples have a sentence each, their commands stand two columns further in.
    deeper = any(line.startswith("  ") for line in lines)
    shown = [line.removeprefix("  ") if line.startswith("  ") else f"# {line}" for line in lines] if deeper else lines
    return ends[1].rstrip("."), "\n".join(shown)


def _options(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return what a command takes, without its help, the commands below it and the settings."""
    skipped = argparse._HelpAction | argparse._SubParsersAction
    settings_flags = {one.flag for one in SETTINGS} if _takes_settings(parser) else set()
    return [
        one for one in parser._actions if not isinstance(one, skipped) and not settings_flags & set(one.option_strings)
    ]


def _usage(name: str, parser: argparse.ArgumentParser, options: Sequence[argparse.Action]) -> str:
    """Return the command's usage in one line. `argparse` wraps its own by the width of the terminal."""
    if parser.usage:
        return parser.usage
    groups: dict[int, Any] = {
        id(one): group for group in parser._mutually_exclusive_groups for one in group._group_actions
    }
    words, done = [PROGRAM, name], set[int]()
    for one in options:
        group = groups.get(id(one))
        if group is None:
            words.append(_spelled(one) if one.required and one.nargs != "?" else f"[{_spelled(one)}]")
        elif id(group) not in done:
            done.add(id(group))
            words.append("[" + " | ".join(_spelled(each) for each in group._group_actions) + "]")
        words[-1] += "…" if "may be repeated" in (one.help or "") else ""
    if _takes_settings(parser):
        words.append("[--SETTING V]…")
    return " ".join(words)


def _spelled(option: argparse.Action) -> str:
    value = option.metavar or (
        "{" + ",".join(map(str, option.choices)) + "}" if option.choices else option.dest.upper()
    )
    value = f"{value}…" if option.nargs == "+" else str(value)
    if not option.option_strings:
        return value
    return option.option_strings[-1] + (f" {value}" if option.nargs != 0 else "")


def _meaning(parser: argparse.ArgumentParser, option: argparse.Action) -> str:
    help_ = parser._get_formatter()._expand_help(option)
    return cell(help_).replace("see below", "see [The emulator](emulator.md)")
