"""Show on a terminal what a long command does, in one line of stderr.

Invariants:
- Where stderr is no terminal nothing is written: a log or a script gets messages and results alone.
"""

from __future__ import annotations

import sys
from typing import Final, TextIO

CLEAR: Final = "\r\x1b[K"
"""To the line's begin, and clear it (ECMA-48, EL)."""


class Progress:
    """The line of one command."""

    def __init__(self, out: TextIO | None = None) -> None:
        """`out`: stderr, where it is None."""
        self._out = out or sys.stderr
        self._is_terminal = self._out.isatty()

    def show(self, text: str) -> None:
        """Replace what is shown."""
        self._write(f"{CLEAR}{text} …")

    def clear(self) -> None:
        """Remove what is shown."""
        self._write(CLEAR)

    def _write(self, text: str) -> None:
        if self._is_terminal:
            self._out.write(text)
            self._out.flush()
