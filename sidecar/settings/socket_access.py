"""Parse who may connect to a Unix socket: its mode and its group.

Invariants:
- A mode is octal text. A YAML number is refused: 0660 without quotes is 432 to YAML.
- The owner can always read and write: the sidecar's own commands connect as the user it runs as.
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.settings.parsers import text

OWNER: Final = 0o600
GID_MAX: Final = 2**32 - 2
"""The last one, -1, means "leave as it is" to chown(2)."""
GROUP_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")


class FileMode(int):
    """Permission bits, written in octal."""

    def __str__(self) -> str:
        return f"{self:04o}"


def file_mode(value: object) -> FileMode:
    """Return the permission bits of a socket."""
    if not isinstance(value, str):
        raise ValueError(f'{value!r} is a number to YAML; put the octal mode in quotes: "0660".')
    written = text(value)
    if not re.fullmatch(r"0?[0-7]{3}", written):
        raise ValueError(f"{written!r} is not an octal mode from 0600 to 0777.")
    mode = FileMode(written, 8)
    if mode & OWNER != OWNER:
        raise ValueError(f"{written!r} keeps the sidecar's own user out: the first digit after the 0 is 6 or 7.")
    return mode


def group(value: object) -> str:
    """Return a group's number or name. A name is looked up where the socket is made."""
    written = str(value) if isinstance(value, int) and not isinstance(value, bool) else text(value)
    fine = int(written) <= GID_MAX if re.fullmatch(r"[0-9]{1,10}", written) else GROUP_NAME.fullmatch(written)
    if not fine:
        raise ValueError(f"{written!r} is not a group: a number up to {GID_MAX}, or a name.")
    return written
