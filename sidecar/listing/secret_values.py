"""Tell a variable, a label, a field or a command that holds a secret, by its value or by its name.

Invariants:
- No value is given out: the kind of the secret alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from sidecar.printable import one_line
from sidecar.secret_forms import kinds

HARMLESS: Final = re.compile(r"|true|false|none|null|yes|no|\d{1,3}|[/.$].*|\*+|<.*>|\w+://[^@]*", re.IGNORECASE)
"""Values under a secret's name that are none: empty, a switch, a path, a variable, a mask, an address."""
NAME: Final = re.compile(
    r".*(?:passw(?:or)?d|passphrase|token|secret(?:key(?:base)?)?|(?:api|licen[cs]e|private|access)key|credentials?)"
    r"(?:\d|hash|base64|value)*",
    re.IGNORECASE,
)
"""A name, without `_` and `-`, that ends like a secret: TOKEN_ISSUER and SECRET_ARN say something about one."""
ASSIGNMENT: Final = re.compile(r"(?<![\w$])([A-Za-z_]\w*)=(\"[^\"]*\"|'[^']*'|\S*)")


def secret_kind(name: str, value: str) -> str:
    """Return what kind of secret stands under a name; empty for none."""
    found = next(kinds(value.encode("utf-8", "surrogateescape")), "")
    if found:
        return found
    if NAME.fullmatch(re.sub(r"[-_.]", "", name)) and not HARMLESS.fullmatch(value):
        return f"a value of {len(one_line(value))} characters under a secret's name"
    return ""


def in_command(command: str, known: Mapping[str, str]) -> Iterator[str]:
    """Yield what secrets stand in a command. `known`: variables that are reported by themselves."""
    for name, quoted in ASSIGNMENT.findall(command):
        value = quoted.strip("\"'")
        if known.get(name) != value and (kind := secret_kind(name, value)):
            yield f"{kind} in {name}"
    yield from kinds(ASSIGNMENT.sub("", command).encode("utf-8", "surrogateescape"))
