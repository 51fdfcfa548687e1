"""Read the ledger's SQL from its files: named, described statements, and migrations.

Invariants:
- A statement is one statement: `-- name:`, a line that says what it does, and the SQL up to `;`.
- A migration is a file `NNNN_name.sql`; numbers have no gaps.
- A mistake in a file is found when the file is read, not when its statement is needed.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from sidecar.quick_dataclasses import dataclass

HERE: Final = Path(__file__).parent
ROW: Final = re.compile(r"\(\?(?:, \?)*\)")
NAMED: Final = re.compile(r"^-- name: (\w+)\n((?:-- [^\n]+\n)+)(.*?);\n", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Migration:
    """One step of the schema."""

    version: int
    name: str
    statements: tuple[str, ...]


@cache
def statements() -> Mapping[str, str]:
    """Return every named statement: name → SQL."""
    found: dict[str, str] = {}
    for path in sorted((HERE / "sql").glob("*.sql")):
        text = path.read_text("utf-8")
        named = NAMED.findall(text)
        if len(named) != text.count("-- name:"):
            raise ValueError(f"{path.name}: a statement without a name, a description or an end.")
        for name, _, sql in named:
            if name in found:
                raise ValueError(f"{path.name}: {name} is named twice.")
            found[name] = sql.strip()
    return found


def sql(name: str) -> str:
    """Return the statement of that name. Raises KeyError."""
    return statements()[name]


@cache
def sql_of_rows(name: str, rows: int) -> str:
    """Return the statement of that name, which has a row of values, for this many of them."""
    return ROW.sub(lambda row: ", ".join([row[0]] * rows), sql(name), count=1)


def migrations() -> tuple[Migration, ...]:
    """Return every step, the oldest first."""
    steps = []
    for number, path in enumerate(sorted((HERE / "migrations").glob("*.sql")), start=1):
        version, _, name = path.stem.partition("_")
        if int(version) != number:
            raise ValueError(f"{path.name}: migration {number} is missing.")
        steps.append(Migration(version=number, name=name, statements=tuple(split(path.read_text("utf-8")))))
    return tuple(steps)


def split(text: str) -> Iterator[str]:
    """Yield the statements of a script; a trigger with its body is one."""
    pending = ""
    for line in text.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            yield pending.strip()
            pending = ""
    if re.sub(r"--.*", "", pending).strip():
        raise ValueError(f"A statement without an end: {pending.strip()[:60]}")
