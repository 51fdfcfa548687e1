"""Tell a variable, a label or a field that holds a secret, by its value or by its name.

Invariants:
- No value is given out: the kind of the secret alone.
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.printable import one_line
from sidecar.secret_forms import SECRET_NAME, kinds

HARMLESS: Final = re.compile(r"|true|false|none|null|yes|no|\d{1,3}|[/.$].*|\*+|<.*>|\w+://[^@]*", re.IGNORECASE)
"""Values under a secret's name that are none: empty, a switch, a path, a variable, a mask, an address."""
NOT_A_VALUE: Final = ("_FILE", "_PATH", "_DIR", "_URL", "_URI", "_NAME", "_ENDPOINT", "_TTL", "_HEADER")
"""Ends of a name that says where a secret is, and not what."""


def secret_kind(name: str, value: str) -> str:
    """Return what kind of secret stands under a name; empty for none."""
    found = next(kinds(value.encode("utf-8", "surrogateescape")), "")
    if found:
        return found
    if SECRET_NAME.search(name) and not name.upper().endswith(NOT_A_VALUE) and not HARMLESS.fullmatch(value):
        return f"a value of {len(one_line(value))} characters under a secret's name"
    return ""
