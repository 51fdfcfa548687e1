"""Add commands to an argument parser, each with its help, exit codes and an example."""

from __future__ import annotations

import argparse
from collections.abc import Callable


class Commands:
    """The commands of a parser, or the actions of a command."""

    def __init__(self, parser: argparse.ArgumentParser, dest: str, *, required: bool = True) -> None:
        """`dest`: the argument that holds the name of the command."""
        self._parsers = parser.add_subparsers(dest=dest, metavar=dest.upper(), required=required)

    def add(
        self, name: str, run: Callable[[argparse.Namespace], int], does: str, ends: str, example: str
    ) -> argparse.ArgumentParser:
        """Add a command. `does`: its help; `ends`: its exit codes."""
        command = self._parsers.add_parser(
            name,
            help=does,
            description=_sentence(does),
            epilog=f"exit: {ends}\n\nexample:\n  {example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.set_defaults(run=run)
        return command

    def add_group(self, name: str, does: str) -> Commands:
        """Add a command that only has actions, and return them."""
        return Commands(self._parsers.add_parser(name, help=does, description=_sentence(does)), "action")


def _sentence(does: str) -> str:
    return f"{does[0].upper()}{does[1:]}."
