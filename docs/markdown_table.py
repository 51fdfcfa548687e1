"""Write Markdown tables.

Invariants:
- Tables are plain Markdown: a forge and Sphinx show them alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def cell(text: str) -> str:
    """Return a text as a cell has it."""
    return text.strip().replace("|", "\\|").replace("<", "&lt;")


def anchor(title: str) -> str:
    """Return the anchor of a heading, as a forge and MyST make it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
