"""Read the files that settings come from, once for a process and the workers that follow in it.

Invariants:
- What was read is plain JSON, under what it was read as and the file's path: who is given it reads the same settings,
  by the same rules, whatever has become of the files since.
- It holds what the files hold, an API token too: it is for memory, never for a disk or a log.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class Files:
    """The files, as far as they were read."""

    def __init__(self, contents: Mapping[str, Any] | None = None) -> None:
        """`contents`: what another process has read; what is missing there is read."""
        self.contents = dict(contents or {})

    def read(self, what: str, path: Path, by: Callable[[Path], T]) -> T:
        """Return what `by` reads in this file: plain JSON, but for faults. Raises what `by` raises."""
        name = f"{what} {path}"
        if name not in self.contents:
            self.contents[name] = by(path)
        found: T = self.contents[name]
        return found

    def has(self, path: Path) -> bool:
        """Return whether there is such a file, readable or not. Raises OSError where that cannot be told."""
        return self.read("presence", path, _is_there)


def _is_there(path: Path) -> bool:
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
